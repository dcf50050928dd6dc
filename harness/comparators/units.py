"""Files that only mean something together, or whose names vary: paired by name before reading.

A run writes its event file under a name with time and host, one model may lie in one file or in
shards, and an Orbax checkpoint in files with random names. `units` finds them among the paths of
both sides; everything else is compared path by path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.comparators.base import CannotCompare, Context
from harness.comparators.bytewise import same_bytes
from harness.comparators.events import pairing_key
from harness.model import Difference, Status

EVENTS, SHARDS, ORBAX = "events", "shards", "orbax"
IN_FORCE = ((SHARDS, 1), (ORBAX, 1))
SHARD = re.compile(r"(.*)-\d{5}-of-\d{5}\.safetensors")
NUMBERS = re.compile(r"(\D*)(\d*)")
INDEX, WHOLE = ".safetensors.index.json", ".safetensors"
MANIFEST, ZARR = "manifest.ocdbt", (".zarray", "zarr.json")
Find = Callable[[str], Path]
Groups = dict[tuple[str, str], list[str]]


@dataclass(frozen=True)
class Unit:
    """Paths of both sides that are compared as one; `kind` says how."""

    name: str
    kind: str
    left: tuple[str, ...]
    right: tuple[str, ...]


def units(left: Iterable[str], right: Iterable[str]) -> tuple[Unit, ...]:
    """Return what must be compared as one, where both sides have it; no path is in two."""
    one, two = _groups(left), _groups(right)
    found = []
    for kind, name in sorted(one.keys() & two.keys()):
        a, b = sorted(one[kind, name]), sorted(two[kind, name])
        if kind == EVENTS:
            # Writers number their files by time: the first of one run belongs to the other's.
            pairs = zip(sorted(a, key=_natural), sorted(b, key=_natural), strict=False)
            found += [Unit(x, kind, (x,), (y,)) for x, y in pairs if x != y]
        elif kind != SHARDS or (_loads(a) and _loads(b) and len(a) + len(b) > 2):
            found.append(Unit(name, kind, tuple(a), tuple(b)))
    return tuple(found)


def _groups(paths: Iterable[str]) -> Groups:
    found: Groups = {}
    known = list(paths)
    folders = _orbax(known)
    for path in known:
        folder, _, file = path.rpartition("/")
        if (owner := _owner(path, folders)) is not None:
            found.setdefault((ORBAX, owner or MANIFEST), []).append(path)
        elif "tfevents" in file:
            found.setdefault((EVENTS, pairing_key(path)), []).append(path)
        elif file.endswith((WHOLE, INDEX)):
            stem = _stem(file)
            name = f"{folder}/{stem}" if folder else stem
            found.setdefault((SHARDS, name), []).append(path)
    return found


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part or 0), text) for text, part in NUMBERS.findall(path)]


def _stem(file: str) -> str:
    if shard := SHARD.fullmatch(file):
        return f"{shard[1]}{WHOLE}"
    return file.removesuffix(INDEX) + WHOLE if file.endswith(INDEX) else file


def _loads(paths: list[str]) -> bool:
    """Return whether these are one file, or shards with their index; others stay single files."""
    return (len(paths) == 1 and not paths[0].endswith(INDEX)) or _with_index(paths)


def _with_index(paths: list[str]) -> bool:
    indices = [p for p in paths if p.endswith(INDEX)]
    shards = [p for p in paths if SHARD.fullmatch(p.rpartition("/")[2])]
    return len(indices) == 1 and len(shards) == len(paths) - 1 > 0


def _orbax(paths: list[str]) -> dict[str, bool]:
    """Return the folders that hold a store of arrays; True for OCDBT, False for one zarr array."""
    held: dict[str, bool] = {}
    for path in paths:
        folder, _, file = path.rpartition("/")
        if file == MANIFEST and ".process_" not in folder.rpartition("/")[2]:
            held[folder] = True
        elif file in ZARR:
            held.setdefault(folder, False)
    parents = {"/".join(f.split("/")[:n]) for f in held for n in range(f.count("/") + 1)}
    return {f: whole for f, whole in held.items() if whole or f not in parents}


def _owner(path: str, folders: dict[str, bool]) -> str | None:
    if not folders:
        return None
    for folder in _above(path):
        if folder in folders:
            below = path[len(folder) + 1 :] if folder else path
            store = below == MANIFEST or below.startswith(("d/", "ocdbt.process_"))
            return folder if store or not folders[folder] else None
    return None


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def compare(unit: Unit, left: Find, right: Find, context: Context) -> Difference:
    """Compare one unit; `left` and `right` say where a path lies. Raises nothing but OSError."""
    one, two = [left(p) for p in unit.left], [right(p) for p in unit.right]
    if unit.kind == EVENTS:
        assert context.compare is not None
        return context.compare(one[0], two[0], unit.name)
    pairs = list(zip(one, two, strict=False))
    if unit.left == unit.right and all(same_bytes(a, b) for a, b in pairs):
        return Difference(unit.name, Status.IDENTICAL, "bytes@1", values=len(pairs))
    label = f"{unit.kind}@1"
    try:
        found = _reader(unit.kind)(unit, one, two, context)
    except CannotCompare as error:
        reason = f"{unit.kind}: {error}"
    except (Exception, RecursionError, MemoryError) as error:
        # Hostile files reach third-party parsers, which raise what they please.
        reason = f"{unit.kind}: cannot be read ({type(error).__name__})"
    else:
        return replace(found, name=unit.name, comparator=label)
    return Difference(unit.name, Status.UNCOMPARABLE, label, reason)


Reader = Callable[[Unit, list[Path], list[Path], Context], Difference]


def _reader(kind: str) -> Reader:
    if kind == SHARDS:
        from harness.comparators.shards import compare_shards

        return compare_shards
    from harness.comparators.orbax import compare_stores

    return compare_stores
