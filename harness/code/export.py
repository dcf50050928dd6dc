"""Write a commit's tree to disk byte for byte, and prove from its hashes that it is that tree."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from harness.code.plumbing import Git
from harness.errors import InfrastructureError, SourceUnavailable
from harness.files import CHUNK

LINK, SUBMODULE, FOLDER = 0o120000, 0o160000, 0o040000
_KNOWN_BY_NAME_ONLY = {"", ".", "..", ".git"}
_DEPTH = 256


@dataclass(frozen=True)
class Entry:
    """One row of a tree: its mode bits, object id, path from the root."""

    mode: int
    oid: str
    path: str

    @property
    def kind(self) -> int:
        """Return the file type bits of the mode."""
        return self.mode & 0o170000


class Objects:
    """Git's objects, streamed from one long-running `git cat-file`; each is hashed again here.

    A damaged or tampered mirror can therefore never pass for the commit.
    """

    def __init__(self, git: Git) -> None:
        self._folder = git.folder
        self._process = git.start("cat-file", "--batch")

    def __enter__(self) -> Objects:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, kind: str, oid: str, name: str) -> bytes:
        """Return a whole object; for trees and links, which are small."""
        parts: list[bytes] = []
        self.copy(kind, oid, name, parts.append)
        return b"".join(parts)

    def copy(self, kind: str, oid: str, name: str, sink: Callable[[bytes], object]) -> None:
        """Send an object's bytes to `sink`.

        Raises: SourceUnavailable for another kind; InfrastructureError when it is damaged.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(oid.encode() + b"\n")
        stdin.flush()
        head = stdout.readline().decode().split()
        if len(head) != 3:  # a fetched commit is whole: what is missing was lost here
            raise self._damaged(kind, oid, name)
        if head[1] != kind:
            raise SourceUnavailable(f"git object {oid} ({name}) is a {head[1]}, not a {kind}")
        size = int(head[2])
        hasher = hashlib.new("sha256" if len(oid) == 64 else "sha1", usedforsecurity=False)
        hasher.update(f"{kind} {size}\0".encode())
        for chunk in _chunks(stdout, size):
            hasher.update(chunk)
            sink(chunk)
        stdout.read(1)
        if hasher.hexdigest() != oid:
            raise self._damaged(kind, oid, name)

    def _damaged(self, kind: str, oid: str, name: str) -> InfrastructureError:
        message = f"the mirror's copy of {kind} {oid} ({name}) is damaged"
        return InfrastructureError(message, f"delete {self._folder} and try again")


def tree_of(objects: Objects, commit: str) -> str:
    """Return the id of the commit's tree."""
    raw = objects.read("commit", commit, "the recorded commit")
    return raw.split(b"\n", 1)[0].removeprefix(b"tree ").decode("ascii")


def entries(objects: Objects, tree: str, folder: str = "") -> Iterator[Entry]:
    """Yield every file, link and submodule below a tree, in git's order."""
    if folder.count("/") > _DEPTH:
        raise SourceUnavailable(f"the commit nests folders deeper than {_DEPTH}")
    raw = objects.read("tree", tree, folder or "the root folder")
    width, seen = len(tree) // 2, set()
    while raw:
        head, _, rest = raw.partition(b"\0")
        mode, _, name = head.partition(b" ")
        oid, raw = rest[:width].hex(), rest[width:]
        path = folder + os.fsdecode(name)
        if b"/" in name or os.fsdecode(name).lower() in _KNOWN_BY_NAME_ONLY or name in seen:
            raise SourceUnavailable(f"path {path!r} in the commit is not a safe file name")
        seen.add(name)
        entry = Entry(int(mode, 8), oid, path)
        if entry.kind == FOLDER:
            yield from entries(objects, oid, path + "/")
        else:
            yield entry


def write(objects: Objects, rows: list[Entry], root: Path) -> None:
    """Write all files, then all links, below `root`.

    Raises: SourceUnavailable for a link that leads out of `root`.
    """
    root.mkdir(parents=True, exist_ok=True)
    for entry in rows:
        if entry.kind not in (LINK, SUBMODULE):
            _file(objects, entry, root / entry.path)
    links = [e for e in rows if e.kind == LINK]
    for entry in links:
        target = os.fsdecode(objects.read("blob", entry.oid, entry.path))
        if Path(target).is_absolute():
            raise _escapes(entry.path, target)
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    # Only now are all the links there that a chain of them could lead through.
    top = os.path.realpath(root)
    for entry in links:
        path = root / entry.path
        if not Path(os.path.realpath(path)).is_relative_to(top):
            target = str(path.readlink())
            path.unlink()
            raise _escapes(entry.path, target)


def _file(objects: Objects, entry: Entry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        objects.copy("blob", entry.oid, entry.path, file.write)
        os.fchmod(file.fileno(), 0o755 if entry.mode & 0o100 else 0o644)


def _escapes(path: str, target: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"symbolic link {path!r} leads out of the repository (to {target[:200]!r})",
        hint="commit the file that it means, or track it with DVC",
    )


def _chunks(stream: IO[bytes], left: int) -> Iterator[bytes]:
    while left:
        chunk = stream.read(min(left, CHUNK))
        if not chunk:
            raise InfrastructureError("git ended in the middle of a file")
        left -= len(chunk)
        yield chunk
