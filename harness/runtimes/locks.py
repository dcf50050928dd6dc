"""Locks of three formats read as the same thing: pinned names with hashes, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName
from packaging.pylock import Package, Pylock, PylockValidationError, is_valid_pylock_path
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from harness.errors import IncompleteLineage, UsageError

LIMIT = 32 << 20
HASH = re.compile(r"\s--hash[=\s]\s*")
SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")
HARMLESS = ("--require-hashes", "--only-binary", "--prefer-binary")
RELOCK = "lock again with hashes: uv pip compile --generate-hashes requirements.in"


@dataclass(frozen=True)
class Pin:
    """One locked distribution: `==` version, sha256 hashes, and the marker it applies under."""

    name: str
    version: str
    hashes: tuple[str, ...]
    marker: str = ""

    def applies(self, environment: Mapping[str, str]) -> bool:
        """Return whether the pin is for the target that `environment` describes."""
        if not self.marker:
            return True
        groups: dict[str, Any] = {"extras": frozenset(), "dependency_groups": frozenset()}
        try:
            return Marker(self.marker).evaluate({**environment, **groups}, context="lock_file")
        except (UndefinedEnvironmentName, InvalidMarker) as error:
            raise UsageError(f"marker of {self.name} cannot be read: {error}", RELOCK) from error

    def line(self) -> str:
        """Return the pin as a line of a requirements file, without its marker."""
        hashes = "".join(f" --hash=sha256:{h}" for h in self.hashes)
        return f"{self.name}=={self.version}{hashes}"


def read(path: Path) -> tuple[Pin, ...]:
    """Return every pin of a `requirements.lock`, `pylock.toml` or `uv.lock`.

    Raises: IncompleteLineage when it is missing, or a package has no hash or no one version;
    UsageError when it cannot be read, or tries to say where packages come from.
    """
    if path.is_symlink() or not path.is_file():
        msg = f"the lock {path.name} is not a file of the commit"
        raise IncompleteLineage(msg, hint="commit the lock that [environment] names")
    if path.stat().st_size > LIMIT:
        raise UsageError(f"the lock {path.name} is larger than {LIMIT} bytes", RELOCK)
    if path.name == "uv.lock":
        return _requirements(_exported(path), path.name)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the lock {path.name} is not UTF-8 text", RELOCK) from error
    if is_valid_pylock_path(path):
        return _pylock(text, path.name)
    return _requirements(text, path.name)


def _requirements(text: str, name: str) -> tuple[Pin, ...]:
    pins = [pin for line in _logical(text) if (pin := _pin(line, name))]
    return _complete(pins, name)


def _logical(text: str) -> Iterable[str]:
    lines = (re.sub(r"(^|\s)#.*$", "", line) for line in text.splitlines())
    joined = re.sub(r"\\[ \t]*\n", " ", "\n".join(lines))
    return (stripped for line in joined.splitlines() if (stripped := line.strip()))


def _pin(line: str, name: str) -> Pin | None:
    if line.startswith(HARMLESS):
        return None
    what, *hashes = HASH.split(line)
    if what.startswith("-") or "://" in what or what.startswith((".", "/")) or " -" in what:
        msg = f"{name}: {what[:120]!r} is not a pinned package: a lock cannot say where to look"
        raise UsageError(msg, "remove it; indexes come from this machine's pip or uv settings")
    try:
        requirement = Requirement(what)
    except InvalidRequirement as error:
        raise UsageError(f"{name}: {what[:120]!r} cannot be read: {error}", RELOCK) from error
    exact = [s.version for s in requirement.specifier if s.operator in {"==", "==="}]
    version = exact[0] if len(exact) == len(requirement.specifier) == 1 else ""
    found = tuple(m[1].lower() for h in hashes if (m := SHA256.fullmatch(h.strip())))
    marker = str(requirement.marker or "")
    return Pin(canonicalize_name(requirement.name), version.replace("*", ""), found, marker)


def _complete(pins: Iterable[Pin], name: str) -> tuple[Pin, ...]:
    ordered = tuple(sorted(pins, key=lambda p: (p.name, p.version, p.marker)))
    loose = tuple(f"{p.name}: no one version" for p in ordered if not p.version)
    bare = tuple(f"{p.name}: no sha256" for p in ordered if not p.hashes)
    if loose or bare:
        some = "; ".join((*loose, *bare)[:5])
        raise IncompleteLineage(f"the lock {name} is incomplete: {some}", (*loose, *bare), RELOCK)
    return ordered


def _pylock(text: str, name: str) -> tuple[Pin, ...]:
    try:
        lock = Pylock.from_dict(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, PylockValidationError, RecursionError) as error:
        raise UsageError(f"the lock {name} cannot be read: {error}", RELOCK) from error
    return _complete((_locked(package, name) for package in lock.packages), name)


def _locked(package: Package, name: str) -> Pin:
    if package.vcs or package.directory or package.archive:
        msg = f"{name}: {package.name} comes from a folder, an archive or version control"
        raise UsageError(msg, "lock a published wheel of it instead")
    if not package.wheels:
        msg = f"{name}: {package.name} has no wheel, only a source distribution"
        raise IncompleteLineage(msg, hint="lock a version that has wheels, or publish one")
    hashes = tuple(
        sorted(w.hashes["sha256"].lower() for w in package.wheels if "sha256" in w.hashes)
    )
    version, marker = str(package.version or ""), str(package.marker or "")
    return Pin(canonicalize_name(package.name), version, hashes, marker)


def _exported(path: Path) -> str:
    """Return a uv lock as requirements; uv sees copies of two files and no network."""
    project = path.with_name("pyproject.toml")
    if project.is_symlink() or not project.is_file():
        msg = "uv.lock has no pyproject.toml beside it"
        raise IncompleteLineage(msg, hint="commit both, or export a requirements.lock with hashes")
    with tempfile.TemporaryDirectory() as folder:
        for file in (path, project):
            shutil.copyfile(file, Path(folder, file.name))
        command = [
            uv(), "export", "--frozen", "--offline", "--no-config", "--no-python-downloads",
            "--no-emit-project", "--no-header", "--no-annotate", "--quiet",
            "--format", "requirements-txt", "--directory", folder,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"uv.lock cannot be read: {done.stderr.strip()[-400:]}"
        raise UsageError(msg, "run `uv lock`, or export a requirements.lock with hashes")
    return done.stdout


def uv() -> str:
    """Return the uv that is installed beside us, else the one on PATH."""
    from uv import find_uv_bin

    try:
        return str(find_uv_bin())
    except FileNotFoundError:
        found = shutil.which("uv")
    if found is None:
        raise UsageError("uv is not installed", "pip install uv")
    return found
