"""The fingerprint of a machine, and the lines about two of them."""

from __future__ import annotations

from dataclasses import replace

from harness import determinism
from harness.model import Gpu, Hardware

BASE = Hardware(
    "x86_64",
    "Some CPU",
    ("avx2", "fma"),
    "AVX2",
    {"OMP_NUM_THREADS": 1, "torch": 1, "cpus": 2},
    (),
    {"torch": "2.13.0", "numpy": "2.4.6"},
)


def test_this_machine_has_a_fingerprint():
    here = determinism.fingerprint({})
    assert here.arch
    assert here.cpu_model
    assert here.cpu_capability in {"DEFAULT", "AVX2", "AVX512"}
    assert here.hardware_class == determinism.host().hardware_class


def test_what_the_training_saw_wins_over_what_the_machine_could():
    found = determinism.fingerprint(
        {
            "capability": "AVX2",
            "threads": {"torch": 2},
            "gpus": [{"model": "H100", "sm_count": 132, "driver": "570.1"}],
            "libraries": {"torch": "2.13.0"},
            "blas": ["openblas 0.3.31 SkylakeX"],
        },
        replace(BASE, cpu_capability="AVX512"),
    )
    assert found.cpu_capability == "AVX2"
    assert found.gpus == (Gpu("H100", 132, "570.1"),)
    assert found.libraries == {"torch": "2.13.0", "BLAS": "openblas 0.3.31 SkylakeX"}


def test_equal_machines_differ_in_nothing():
    assert determinism.differences(BASE, BASE) == ()


def test_an_unknown_side_differs_in_nothing_known():
    assert determinism.differences(Hardware(), BASE) == ()


def test_the_thread_count_is_said_first_and_once():
    other = replace(
        BASE,
        cpu_model="Other CPU",
        cpu_flags=("fma",),
        cpu_capability="AVX512",
        threads={"OMP_NUM_THREADS": 2, "torch": 2, "cpus": 4},
        gpus=(Gpu("H100", 132, "570.1"),),
        libraries={"torch": "2.14.0", "numpy": "2.4.6"},
    )
    assert determinism.differences(BASE, other) == (
        "thread count (OMP_NUM_THREADS, torch): 1 recorded, 2 now",
        "CPU capability in force: AVX2 recorded, AVX512 now",
        "GPU: none recorded, H100 (132 SMs, driver 570.1) now",
        "torch: 2.13.0 recorded, 2.14.0 now",
        "CPU model: Some CPU recorded, Other CPU now",
        "CPU flags: avx2 recorded, none now",
        "CPUs available: 2 recorded, 4 now",
    )
