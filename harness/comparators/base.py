"""The seam of the comparators: one artifact format, its canonical content and its distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError
from harness.model import Difference, Tolerance


class CannotCompare(HarnessError):
    """A file is not what it claims, is hostile, or is beyond a limit; becomes UNCOMPARABLE."""

    exit_code = 3


@dataclass(frozen=True)
class Bounds:
    """Limits on what a hostile file may cost: bytes, entries, nesting, nodes in the answer."""

    expanded: int = 64 << 30
    member: int = 1 << 30
    header: int = 100 << 20
    entries: int = 100_000
    depth: int = 32
    nodes: int = 10_000
    text: int = 16 << 20


@dataclass(frozen=True)
class Sniff:
    """What a file looks like: path, size in bytes, its first 64 KiB; `is_dir` for folders."""

    path: Path
    size: int
    head: bytes
    is_dir: bool = False


@dataclass(frozen=True)
class Context:
    """What a comparison may use: tolerances, bounds, seed, and the way to compare a part.

    `compare(a, b, name)` runs the whole family on two files or folders below, so that archives
    and directories need not know the other formats. `probe` are recorded probe inputs (npz).
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    bounds: Bounds = field(default_factory=Bounds)
    seed: int = 0
    depth: int = 0
    probe: Path | None = None
    scratch: Path | None = None
    compare: Callable[[Path, Path, str], Difference] | None = None


class Comparator(Protocol):
    """One artifact format. Stateless; both sides are hostile bytes, never unpickled or imported."""

    id: str
    version: int

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether this file is of the format, by content first, by name second."""
        ...

    def compare(self, recorded: Path, reproduced: Path, context: Context) -> Difference:
        """Compare two files of unequal bytes.

        Raises: CannotCompare; the family then falls back to bytes and says why.
        """
        ...
