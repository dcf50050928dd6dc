"""One named tensor of a document, and two of them compared: bits first, then distances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare
from harness.model import Difference, Distances, Status, Tolerance, ToleranceRule

CHUNK = 1 << 18
# name -> (numpy storage, how many bits to shift left to get a float32, 0: numpy knows the type)
STORED = {"bfloat16": ("<u2", 16)}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as it lies in a file: type name, shape, row-major little-endian bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: Any

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @staticmethod
    def of(array: np.ndarray) -> Tensor:
        """Return a numpy array as a tensor, big-endian values turned around."""
        if array.dtype.hasobject:
            raise CannotCompare("an array of Python objects has no values to compare")
        if array.dtype.fields is None and array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        whole = np.ascontiguousarray(array)
        return Tensor(str(array.dtype), array.shape, whole.reshape(-1).view(np.uint8).data)


@dataclass(frozen=True, eq=False)
class Labelled:
    """A value with a name of its own, by which tolerances and reports know it."""

    label: str
    value: Any


def checked(dtype: str, shape: tuple[int, ...], data: Any, itemsize: int) -> Tensor:
    """Return a tensor whose header agrees with its bytes. Raises: CannotCompare if it does not."""
    if any(d < 0 for d in shape) or len(shape) > 64:
        raise CannotCompare(f"a tensor of shape {list(shape)[:8]}")
    if math.prod(shape) * itemsize != memoryview(data).nbytes:
        claimed = math.prod(shape) * itemsize
        raise CannotCompare(
            f"a tensor header claims {claimed:.6g} bytes, its data has {memoryview(data).nbytes}"
        )
    return Tensor(dtype, shape, data)


def numbers(values: list[Any]) -> Any:
    """Return a list of numbers as a tensor, any other list as it is."""
    if not values or not all(type(v) in (int, float) for v in values):
        return values
    try:
        whole = all(type(v) is int for v in values)
        return Tensor.of(np.array(values, dtype=np.int64 if whole else np.float64))
    except OverflowError:
        return values


def rule_for(tolerance: Tolerance, name: str) -> ToleranceRule:
    """Return the first rule that fits a name; without one nothing may differ."""
    for rule in tolerance.rules:
        if rule.match != "behaviour" and fnmatchcase(name, rule.match):
            return rule
    return ToleranceRule()


def compare_tensors(a: Tensor, b: Tensor, name: str, path: str, tolerance: Tolerance) -> Difference:
    """Compare two tensors: type and shape, then bits, then distances under the rule that fits."""
    shown = f"{a.dtype} {list(a.shape)}", f"{b.dtype} {list(b.shape)}"
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        reason = "shape differs" if a.dtype == b.dtype else "dtype differs"
        return Difference(name, Status.DIFFERENT, "", reason, a.size, *shown)
    left, right = _raw(a.data), _raw(b.data)
    if left.size == right.size and _same(left, right):
        return Difference(name, Status.IDENTICAL, values=a.size, recorded=shown[0])
    rule = rule_for(tolerance, path)
    found = distances(a, b, rule)
    status = Status.DIFFERENT if found.beyond else Status.WITHIN_TOLERANCE
    return Difference(name, status, "", "", a.size, *shown, distances=found)


def distances(a: Tensor, b: Tensor, rule: ToleranceRule) -> Distances:
    """Return the distances of two tensors of one type and shape, chunk by chunk.

    NaN equals NaN; an infinity equals only itself. Types that numpy cannot count in, and a rule
    of zero, are told apart by their bits.
    """
    left, right = _stored(a), _stored(b)
    total = _Sums(left.dtype.itemsize)
    with np.errstate(all="ignore"):
        for at in range(0, left.size, CHUNK):
            total.add(left[at : at + CHUNK], right[at : at + CHUNK], at, a.dtype, rule)
    first = None if total.first is None else _index(total.first, a.shape, left.size)
    return Distances(
        values=a.size,
        differing=total.differing,
        beyond=total.beyond,
        max_abs=total.max_abs,
        max_rel=total.max_rel,
        rel_l2=math.sqrt(total.gap / total.norm) if total.norm else (math.inf if total.gap else 0),
        first=first,
        rtol=rule.rtol,
        atol=rule.atol,
    )


class _Sums:
    """What one pass over two tensors adds up."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize = itemsize
        self.differing = self.beyond = 0
        self.max_abs = self.max_rel = self.gap = self.norm = 0.0
        self.first: int | None = None

    def add(self, a: np.ndarray, b: np.ndarray, at: int, dtype: str, rule: ToleranceRule) -> None:
        """Add one chunk that starts at element `at`."""
        differs = _bytes_of(a) != _bytes_of(b)
        if differs.ndim > 1:
            differs = differs.any(axis=1)
        count = int(differs.sum())
        if count and self.first is None:
            self.first = at + int(differs.argmax())
        self.differing += count
        one, two = _numbers(a, dtype), _numbers(b, dtype)
        if one is None or two is None:
            self.beyond += count
            return
        self._measure(one, two, differs, rule)

    def _measure(
        self, one: np.ndarray, two: np.ndarray, differs: np.ndarray, rule: ToleranceRule
    ) -> None:
        size = np.abs(one)
        gap = np.abs(one - two)
        gap = np.where((one == two) | (np.isnan(one) & np.isnan(two)), 0.0, gap)
        gap = np.where(np.isnan(gap), np.inf, gap)
        allowed = np.where(np.isfinite(one), rule.atol + rule.rtol * size, 0.0)
        zero = not rule.rtol and not rule.atol
        self.beyond += int(differs.sum()) if zero else int((gap > allowed).sum())
        self.max_abs = max(self.max_abs, float(gap.max(initial=0.0)))
        relative = np.divide(gap, size, out=np.zeros_like(gap), where=(size > 0) & (gap > 0))
        self.max_rel = max(self.max_rel, float(np.nan_to_num(relative).max(initial=0.0)))
        self.gap += float((gap * gap).sum())
        self.norm += float((size * size)[np.isfinite(size)].sum())


def _stored(tensor: Tensor) -> np.ndarray:
    if tensor.dtype in STORED:
        return np.frombuffer(tensor.data, STORED[tensor.dtype][0])
    try:
        found = np.frombuffer(tensor.data, np.dtype(tensor.dtype))
    except TypeError:
        found = _raw(tensor.data)
    return found


def _bytes_of(chunk: np.ndarray) -> np.ndarray:
    unsigned = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}.get(chunk.dtype.itemsize)
    if unsigned:
        return chunk.view(unsigned)
    return chunk.view(np.uint8).reshape(chunk.size, chunk.dtype.itemsize)


def _numbers(chunk: np.ndarray, dtype: str) -> np.ndarray | None:
    if dtype in STORED:
        return (chunk.astype("<u4") << STORED[dtype][1]).view("<f4").astype(np.float64)
    if chunk.dtype.kind in "iufb" and chunk.dtype == np.dtype(_name(dtype)):
        return chunk.astype(np.float64)
    if chunk.dtype.kind == "c":
        parts: np.ndarray = np.abs(chunk).astype(np.float64)
        return parts
    return None


def _name(dtype: str) -> str:
    try:
        return np.dtype(dtype).str
    except TypeError:
        return "V1"


def _index(flat: int, shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    if not size or math.prod(shape) != size:
        return (flat,)
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def _raw(data: Any) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    step = CHUNK * 8
    return all(
        np.array_equal(left[at : at + step], right[at : at + step])
        for at in range(0, left.size, step)
    )
