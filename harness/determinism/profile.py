"""Profile -> the environment of the training process, and where its bootstrap lies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.model import Profile

LEVELS = ("off", "seeds", "strict", "entropy")

# Any fixed moment that archive formats can hold; zip begins in 1980.
_EPOCH = "315532800"
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_STRICT = {
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "NVIDIA_TF32_OVERRIDE": "0",
    "NVTE_ALLOW_NONDETERMINISTIC_ALGO": "0",
    "NCCL_ALGO": "Ring",
    "TF_DETERMINISTIC_OPS": "1",
    "XLA_FLAGS": "--xla_gpu_deterministic_ops=true",
    "SOURCE_DATE_EPOCH": _EPOCH,
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
}
# What each math library calls the instruction set that all machines of a fleet share.
_ISA = {
    "default": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "SkylakeX",
    },
}
_HINT = "for example --profile-set threads=2; keys: level, seed, threads, isa"


def bootstrap_path() -> Path:
    """Return the folder that goes first on the training's `PYTHONPATH`."""
    return Path(__file__).parent / "bootstrap"


def environment(profile: Profile, reports: str) -> dict[str, str]:
    """Return the variables to start the training with; `reports` is the folder as it sees it.

    Raises: UsageError for a level, an ISA or a clock that cannot be given.
    """
    _check(profile)
    env = {"HARNESS_PIN_LEVEL": profile.level, "HARNESS_PIN_REPORTS": reports}
    if profile.threads:
        env["HARNESS_PIN_THREADS"] = str(profile.threads)
        env |= dict.fromkeys(_THREADS, str(profile.threads))
    if profile.level == "off":
        return env
    env["HARNESS_PIN_SEED"] = str(profile.seed)
    env["PYTHONHASHSEED"] = str(profile.seed % 2**32)
    if profile.level != "seeds":
        env |= _STRICT
    return env | _ISA.get(profile.isa, {})


def override(profile: Profile, changes: str | Sequence[str]) -> Profile:
    """Return `profile` with `key=value` changes, as `--profile-set` gives them.

    Raises: UsageError for an unknown key or a value that the key cannot have.
    """
    for change in [changes] if isinstance(changes, str) else changes:
        key, sign, value = change.partition("=")
        if not sign or key not in {"level", "seed", "threads", "isa", "clock"}:
            raise UsageError(f"--profile-set {change!r}: not a change of the profile", _HINT)
        changed: Any = {key: _value(key, value)}
        profile = replace(profile, **changed)
        _check(profile)
    return profile


def _value(key: str, text: str) -> str | int | None:
    if key not in {"seed", "threads"}:
        return text
    if key == "threads" and text in {"", "none"}:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise UsageError(f"--profile-set {key}={text}: must be a whole number", _HINT)
    return int(text)


def _check(profile: Profile) -> None:
    if profile.level not in LEVELS:
        raise UsageError(f"determinism level {profile.level!r}", f"one of: {', '.join(LEVELS)}")
    if profile.isa and profile.isa not in _ISA:
        raise UsageError(f"determinism isa {profile.isa!r}", f"one of: {', '.join(_ISA)}")
    if not 0 <= profile.seed < 2**32:
        raise UsageError(f"determinism seed {profile.seed}", "use a number from 0 to 4294967295")
    if profile.threads is not None and not 1 <= profile.threads <= 4096:
        raise UsageError(f"determinism threads {profile.threads}", "use 1 to 4096")
    if profile.clock:
        raise UsageError(
            "determinism clock: a faked time is not supported yet",
            "remove clock from [determinism]; SOURCE_DATE_EPOCH is set from level strict on",
        )
