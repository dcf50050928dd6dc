"""Tensors as torch pickles them: a storage, and a strided view that rebuilds the tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare
from harness.comparators.pickle import Canon
from harness.comparators.pickle_machine import Call, Global, Persistent, Sequence
from harness.comparators.tensor import Tensor

# Source: torch/_utils.py and torch/storage.py; storage class or dtype -> numpy's name and bytes.
DTYPES = {
    "DoubleStorage": ("float64", 8), "FloatStorage": ("float32", 4), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1), "ComplexFloatStorage": ("complex64", 8),
    "ComplexDoubleStorage": ("complex128", 16), "QInt8Storage": ("int8", 1),
    "QUInt8Storage": ("uint8", 1), "QInt32Storage": ("int32", 4), "UntypedStorage": ("uint8", 1),
    "uint16": ("uint16", 2), "uint32": ("uint32", 4), "uint64": ("uint64", 8),
    "float8_e4m3fn": ("float8_e4m3fn", 1), "float8_e5m2": ("float8_e5m2", 1),
    "float8_e4m3fnuz": ("float8_e4m3fnuz", 1), "float8_e5m2fnuz": ("float8_e5m2fnuz", 1),
    "float8_e8m0fnu": ("float8_e8m0fnu", 1),
}  # fmt: skip
REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}
PARAMETER = {"_rebuild_parameter", "_rebuild_parameter_with_state"}
LARGEST = 1 << 30  # a view that is not contiguous is copied: no more than this


def storage(item: Any) -> tuple[str, str, str]:
    """Return type name, key and device of a persistent id that names a storage."""
    key = item.key.items if isinstance(item, Persistent) and isinstance(item.key, Sequence) else []
    if len(key) < 5 or key[0] != "storage" or not isinstance(key[1], Global):
        raise CannotCompare("a persistent object that is no storage")
    if any(view is not None for view in key[5:]):
        raise CannotCompare("a storage that is a view of another, as torch before 0.4 wrote it")
    if key[1].name not in DTYPES:
        raise CannotCompare(f"a storage of type {key[1].name[:80]!r}")
    return key[1].name, str(key[2]), str(key[3])


def viewed(data: Any, dtype: str, itemsize: int, offset: Any, shape: Any, strides: Any) -> Tensor:
    """Return a strided view of a storage as a tensor; what a view may reach is checked first."""
    dims, steps = _counts(shape), _counts(strides)
    start = _counts(Sequence("tuple", [offset]))[0]
    if len(dims) != len(steps) or len(dims) > 64:
        raise CannotCompare(f"a tensor of shape {list(dims)[:8]} with {len(steps)} strides")
    size, held = math.prod(dims), memoryview(data).nbytes // itemsize
    if not size:
        return Tensor(dtype, dims, b"")
    last = start + sum((d - 1) * s for d, s in zip(dims, steps, strict=True))
    if last >= held:
        raise CannotCompare(f"a tensor reaches element {last} of a storage of {held}")
    if _contiguous(dims, steps):
        view = memoryview(data).cast("B")
        return Tensor(dtype, dims, view[start * itemsize : (start + size) * itemsize])
    if size * itemsize > LARGEST:
        raise CannotCompare(f"a strided view of {size} elements")
    flat = np.frombuffer(data, f"V{itemsize}", held, 0)[start:]
    apart = tuple(s * itemsize for s in steps)
    whole = np.lib.stride_tricks.as_strided(flat, dims, apart, writeable=False)
    return Tensor(dtype, dims, np.ascontiguousarray(whole).tobytes())


def _counts(value: Any) -> tuple[int, ...]:
    items = value.items if isinstance(value, Sequence) else None
    if items is None or not all(type(i) is int and 0 <= i < 1 << 62 for i in items):
        raise CannotCompare("a tensor whose shape, strides or offset are no counts")
    return tuple(items)


def _contiguous(dims: tuple[int, ...], steps: tuple[int, ...]) -> bool:
    expected = 1
    for d, s in zip(reversed(dims), reversed(steps), strict=True):
        if d != 1 and s != expected:
            return False
        expected *= d
    return True


class TorchCanon(Canon):
    """Symbols of a torch pickle to a document: tensors by value, ordered dictionaries as such."""

    def __init__(self, values: int, read: Callable[[str, str], Any]) -> None:
        super().__init__(values)
        self.read = read
        self.used: set[str] = set()
        self.devices: list[str] = []
        self.layouts: list[Any] = []
        self.gradients: list[Any] = []

    def value(self, item: Any, path: str, depth: int) -> Any:
        """Return one symbol; a storage that stands alone is its bytes."""
        if isinstance(item, Persistent):
            kind, data = self._storage(item)
            name, size = DTYPES[kind]
            return Tensor(name, (memoryview(data).nbytes // size,), data)
        return super().value(item, path, depth)

    def _storage(self, item: Any) -> tuple[str, Any]:
        kind, key, device = storage(item)
        self.used.add(key)
        self.devices.append(device)
        return kind, self.read(key, kind)

    def _call(self, item: Call, path: str, depth: int) -> Any:
        callee = item.callee if isinstance(item.callee, Global) else Global("", "")
        if callee.module == "torch._utils" and callee.name in REBUILD:
            return self._tensor(item.arguments, path, depth)
        if callee.module == "torch._utils" and callee.name in PARAMETER and item.arguments:
            self.gradients.append(("parameter", path, item.arguments[1:2]))
            tensor = self.value(item.arguments[0], path, depth + 1)
            return self._with(tensor, item.arguments[2:], path, depth)
        if str(callee) == "collections.OrderedDict" and not item.arguments and not item.appended:
            found = self._pairs(item.items, path, depth)
            for number, state in enumerate(item.states):
                self._state(found, state, number, path, depth)
            return found
        return super()._call(item, path, depth)

    def _tensor(self, arguments: list[Any], path: str, depth: int) -> Any:
        if len(arguments) < 4:
            raise CannotCompare("a tensor without a storage, a shape or strides")
        kind, data = self._storage(arguments[0])
        more = arguments[5:]  # hooks, from version 3 on the type, metadata
        if len(more) > 1 and isinstance(more[1], Global):
            kind = more.pop(1).name
        if kind not in DTYPES:
            raise CannotCompare(f"a tensor of type {kind[:80]!r}")
        name, size = DTYPES[kind]
        self.layouts.append((arguments[1], memoryview(data).nbytes, _plain(arguments[3])))
        self.gradients.append(("tensor", path, arguments[4:5]))
        return self._with(viewed(data, name, size, *arguments[1:4]), more, path, depth)

    def _with(self, tensor: Any, more: list[Any], path: str, depth: int) -> Any:
        """Return a tensor with what else was saved of it: hooks, the bits that say that it is
        conjugated or negated, a parameter's attributes."""
        found = [self.value(item, f"{path} metadata", depth + 1) for item in more]
        return {"tensor": tensor, "metadata": found} if any(found) else tensor


def _plain(strides: Any) -> Any:
    return tuple(strides.items) if isinstance(strides, Sequence) else strides
