"""Two sets of outputs -> a comparison per output, as the recipe declares them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness import files
from harness.comparators import family
from harness.comparators.units import Unit, units
from harness.executor import locate
from harness.model import Comparison, Difference, FileEntry, Role, Status, Tolerance
from harness.recipe import Recipe

Files = dict[str, FileEntry]
PREDICTIONS = "predictions@1"  # by what the models predict in the sandbox
COMPARED = {Role.MODEL, Role.METRICS, Role.CHECKPOINT}


class Comparer:
    """Compares runs with the recorded version, and with each other, under one recipe."""

    def __init__(
        self, recipe: Recipe, recorded: Path, outputs: tuple[FileEntry, ...], source: Path
    ) -> None:
        self._recipe, self._recorded, self._outputs = recipe, recorded, outputs
        probe = source / recipe.probe if recipe.probe else None
        self._probe = probe if probe and probe.is_file() else None

    def with_recorded(self, folder: Path, outputs: tuple[FileEntry, ...]) -> tuple[Comparison, ...]:
        """Compare a run's outputs with those of the recorded version."""
        return self.two_runs(self._recorded, self._outputs, folder, outputs)

    def two_runs(
        self,
        left: Path,
        left_outputs: tuple[FileEntry, ...],
        right: Path,
        right_outputs: tuple[FileEntry, ...],
    ) -> tuple[Comparison, ...]:
        """Compare every output that either side has, models first."""
        a = {f.path: f for f in left_outputs if f.role in COMPARED}
        b = {f.path: f for f in right_outputs if f.role in COMPARED}
        same = {p for p in a.keys() & b.keys() if a[p].sha256 == b[p].sha256}
        together = [u for u in units(a, b) if u.left != u.right or not same.issuperset(u.left)]
        found = [self._unit(unit, left, a, right, b) for unit in together]
        a = {p: f for p, f in a.items() if not any(p in u.left for u in together)}
        b = {p: f for p, f in b.items() if not any(p in u.right for u in together)}
        pairs = ((a.get(p), b.get(p)) for p in a.keys() | b.keys())
        found += [c for x, y in pairs if (c := self._one(left, x, right, y))]
        return tuple(sorted(found, key=lambda c: (list(Role).index(c.role), c.path)))

    def _unit(self, unit: Unit, left: Path, a: Files, right: Path, b: Files) -> Comparison:
        """Compare files that belong together; several of them have the digest of their digests."""
        first = a[unit.left[0]]
        node = family.compare_unit(
            unit,
            lambda path: locate(left, a[path]),
            lambda path: locate(right, b[path]),
            tolerance=self._tolerance(first),
            seed=self._recipe.profile.seed,
            probe=self._probe,
        )
        sides = [a[p] for p in unit.left], [b[p] for p in unit.right]
        return Comparison(unit.name, first.role, _digest(sides[0]), _digest(sides[1]), node)

    def _one(
        self, left: Path, a: FileEntry | None, right: Path, b: FileEntry | None
    ) -> Comparison | None:
        if a is None:
            assert b is not None
            if b.role != Role.MODEL:
                return None
            node = Difference(b.path, Status.EXTRA, reason="the recorded version has no such file")
            return Comparison(b.path, b.role, "", b.sha256, node)
        if b is None:
            node = Difference(a.path, Status.MISSING, reason="the rerun did not make it")
            return Comparison(a.path, a.role, a.sha256, "", node)
        node = family.compare(
            locate(left, a),
            locate(right, b),
            a.path,
            tolerance=self._tolerance(a),
            seed=self._recipe.profile.seed,
            probe=self._probe,
            recorded_sha256=a.sha256,
            reproduced_sha256=b.sha256,
        )
        return Comparison(a.path, a.role, a.sha256, b.sha256, node)

    def tolerance(self, path: str) -> Tolerance:
        """Return the tolerance of one of the model's files."""
        return self._tolerance(FileEntry(path, 0, "", Role.MODEL))

    def _tolerance(self, entry: FileEntry) -> Tolerance:
        for output in self._recipe.outputs:
            if output.role == entry.role and files.matches(entry.path, output.path):
                return output.tolerance
        return Tolerance()


def _digest(entries: list[FileEntry]) -> str:
    if len(entries) == 1:
        return entries[0].sha256
    lines = "".join(f"{e.sha256}  {e.path}\n" for e in entries)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def in_force() -> tuple[str, ...]:
    """Return the comparators and their versions, as the signed record lists them."""
    known = tuple(f"{name}@{version}" for name, version in family.comparators_in_force())
    return (*known, PREDICTIONS)
