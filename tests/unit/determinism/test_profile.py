"""The environment block of each level, and `--profile-set`."""

from __future__ import annotations

import pytest

from harness import determinism
from harness.errors import UsageError
from harness.model import Profile

REPORTS = "/harness/reports"


def test_off_sets_threads_and_nothing_else_of_the_training():
    bare = determinism.environment(Profile("off", 7, None), REPORTS)
    assert {k for k in bare if not k.startswith("HARNESS_PIN_")} == set()
    threaded = determinism.environment(Profile("off", 7, 2), REPORTS)
    assert threaded["OMP_NUM_THREADS"] == threaded["MKL_NUM_THREADS"] == "2"
    assert "PYTHONHASHSEED" not in threaded


def test_each_level_contains_the_one_before():
    blocks = [
        determinism.environment(Profile(level, 7, 1), REPORTS).items()
        for level in ("off", "seeds", "strict", "entropy")
    ]
    names = [{k for k, _ in block} for block in blocks]
    assert names[0] < names[1] < names[2] == names[3]
    assert dict(blocks[1])["PYTHONHASHSEED"] == "7"
    assert dict(blocks[2])["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert dict(blocks[2])["TZ"] == "UTC"


def test_isa_pins_every_math_library():
    env = determinism.environment(Profile(isa="avx2"), REPORTS)
    assert (env["ATEN_CPU_CAPABILITY"], env["ONEDNN_MAX_CPU_ISA"]) == ("avx2", "AVX2")
    assert env["MKL_CBWR"] == "COMPATIBLE"
    assert "ATEN_CPU_CAPABILITY" not in determinism.environment(Profile(), REPORTS)


def test_override_changes_only_what_it_names():
    recorded = Profile("strict", 7, 1)
    assert determinism.override(recorded, ["threads=2"]) == Profile("strict", 7, 2)
    assert determinism.override(recorded, ()) == recorded
    assert determinism.override(recorded, ("seed=8", "level=off")) == Profile("off", 8, 1)
    assert determinism.override(recorded, "threads=none").threads is None


@pytest.mark.parametrize(
    "change",
    [
        "threads",
        "threads=two",
        "threads=0",
        "level=hard",
        "isa=mmx",
        "colour=red",
        "seed=-1",
        "seed=4294967296",
        "clock=2026-01-01",
        "threads=9999",
        "",
    ],
)
def test_a_wrong_override_is_one_clear_error(change):
    with pytest.raises(UsageError) as refused:
        determinism.override(Profile(), [change])
    assert refused.value.hint


def test_the_bootstrap_is_a_folder_with_a_sitecustomize():
    assert (determinism.bootstrap_path() / "sitecustomize.py").is_file()
