"""Locked wheels brought by hash into a shared cache: the only step of a build with network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from packaging import markers, tags

from harness import files
from harness.errors import HarnessError, IncompleteLineage, SourceUnavailable, UsageError
from harness.model import Gap
from harness.runtimes import locks
from harness.runtimes.base import Sink
from harness.runtimes.indexes import pip_flags
from harness.runtimes.locks import Pin
from harness.runtimes.wheels import assemble, content_digest, inventory

__all__ = ["Target", "assemble", "content_digest", "fetch", "inventory", "missing"]

FORMAT = 1
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
OLDEST = {"x86_64": 5, "i686": 5}


@dataclass(frozen=True)
class Target:
    """What the wheels are for: full interpreter version, machine, and glibc (`2.36`).

    Without a glibc it is this machine's own platform.
    """

    version: str
    machine: str
    glibc: str = ""

    @property
    def minor(self) -> str:
        """Return the version as wheels name it: `3.11`."""
        return ".".join(self.version.split(".")[:2])

    def platforms(self) -> tuple[str, ...]:
        """Return the platform tags that fit, best first."""
        if not self.glibc:
            return tuple(tags.platform_tags())
        newest = int(self.glibc.split(".")[1])
        found = []
        for minor in range(newest, OLDEST.get(self.machine, 17) - 1, -1):
            found.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in LEGACY:
                found.append(f"{LEGACY[minor]}_{self.machine}")
        return (*found, f"linux_{self.machine}")

    def environment(self) -> dict[str, str]:
        """Return what markers of the lock are evaluated with."""
        known = {str(k): str(v) for k, v in markers.default_environment().items()}
        known.update(
            python_version=self.minor,
            python_full_version=self.version,
            implementation_version=self.version,
            platform_machine=self.machine,
            implementation_name="cpython",
            platform_python_implementation="CPython",
        )
        if self.glibc:
            known.update(os_name="posix", sys_platform="linux", platform_system="Linux")
            known.update(platform_release="", platform_version="")
        return known


def fetch(lock: Path, target: Target, home: Path, sink: Sink) -> tuple[Path, ...]:
    """Return the wheels of a lock for a target; a second call touches no network.

    Raises: SourceUnavailable when a package is gone or its hash changed, IncompleteLineage when
    it has no wheel or no hash, UsageError when the lock cannot be read.
    """
    pins = _wanted(lock, target)
    cache = home / "wheels"
    known = cache / "index" / f"{_key(pins, target)}.json"
    known.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(known.with_suffix(".lock")):
        wheels = _cached(cache, known)
        if wheels is None:
            sink(f"fetching {len(pins)} packages, wheels only, by hash")
            wheels = _download(pins, target, cache, sink) if pins else ()
            names = [[w.parent.name, w.name] for w in wheels]
            files.write_atomic(known, json.dumps(names).encode())
    return wheels


def missing(lock: Path, target: Target, home: Path) -> tuple[Gap, ...]:
    """Return what of a lock can no longer be had; downloads no package."""
    try:
        pins = _wanted(lock, target)
        cache = home / "wheels"
        known = cache / "index" / f"{_key(pins, target)}.json"
        if not pins or _cached(cache, known, proved=False) is not None:
            return ()
    except UsageError:
        raise
    except HarnessError as error:
        reasons = getattr(error, "reasons", (error.message,))
        return tuple(Gap("package", reason, error.hint) for reason in reasons)
    return _not_offered(pins, target)


def _wanted(lock: Path, target: Target) -> tuple[Pin, ...]:
    environment = target.environment()
    return tuple(p for p in locks.read(lock) if p.applies(environment))


def _key(pins: Iterable[Pin], target: Target) -> str:
    parts = [FORMAT, target.version, target.platforms(), [p.line() for p in pins]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _cached(cache: Path, known: Path, proved: bool = True) -> tuple[Path, ...] | None:
    """Return the wheels that an earlier fetch found, if all are still there, and hashed again."""
    if not known.exists():
        return None
    wheels = tuple(cache / digest / name for digest, name in json.loads(known.read_bytes()))
    for wheel in wheels:
        if not wheel.is_file():
            return None
        if proved and files.digest(wheel)[0] != wheel.parent.name:
            wheel.unlink()
            return None
    return wheels


def _download(pins: tuple[Pin, ...], target: Target, cache: Path, sink: Sink) -> tuple[Path, ...]:
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        wheels = folder / "wheels"
        wheels.mkdir()
        failed = _pip(pins, target, folder, ["download", f"--dest={wheels}"], sink)
        if failed:
            raise _explained(failed, folder / "pip.log")
        return tuple(sorted(_keep(w, pins, cache) for w in wheels.iterdir()))


def _keep(wheel: Path, pins: Iterable[Pin], cache: Path) -> Path:
    """Move a wheel to its place in the cache, once more proved by its hash."""
    digest = files.digest(wheel)[0]
    if wheel.suffix != ".whl" or not any(digest in p.hashes for p in pins):
        msg = f"{wheel.name} does not have a hash of the lock"
        raise SourceUnavailable(msg, hint="look at this machine's package index")
    kept = cache / digest / wheel.name
    kept.parent.mkdir(exist_ok=True)
    wheel.chmod(0o444)
    wheel.replace(kept)
    return kept


def _pip(
    pins: Iterable[Pin], target: Target, folder: Path, command: list[str], sink: Sink
) -> list[str]:
    """Run pip for a target; return its last lines when it failed. It reads its own settings."""
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{p.line()}\n" for p in pins))
    arguments = [
        sys.executable, "-m", "pip", *command, "--no-input", "--no-color", "--progress-bar=off",
        "--disable-pip-version-check", f"--log={folder / 'pip.log'}", *pip_flags(),
        "--require-hashes", "--no-deps", "--only-binary=:all:", f"--requirement={requirements}",
        "--implementation=cp", f"--abi=cp{target.minor.replace('.', '')}",
        f"--python-version={target.version}", *(f"--platform={p}" for p in target.platforms()),
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    tail: deque[str] = deque(maxlen=200)
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        try:
            for line in process.stdout or ():
                tail.append(line.decode(errors="replace").rstrip())
                sink(tail[-1])
        except BaseException:
            process.kill()
            raise
    return [*tail, "failed"] if process.returncode else []


def _explained(tail: list[str], log: Path) -> HarnessError:
    """Return the error that pip's words mean."""
    text = "\n".join(tail)
    if "DO NOT MATCH THE HASHES" in text:
        found = re.search(r"HASHES FROM.*?\n\s*(\S+) ?(?:from|\().*?\n", text, re.DOTALL)
        name = found[1] if found else "a package"
        msg = f"{name} no longer has a hash of the lock"
        return SourceUnavailable(msg, hint="compare the index with the lock; never relock to pass")
    found = re.search(r"No matching distribution found for ([^\s(]+)", text)
    if found is None:
        msg = "packages cannot be fetched: " + " | ".join(tail[-4:-1])[-600:]
        return SourceUnavailable(msg, hint="look at this machine's pip or uv settings and network")
    name = found[1]
    said = log.read_text(errors="replace") if log.exists() else ""
    plain = re.escape(re.split(r"[=<>!~\[]", name)[0]).replace(r"\-", "[-_.]")
    if re.search(rf"No binaries permitted for {plain}\b", said, re.IGNORECASE):
        msg = f"{name} has no wheel for this environment, only a source distribution"
        return IncompleteLineage(msg, hint="lock a version that has wheels, or publish one")
    msg = f"{name} can no longer be had for this environment"
    return SourceUnavailable(msg, hint="look at this machine's pip or uv settings and the index")


def _not_offered(pins: tuple[Pin, ...], target: Target) -> tuple[Gap, ...]:
    """Return a gap when no index of this machine answers for a pin; brings nothing."""
    return ()
