"""The seam of the code sources: bring the recorded commit and prove what was brought."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.model import CodeRef, Gap


@dataclass(frozen=True)
class CodeState:
    """A working copy at record time: its reference, and the files that keep it from being one.

    `dirty` lists tracked-and-changed and untracked-not-ignored files; `gaps` names what a replay
    would miss (unpushed commit, no remote, git-lfs pointer, submodule that cannot be had).
    """

    ref: CodeRef
    root: Path
    dirty: tuple[str, ...]
    gaps: tuple[Gap, ...]
    author: str = ""


class CodeSource(Protocol):
    """A version control system."""

    def describe(self, path: Path) -> CodeState:
        """Read the state of the working copy around `path`; change nothing."""
        ...

    def missing(self, ref: CodeRef) -> tuple[Gap, ...]:
        """Return why the commit cannot be had, empty when it can; no checkout."""
        ...

    def checkout(self, ref: CodeRef, destination: Path) -> CodeRef:
        """Export the commit to `destination` without any VCS folder; return what was brought.

        Raises: SourceUnavailable when the commit, a submodule or a pointer file cannot be had.
        """
        ...
