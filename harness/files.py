"""Files on disk: digests in one read, whole-or-nothing writes, walks that follow no link."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from harness.model import FileEntry, Role

CHUNK = 1 << 20


def digest(path: Path, *algorithms: str) -> tuple[str, ...]:
    """Return hex digests of a file, all from one read through a reused 1 MiB buffer.

    Raises: OSError when the file cannot be read or is a symbolic link.
    """
    hashes = [hashlib.new(a, usedforsecurity=a != "md5") for a in algorithms or ("sha256",)]
    buffer = memoryview(bytearray(CHUNK))
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
        while n := file.readinto(buffer):
            for h in hashes:
                h.update(buffer[:n])
    return tuple(h.hexdigest() for h in hashes)


def walk(root: Path) -> Iterator[str]:
    """Yield the POSIX path of every regular file below `root`, sorted; links are not followed."""
    found = []
    for folder, _, names in os.walk(root, followlinks=False):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found.append(path.relative_to(root).as_posix())
    yield from sorted(found)


def entries(root: Path, paths: Iterable[str], role: Role) -> tuple[FileEntry, ...]:
    """Return path, size and sha256 of files below `root`, hashed in parallel, sorted by path."""
    ordered = sorted(paths)

    def entry(path: str) -> FileEntry:
        file = root / path
        return FileEntry(path, file.lstat().st_size, digest(file)[0], role)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return tuple(pool.map(entry, ordered))


def root_digest(files: Iterable[FileEntry]) -> str:
    """Return the OMS root digest: sha256 over the raw per-file sha256 digests in path order.

    The order is that of paths part by part, so `a/b` comes before `a-b`. Source: model-signing
    1.1 manifest; it binds no file names, so it is never identity alone.
    """
    ordered = sorted(files, key=lambda f: f.path.split("/"))
    return hashlib.sha256(b"".join(bytes.fromhex(f.sha256) for f in ordered)).hexdigest()


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that a crash leaves the old content or the new, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def matches(path: str, pattern: str) -> bool:
    """Return whether a POSIX path fits a glob, or lies below a folder that fits it.

    `*`, `?` and `[…]` stay within one part, `**` spans any number of parts.
    """
    return _fits(path.split("/"), [p for p in pattern.split("/") if p not in {"", "."}])


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_fits(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])
