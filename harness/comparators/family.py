"""The whole family on two files or folders: bytes first, then the first format that knows both."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from harness import comparators
from harness.comparators.base import Bounds, CannotCompare, Comparator, Context, Sniff
from harness.comparators.bytewise import describe, same_bytes, same_size
from harness.comparators.units import IN_FORCE, Unit, units
from harness.comparators.units import compare as compare_as_one
from harness.errors import HarnessError, UsageError
from harness.model import Difference, Status, Tolerance
from harness.tables import load

HEAD = 1 << 16
BYTES = "bytes@1"
DOWNLOADED = "registered_model_meta"  # MLflow adds it to what it downloads
SEVERITY = [
    Status.IDENTICAL,
    Status.EXACT,
    Status.WITHIN_TOLERANCE,
    Status.BEHAVIOURAL,
    Status.UNCOMPARABLE,
    Status.EXTRA,
    Status.MISSING,
    Status.DIFFERENT,
]


@cache
def table() -> tuple[Comparator, ...]:
    """Return every comparator, specific before general."""
    rows = comparators.TABLE
    return tuple(load(rows, name, group=comparators.GROUP)() for name in rows)


def comparators_in_force() -> tuple[tuple[str, int], ...]:
    """Return id and version of every comparator, as the signed record lists them."""
    return (("bytes", 1), *((c.id, c.version) for c in table()), *IN_FORCE)


def compare(
    recorded: Path,
    reproduced: Path,
    name: str,
    *,
    tolerance: Tolerance | None = None,
    bounds: Bounds | None = None,
    seed: int = 0,
    probe: Path | None = None,
    recorded_sha256: str | None = None,
    reproduced_sha256: str | None = None,
) -> Difference:
    """Compare two files or folders into one difference tree.

    Digests that are already known and verified spare a second read. Both sides are hostile: a
    format that cannot be read ends in bytes with the reason, never in an exception.
    """
    tolerance = tolerance or Tolerance()
    for rule in tolerance.rules:
        if not all(math.isfinite(limit) and limit >= 0 for limit in (rule.rtol, rule.atol)):
            what = f"tolerance {rule.match!r} has rtol {rule.rtol} and atol {rule.atol}"
            raise UsageError(what, "give finite numbers that are not negative")
    if recorded_sha256 and recorded_sha256 == reproduced_sha256:
        return _identical(name, recorded.stat().st_size)
    context = Context(tolerance, bounds or Bounds(), seed, 0, probe)
    return _compare(recorded, reproduced, name, context)


def compare_unit(
    unit: Unit,
    left: Callable[[str], Path],
    right: Callable[[str], Path],
    *,
    tolerance: Tolerance | None = None,
    seed: int = 0,
    probe: Path | None = None,
) -> Difference:
    """Compare files that belong together; `left` and `right` say where a path of a side lies."""
    context = Context(tolerance or Tolerance(), Bounds(), seed, 0, probe)
    below = replace(context, depth=1)
    context = replace(context, compare=lambda x, y, n: _compare(x, y, n, below))
    try:
        return compare_as_one(unit, left, right, context)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return Difference(unit.name, Status.UNCOMPARABLE, BYTES, reason)


def _compare(a: Path, b: Path, name: str, context: Context) -> Difference:
    if context.depth > context.bounds.depth:
        return Difference(name, Status.UNCOMPARABLE, BYTES, "nested deeper than the bounds allow")
    below = replace(context, depth=context.depth + 1)
    context = replace(context, compare=lambda x, y, n: _compare(x, y, n, below))
    try:
        one, two = a.lstat(), b.lstat()
        kinds = {stat.S_IFMT(one.st_mode), stat.S_IFMT(two.st_mode)}
        if kinds - {stat.S_IFREG, stat.S_IFDIR}:
            return Difference(name, Status.UNCOMPARABLE, BYTES, "not a regular file")
        if len(kinds) > 1:
            reason = "one side is a folder, the other a file"
            return Difference(name, Status.DIFFERENT, BYTES, reason)
        if kinds == {stat.S_IFDIR}:
            return _folder(a, b, name, context)
        if one.st_size == two.st_size and same_bytes(a, b):
            return _identical(name, one.st_size)
        return _formats(a, b, name, context)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return Difference(name, Status.UNCOMPARABLE, BYTES, reason)


def _identical(name: str, size: int) -> Difference:
    """Return the leaf for equal bytes; an empty file holds no value and proves nothing."""
    return Difference(name, Status.IDENTICAL, BYTES, values=1 if size else 0)


def _formats(a: Path, b: Path, name: str, context: Context) -> Difference:
    one, two = _sniff(a), _sniff(b)
    reason = "no comparator knows this format"
    for comparator in table():
        try:
            if not (comparator.recognises(one) and comparator.recognises(two)):
                continue
            found = comparator.compare(a, b, context)
        except CannotCompare as error:
            reason = f"{comparator.id}: {error.message}"
        except HarnessError as error:
            reason = f"{comparator.id}: {error}"
        except (Exception, RecursionError, MemoryError) as error:
            # A hostile file found a hole in a parser: that says nothing about the model.
            reason = f"{comparator.id}: cannot be read ({type(error).__name__})"
        else:
            return replace(found, name=name, comparator=f"{comparator.id}@{comparator.version}")
        break
    return replace(describe(a, b, reason), name=name, comparator=BYTES)


def _sniff(path: Path) -> Sniff:
    with path.open("rb") as file:
        return Sniff(path, os.fstat(file.fileno()).st_size, file.read(HEAD))


def _folder(a: Path, b: Path, name: str, context: Context) -> Difference:
    left, right = _members(a), _members(b)
    names = sorted(left.keys() | right.keys())
    equal = _equal(a, b, names[: context.bounds.entries], left, right)
    if len(equal) == len(names):
        return _all_equal(name, equal, context.bounds.nodes)
    together = units(left, right)
    grouped = {path for unit in together for path in (*unit.left, *unit.right)}
    names = [path for path in names if path not in grouped]
    left, right = ({p: r for p, r in side.items() if p not in grouped} for side in (left, right))
    children = (
        *(compare_as_one(unit, a.joinpath, b.joinpath, context) for unit in together),
        *_children(a, b, names[: context.bounds.entries], left, right, equal, context),
    )
    found = assemble(name, children, "folder@1", max(0, len(names) - context.bounds.entries))
    return _bounded(found, context.bounds.nodes)


def _all_equal(name: str, equal: dict[str, int], nodes: int) -> Difference:
    """Return the node of two folders of the same files; a folder may hold very many of them."""
    shown = tuple(_identical(path, equal[path]) for path in islice(equal, nodes))
    values = sum(1 for size in equal.values() if size)
    dropped = len(equal) - len(shown)
    return Difference(
        name, Status.IDENTICAL, "folder@1", values=values, children=shown, truncated=dropped
    )


def _bounded(found: Difference, nodes: int) -> Difference:
    """Drop the least telling children beyond the bound; what was dropped is counted."""
    dropped = len(found.children) - nodes
    if dropped <= 0:
        return found
    order = sorted(found.children, key=lambda c: -SEVERITY.index(c.status))
    kept = {id(c) for c in order[:nodes]}
    children = tuple(c for c in found.children if id(c) in kept)
    return replace(found, children=children, truncated=found.truncated + dropped)


def _members(folder: Path) -> dict[str, bool]:
    """Return the path of everything below that is no folder, and whether it is a regular file.

    Links are named, never followed. Raises: OSError for a folder that may not be listed.
    """
    model = (folder / "MLmodel").is_file()
    found: dict[str, bool] = {}
    below = [""]
    while below:
        top = below.pop()
        with os.scandir(f"{folder}/{top}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(f"{top}{entry.name}/")
                else:
                    found[top + entry.name] = entry.is_file(follow_symlinks=False)
    if model:
        found.pop(DOWNLOADED, None)
    return found


def _equal(
    a: Path, b: Path, names: list[str], left: dict[str, bool], right: dict[str, bool]
) -> dict[str, int]:
    """Return the regular files of the same bytes on both sides, and their sizes."""
    found: dict[str, int] = {}
    one, two = f"{a}/", f"{b}/"
    for path in names:
        if left.get(path) and right.get(path):
            try:
                size = same_size(one + path, two + path)
            except OSError:  # told of when the file is looked at by itself
                continue
            if size is not None:
                found[path] = size
    return found


def _children(
    a: Path,
    b: Path,
    names: list[str],
    left: dict[str, bool],
    right: dict[str, bool],
    equal: dict[str, int],
    context: Context,
) -> Iterator[Difference]:
    compare_part: Callable[[Path, Path, str], Difference] | None = context.compare
    assert compare_part is not None
    for path in names:
        if path in equal:
            yield _identical(path, equal[path])
        elif path not in right:
            yield Difference(path, Status.MISSING, "folder@1")
        elif path not in left:
            yield Difference(path, Status.EXTRA, "folder@1")
        else:
            yield compare_part(a / path, b / path, path)


def assemble(
    name: str, children: tuple[Difference, ...], comparator: str, truncated: int = 0, **more: Any
) -> Difference:
    """Return the parent of compared parts: as bad as its worst part, its values their sum."""
    worst = max((c.status for c in children), key=SEVERITY.index, default=Status.IDENTICAL)
    status = Status.DIFFERENT if worst in {Status.MISSING, Status.EXTRA} else worst
    return Difference(
        name,
        Status.UNCOMPARABLE if truncated and status not in {Status.DIFFERENT} else status,
        comparator,
        values=sum(c.values for c in children),
        children=children,
        truncated=truncated,
        **more,
    )
