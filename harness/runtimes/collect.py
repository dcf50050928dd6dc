"""What a job left behind, taken as hostile files: links, devices and floods are refused."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.files import matches
from harness.runtimes.base import Job

CHUNK = 1 << 20
MAX_FILES = 200_000
MAX_DEPTH = 100


class Collector:
    """Copies what a job keeps out of its folders, within one budget of bytes and files."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._left = job.limits.output_size
        self._files = MAX_FILES
        self.refused: list[str] = []

    def take(
        self, root: Path, name: str, patterns: tuple[str, ...] | None, prefix: str = ""
    ) -> None:
        """Copy the files below `root` that fit one of `patterns` to `destination`/`name`.

        `patterns` None takes all; `prefix` stands before every path when it is matched.
        """
        target = self._job.destination / name
        for path in self._walk(root):
            shown = prefix + path
            if patterns is None or any(matches(shown, p) for p in patterns):
                self._copy(root / path, target / path, shown)

    def _walk(self, root: Path) -> Iterator[str]:
        for path in scan(root, self.refused):
            if path.is_symlink() or not path.is_dir():
                yield path.relative_to(root).as_posix()

    def _copy(self, source: Path, target: Path, shown: str) -> None:
        try:
            handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self.refused.append(f"{shown}: not a regular file")
            return
        with os.fdopen(handle, "rb", buffering=0) as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                self.refused.append(f"{shown}: not a regular file")
                return
            if status.st_size > self._left or self._files == 0:
                self.refused.append(f"{shown}: beyond the output limit")
                return
            self._files -= 1
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                while self._left >= 0 and (data := file.read(CHUNK)):
                    out.write(data)
                    self._left -= len(data)


def scan(root: Path, refused: list[str] | None = None) -> Iterator[Path]:
    """Yield everything below `root`, folders first, no link followed, no recursion to exhaust."""
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            found = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            continue
        below = []
        for entry in found:
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                below.append((Path(entry.path), depth + 1))
        if depth < MAX_DEPTH:
            waiting += reversed(below)
        elif below and refused is not None:
            refused.append(f"{folder.relative_to(root).as_posix()[:100]}…: too deep")


def make_writable(root: Path) -> None:
    """Let a folder that a job may have locked down be read by us."""
    for path in scan(root):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.chmod(0o700)
