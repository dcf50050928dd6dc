"""A file as a canonical document (keys, lists, scalars, tensors), and two documents compared.

A format that fits here is one function: bytes in, `Document` out; the walk, the tolerances, the
bounds and the naming of the first difference are the same for all of them.
"""

from __future__ import annotations

import math
import mmap
import os
import re
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context
from harness.comparators.tensor import Labelled, Tensor, compare_tensors, fits, rule_for, widened
from harness.model import Difference, Distances, SetAside, Status

DIFFERS = {Status.DIFFERENT, Status.MISSING, Status.EXTRA}
TEXT = 200
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|-?inf|nan", re.ASCII)


@dataclass(frozen=True)
class Document:
    """What a file says: `content` is compared; `aside` maps what varies freely to value and why."""

    content: Any
    aside: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    note: str = ""


class DocumentComparator:
    """Base of the comparators whose format is read into a `Document`."""

    id = ""
    version = 1

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file; whatever it raises, `compare` turns into CannotCompare."""
        raise NotImplementedError

    def compare(self, recorded: Path, reproduced: Path, context: Context) -> Difference:
        """Compare two files as documents."""
        try:
            one, two = self.parse(recorded, context), self.parse(reproduced, context)
        except CannotCompare:
            raise
        except OSError as error:
            raise CannotCompare(f"{recorded.name}: cannot be read: {clip(error)}") from error
        except MemoryError as error:
            raise CannotCompare(f"{recorded.name}: more memory than the bounds allow") from error
        except Exception as error:
            # Hostile bytes reach standard and third-party parsers, which raise what they please.
            raise CannotCompare(f"{recorded.name}: malformed {self.id}: {clip(error)}") from error
        found = compare_documents(one, two, recorded.name, self.id, context)
        return self.told(found, one, two)

    def told(self, found: Difference, one: Document, two: Document) -> Difference:
        """Return the answer with what else a reader of this format's files should know."""
        return found


def mapped(path: Path, limit: int) -> memoryview:
    """Return a regular file's bytes without reading them; links and larger files are refused."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise CannotCompare(f"{path.name}: cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise CannotCompare(f"{path.name}: not a regular file")
        if status.st_size > limit:
            raise CannotCompare(f"{path.name}: {status.st_size} bytes, more than {limit} are read")
        if not status.st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(handle)


def contents(path: Path, limit: int) -> bytes:
    """Return all of a small file, within the limit."""
    return bytes(mapped(path, limit))


def is_number(text: str) -> bool:
    """Return whether a text can only mean a number; `007` may be a name."""
    return NUMBER.fullmatch(text) is not None


def clip(value: object) -> str:
    """Return a bounded rendering without control characters."""
    text = value if isinstance(value, str) else repr(value)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: TEXT + 1])
    return shown if len(text) <= TEXT else shown[: TEXT - 1] + "…"


def compare_documents(
    one: Document, two: Document, name: str, comparator: str, context: Context
) -> Difference:
    """Compare two documents whose files have unequal bytes; the first difference is named."""
    walk = _Walk(context)
    root = walk.node(one.content, two.content, name, "")
    if root.status == Status.IDENTICAL:
        root = replace(root, status=Status.EXACT)
    reasons = [r for r in (walk.first, one.note or two.note, root.reason) if r]
    aside = (*_aside(one.aside, two.aside), *walk.ignored)
    if root.status == Status.EXACT and not aside:
        aside = (SetAside("encoding", "the same content is written in other bytes"),)
    return replace(
        root,
        comparator=comparator,
        reason="; ".join(dict.fromkeys(reasons)),
        set_aside=aside,
        truncated=root.truncated + walk.dropped,
    )


def _aside(
    one: Mapping[str, tuple[Any, str]], two: Mapping[str, tuple[Any, str]]
) -> Iterable[SetAside]:
    for what in dict.fromkeys((*one, *two)):
        left, right = one.get(what), two.get(what)
        if left is None or right is None or left[0] != right[0]:
            yield SetAside(clip(what), (left or right or ("", ""))[1])


def same_scalar(a: object, b: object) -> bool:
    """Return whether two scalars are the same, bit by bit for floats."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b)
    return type(a) is type(b) and a == b


class _Walk:
    """One walk over two documents: counts values, keeps to the bound on nodes."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.room = context.bounds.nodes
        self.dropped = 0
        self.first = ""
        self.ignored: list[SetAside] = []

    def node(self, a: Any, b: Any, name: str, path: str) -> Difference:
        """Compare two values of any kind; `path` is what tolerances match."""
        if isinstance(a, Labelled) and isinstance(b, Labelled):
            return self.node(a.value, b.value, clip(a.label), a.label)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return self._noted(self._tensors(a, b, clip(name), path), path)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            return self._items(a, b, name, path)
        if isinstance(a, list | tuple) and type(a) is type(b):
            return self._items(dict(enumerate(a)), dict(enumerate(b)), name, path)
        return self._noted(self._scalar(a, b, name, path), path)

    def _tensors(self, a: Tensor, b: Tensor, name: str, path: str) -> Difference:
        tolerance = self.context.tolerance
        rule = rule_for(tolerance, path)
        same = a.dtype == b.dtype or a.shape != b.shape or not (a.written and b.written)
        if same or not (rule.rtol or rule.atol):
            return compare_tensors(a, b, name, path, tolerance)
        found = compare_tensors(widened(a), widened(b), name, path, tolerance)
        exact = found.status == Status.IDENTICAL  # 1 was written as 1.0
        return replace(found, status=Status.WITHIN_TOLERANCE) if exact else found

    def _noted(self, found: Difference, path: str) -> Difference:
        if found.status in DIFFERS and not self.first:
            index = found.distances.first if found.distances else None
            where = f" at index {list(index)}" if index else ""
            self.first = f"first difference: {clip(path or found.name)}{where}"
        return found

    def _scalar(self, a: Any, b: Any, name: str, path: str) -> Difference:
        if same_scalar(a, b):
            return Difference(clip(name), Status.IDENTICAL, values=1)
        shown = Difference(
            clip(name), Status.DIFFERENT, values=1, recorded=clip(a), reproduced=clip(b)
        )
        if not (_is_number(a) and _is_number(b)):
            return shown
        rule = rule_for(self.context.tolerance, path)
        distances = number_distances(a, b, rule.rtol, rule.atol)
        within = Status.DIFFERENT if distances.beyond else Status.WITHIN_TOLERANCE
        return replace(shown, status=within, distances=distances)

    def _items(
        self, a: Mapping[Any, Any], b: Mapping[Any, Any], name: str, path: str
    ) -> Difference:
        children: list[Difference] = []
        values, worst = 0, Status.IDENTICAL
        for key in dict.fromkeys((*a, *b)):
            below = f"{path}.{key}" if path else str(key)
            if self._is_ignored(a.get(key), b.get(key), below):
                continue
            if key not in a or key not in b:
                found = self._alone(key, a, b, below)
            else:
                found = self.node(a[key], b[key], str(key), below)
            values += found.values
            worst = _worse(worst, found.status)
            if found.status != Status.IDENTICAL or found.children or found.recorded:
                self._keep(children, found)
        status = Status.DIFFERENT if worst in DIFFERS else worst
        return Difference(clip(name), status, values=values, children=tuple(children))

    def _is_ignored(self, a: Any, b: Any, path: str) -> bool:
        if not any(fits(path, pattern) for pattern in self.context.tolerance.ignore):
            return False
        if not (a is None or b is None) and len(self.ignored) < self.context.bounds.nodes:
            self.ignored.append(SetAside(clip(path), "ignored by the recipe"))
        return True

    def _alone(self, key: Any, a: Mapping[Any, Any], b: Mapping[Any, Any], path: str) -> Difference:
        name, shown = clip(str(key)), brief((a if key in a else b)[key])
        if key in a:
            return self._noted(Difference(name, Status.MISSING, recorded=shown), path)
        return self._noted(Difference(name, Status.EXTRA, reproduced=shown), path)

    def _keep(self, children: list[Difference], found: Difference) -> None:
        if self.room > 0:
            self.room -= 1
            children.append(found)
        else:
            self.dropped += 1


def brief(value: Any) -> str:
    """Return what kind of value it is, bounded whatever its size."""
    if isinstance(value, Labelled):
        return f"{value.label}: {brief(value.value)}"
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, Mapping | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return clip(value)


def number_distances(a: float, b: float, rtol: float, atol: float) -> Distances:
    """Return the distances of two unequal numbers; NaN equals NaN, an infinity only itself."""
    try:
        x, y = float(a), float(b)
    except OverflowError:
        x, y = 0.0, math.inf
    if x == y or (math.isnan(x) and math.isnan(y)):
        gap = 0.0 if isinstance(a, float) or isinstance(b, float) else float(abs(a - b))
    else:
        gap = abs(x - y) if math.isfinite(x) and math.isfinite(y) else math.inf
    relative = gap / abs(x) if x and math.isfinite(gap) else (math.inf if gap else 0.0)
    beyond = not (gap <= atol + rtol * abs(x)) or not math.isfinite(gap) or (not rtol and not atol)
    return Distances(1, 1, int(beyond), gap, relative, relative, first=(), rtol=rtol, atol=atol)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_ORDER = [
    Status.IDENTICAL,
    Status.EXACT,
    Status.WITHIN_TOLERANCE,
    Status.BEHAVIOURAL,
    Status.UNCOMPARABLE,
    Status.MISSING,
    Status.EXTRA,
    Status.DIFFERENT,
]


def _worse(a: Status, b: Status) -> Status:
    return max(a, b, key=_ORDER.index)
