"""A lock file of any supported format -> hashed requirements for one target."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.errors import IncompleteLineage, UsageError

MAX_BYTES = 32 << 20
_HASH = re.compile(r"--hash[= ](sha256:[0-9a-f]{64})(?=\s|$)")
_ANY_HASH = re.compile(r"--hash[= ]\S+")


@dataclass(frozen=True)
class Target:
    """The interpreter that the packages are for: `3.11.7`, glibc `2.36`, machine `x86_64`."""

    version: str
    glibc: str
    machine: str

    @property
    def minor(self) -> str:
        """Return `3.11`."""
        return ".".join(self.version.split(".")[:2])

    def markers(self) -> dict[str, str]:
        """Return the environment that markers are evaluated in (PEP 508)."""
        return {
            "python_version": self.minor,
            "python_full_version": self.version,
            "implementation_name": "cpython",
            "implementation_version": self.version,
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.machine,
            "platform_release": "",
            "platform_version": "",
            "extra": "",
        }


@dataclass(frozen=True)
class Locked:
    """One locked distribution: its name, exact version, and the sha256 of every file allowed."""

    name: str
    version: str
    hashes: tuple[str, ...]

    def line(self) -> str:
        """Return it as a line of a requirements file."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={h}" for h in self.hashes)])


def read(path: Path, target: Target) -> tuple[Locked, ...]:
    """Return what a lock asks for on `target`, by name.

    Raises: UsageError for a file that is no lock; IncompleteLineage for an entry that has no
    exact version or no sha256.
    """
    if not path.is_file() or path.is_symlink():
        raise IncompleteLineage(
            f"{path.name}: no such lock in the repository", hint="harness init writes one"
        )
    if path.stat().st_size > MAX_BYTES:
        raise UsageError(f"{path.name}: larger than {MAX_BYTES} bytes", "lock only what is used")
    if path.name == "uv.lock":
        text = _exported(path)
    elif path.name.startswith("pylock") and path.suffix == ".toml":
        return _sorted(_pylock(path, target))
    else:
        text = path.read_text(errors="replace")
    return _sorted(_requirements(text, path.name, target))


def _sorted(found: Iterator[Locked]) -> tuple[Locked, ...]:
    by_name: dict[str, Locked] = {}
    for item in found:
        if item.name in by_name and by_name[item.name] != item:
            raise UsageError(f"the lock has two versions of {item.name}", "lock again")
        by_name[item.name] = item
    return tuple(by_name[name] for name in sorted(by_name))


def _requirements(text: str, where: str, target: Target) -> Iterator[Locked]:
    joined = re.sub(r"\\\r?\n", " ", text)
    for raw in joined.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if not line:
            continue
        if line.startswith("-"):
            raise UsageError(
                f"{where}: {line[:80]!r}: a lock may not choose indexes or other files",
                "remove the line; indexes are the operator's pip or uv configuration",
            )
        hashes = tuple(sorted(set(_HASH.findall(line))))
        yield from _one(_ANY_HASH.sub("", line).strip(), hashes, where, target)


def _one(text: str, hashes: tuple[str, ...], where: str, target: Target) -> Iterator[Locked]:
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(f"{where}: {text[:80]!r}: {error}", "lock again") from None
    if wanted.marker and not wanted.marker.evaluate(target.markers()):
        return
    pins = [s for s in wanted.specifier if s.operator == "==" and not s.version.endswith(".*")]
    if wanted.url or len(wanted.specifier) != 1 or not pins:
        raise IncompleteLineage(
            f"{where}: {text[:80]!r} is not pinned to one version",
            hint="uv pip compile --generate-hashes pins everything",
        )
    if not hashes:
        raise IncompleteLineage(
            f"{where}: {wanted.name} has no sha256",
            hint="uv pip compile --generate-hashes adds them",
        )
    yield Locked(canonicalize_name(wanted.name), pins[0].version, hashes)


def _pylock(path: Path, target: Target) -> Iterator[Locked]:
    import tomllib

    from packaging.pylock import Pylock, PylockValidationError

    try:
        lock = Pylock.from_dict(tomllib.loads(path.read_text()))
    except (PylockValidationError, ValueError) as error:
        raise UsageError(f"{path.name}: {error}", "lock again") from None
    for package in lock.packages:
        if package.marker and not package.marker.evaluate(target.markers(), context="lock_file"):
            continue
        sums = {w.hashes.get("sha256") for w in package.wheels or ()} - {None}
        hashes = tuple(sorted(f"sha256:{h}" for h in sums))
        if package.version is None or not hashes:
            raise IncompleteLineage(
                f"{path.name}: {package.name} has no wheel with a sha256",
                hint="only wheels are installed: lock a version that has one",
            )
        yield Locked(canonicalize_name(package.name), str(package.version), hashes)


def _exported(path: Path) -> str:
    command = [sys.executable, "-m", "uv", "export", "--frozen", "--offline", "--no-emit-project"]
    command += ["--format", "requirements-txt", "--no-header", "--no-annotate", "--no-config", "-q"]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(
            f"{path.name}: uv cannot read it: {done.stderr.strip()[-500:]}", "run uv lock again"
        )
    return done.stdout
