"""The machine that trained, as far as it can change bits, and what two of them differ in."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.model import Gpu, Hardware

# Flags that choose a code path in a math library; the rest of a hundred flags changes no bit.
_RELEVANT = ("sse4", "avx", "fma", "f16c", "bf16", "amx", "asimd", "sve", "neon", "vnni", "bmi2")


@cache
def host() -> Hardware:
    """Return this machine's processor as the kernel describes it."""
    described = _cpuinfo()
    flags = (described.get("flags") or described.get("Features") or "").split()
    relevant = tuple(sorted({f for f in flags if f.startswith(_RELEVANT)}))
    model = described.get("model name") or described.get("CPU part") or platform.processor()
    return Hardware(platform.machine(), model, relevant, _capability(relevant))


def fingerprint(summary: Mapping[str, Any], machine: Hardware | None = None) -> Hardware:
    """Return the hardware of a training: its own reports laid over the machine it ran on."""
    machine = machine or host()
    gpus = tuple(
        Gpu(str(g["model"]), int(g["sm_count"]), str(g["driver"])) for g in summary.get("gpus", ())
    )
    libraries = dict(summary.get("libraries", {}))
    if summary.get("blas"):
        libraries["BLAS"] = "; ".join(sorted(set(map(str, summary["blas"]))))
    return Hardware(
        machine.arch,
        machine.cpu_model,
        machine.cpu_flags,
        str(summary.get("capability") or machine.cpu_capability),
        dict(summary.get("threads", {})),
        gpus,
        libraries,
    )


def differences(recorded: Hardware, reproduced: Hardware) -> tuple[str, ...]:
    """Return one line per difference for a person, the most bit-relevant first.

    A side that was never fingerprinted (an adopted version) differs in nothing that is known.
    """
    if not recorded.arch or not reproduced.arch:
        return ()
    return tuple(_lines(recorded, reproduced))


def _lines(a: Hardware, b: Hardware) -> Iterator[str]:
    yield from _threads(a.threads, b.threads)
    if a.arch != b.arch:
        yield _line("architecture", a.arch, b.arch)
    if a.cpu_capability != b.cpu_capability:
        yield _line("CPU capability in force", a.cpu_capability, b.cpu_capability)
    if a.gpus != b.gpus:
        yield _line("GPU", _cards(a.gpus), _cards(b.gpus))
    for name in sorted({*a.libraries, *b.libraries}):
        if a.libraries.get(name) != b.libraries.get(name):
            yield _line(name, a.libraries.get(name, ""), b.libraries.get(name, ""))
    if a.cpu_model != b.cpu_model:
        yield _line("CPU model", a.cpu_model, b.cpu_model)
    if a.cpu_flags != b.cpu_flags:
        gone, new = set(a.cpu_flags) - set(b.cpu_flags), set(b.cpu_flags) - set(a.cpu_flags)
        yield _line("CPU flags", " ".join(sorted(gone)), " ".join(sorted(new)))
    if a.threads.get("cpus") != b.threads.get("cpus"):
        yield _line("CPUs available", *(str(m.threads.get("cpus", "")) for m in (a, b)))


def _threads(a: Mapping[str, int], b: Mapping[str, int]) -> Iterator[str]:
    """Yield one line for all counts that changed alike, so that `threads=2` is said once."""
    changed: dict[tuple[int | None, int | None], list[str]] = {}
    for name in sorted({*a, *b} - {"cpus"}):
        if a.get(name) != b.get(name):
            changed.setdefault((a.get(name), b.get(name)), []).append(name)
    for (was, now), names in changed.items():
        yield _line(f"thread count ({', '.join(names)})", str(was or ""), str(now or ""))


def _line(what: str, recorded: str, reproduced: str) -> str:
    return f"{what}: {recorded or 'none'} recorded, {reproduced or 'none'} now"


def _cards(gpus: tuple[Gpu, ...]) -> str:
    return ", ".join(f"{g.model} ({g.sm_count} SMs, driver {g.driver})" for g in gpus)


def _capability(flags: tuple[str, ...]) -> str:
    """Return the capability by torch's names, so that a torch and another training compare."""
    has = set(flags)
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"} <= has:
        return "AVX512"
    return "AVX2" if {"avx2", "fma"} <= has else "DEFAULT"


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's block of the kernel's list."""
    found: dict[str, str] = {}
    path = Path("/proc/cpuinfo")
    if not os.access(path, os.R_OK):
        return found
    for line in path.read_text("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if not colon and found:
            break
        found.setdefault(name.strip(), value.strip())
    return found
