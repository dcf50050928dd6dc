"""One named tensor of a document, and two of them compared: bits first, then distances."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from harness.comparators import numeric
from harness.comparators.base import CannotCompare
from harness.model import Difference, Distances, Status, Tolerance, ToleranceRule

INDEX = re.compile(r"\[(\d+)\]")
EXACT = 1 << 53  # whole numbers up to here are float64 values


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as it lies in a file: type name, shape, row-major little-endian bytes.

    `written` says that it was a list of numbers in a text, where 1 and 1.0 may mean the same.
    """

    dtype: str
    shape: tuple[int, ...]
    data: Any
    written: bool = False

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
        if not whole and any(type(v) is int and abs(v) > EXACT for v in values):
            return values  # as float64 it would be another number
        return _written(np.array(values, dtype=np.int64 if whole else np.float64))
    except OverflowError:
        return values


def fits(path: str, pattern: str) -> bool:
    """Return whether a pattern fits a path of keys; `a[0]` and `a.0` are the same item."""
    return fnmatchcase(path, INDEX.sub(r".\1", pattern))


def _written(array: np.ndarray) -> Tensor:
    return Tensor(str(array.dtype), array.shape, array.view(np.uint8).data, written=True)


def widened(tensor: Tensor) -> Tensor:
    """Return a list of whole numbers as the floats that another list has in its place."""
    whole = np.frombuffer(tensor.data, tensor.dtype).astype(np.float64)
    return Tensor("float64", tensor.shape, whole.view(np.uint8).data, written=True)


def rule_for(tolerance: Tolerance, name: str) -> ToleranceRule:
    """Return the first rule that fits a name; without one nothing may differ."""
    for rule in tolerance.rules:
        if rule.match != "behaviour" and fits(name, rule.match):
            return rule
    return ToleranceRule()


def compare_tensors(a: Tensor, b: Tensor, name: str, path: str, tolerance: Tolerance) -> Difference:
    """Compare two tensors: type and shape, then bits, then distances under the rule that fits."""
    shown = f"{a.dtype} {list(a.shape)}", f"{b.dtype} {list(b.shape)}"
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        reason = "shape differs" if a.dtype == b.dtype else "dtype differs"
        return Difference(name, Status.DIFFERENT, "", reason, a.size, *shown)
    if numeric.same(a.data, b.data):
        return Difference(name, Status.IDENTICAL, values=a.size, recorded=shown[0])
    rule = rule_for(tolerance, path)
    found = distances(a, b, rule)
    status = Status.DIFFERENT if found.beyond else Status.WITHIN_TOLERANCE
    return Difference(name, status, "", "", a.size, *shown, distances=found)


def distances(a: Tensor, b: Tensor, rule: ToleranceRule) -> Distances:
    """Return the distances of two tensors of one type and shape, as `numeric` defines them."""
    found = numeric.measure(a.data, b.data, a.dtype, rule)
    half, most = found.ulps.percentiles(0.5, 0.99)
    return Distances(
        values=a.size,
        differing=found.differing,
        beyond=found.beyond,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        rel_l2=found.rel_l2,
        ulp_p50=half,
        ulp_p99=most,
        ulp_max=None if most is None else found.ulps.max,
        ulp_sampled=found.ulps.sampled,
        first=None if found.first is None else _index(found.first, a.shape),
        rtol=rule.rtol,
        atol=rule.atol,
        histogram=found.ulps.histogram(),
    )


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    if flat >= math.prod(shape):  # counted in bytes: a type without a size of its own
        return (flat,)
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()
