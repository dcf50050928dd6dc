"""NumPy arrays inside a pickle, in line or as joblib appends them, without loading either."""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np

from harness.comparators.base import CannotCompare
from harness.comparators.pickle_machine import Call, Global, Pairs, Sequence
from harness.comparators.tensor import Tensor

# Where numpy and joblib have kept what a pickle names, in the versions that there were
MODULES = {
    "numpy": {"numpy"}
    | {f"numpy.{c}.{m}" for c in ("core", "_core") for m in ("multiarray", "numeric")},
    "joblib": {"joblib.numpy_pickle"},
}


def named(value: Any, module: str, names: set[str]) -> bool:
    """Return whether a symbol is a call of one of a package's names."""
    callee = value.callee if isinstance(value, Call) else None
    return isinstance(callee, Global) and callee.name in names and callee.module in MODULES[module]


def dtype_of(value: Any) -> np.dtype[Any] | None:
    """Return the numpy type that a symbol stands for, None for none that holds plain values.

    A state that says more than this type has (a unit of time, metadata, other flags) is none:
    it is then compared as the call that it is.
    """
    if not named(value, "numpy", {"dtype"}) or not isinstance(value.arguments[0], str):
        return None
    if len(value.states) > 1 or (value.states and not isinstance(value.states[0], Sequence)):
        return None
    code = value.arguments[0]
    state = value.states[0].items if value.states else []
    try:
        if len(state) > 4 and isinstance(state[4], Pairs):
            found = _structured(state[3], state[4], state)
        else:
            order = state[1] if len(state) > 1 and state[1] in ("<", ">") else ""
            found = np.dtype(f"{order}{code}{_unit(state)}")
    except (TypeError, ValueError, AttributeError):
        return None
    return found if found is not None and _whole(found, state) else None


def _whole(dtype: np.dtype[Any], state: list[Any]) -> bool:
    """Return whether a type is all that a state says: size, alignment, flags, nothing more."""
    if not state:
        return dtype.kind not in "mM"  # a time without its unit
    expected: Any = dtype.__reduce__()[2]
    own = state[2] is None and len(state) == len(expected) in (8, 9)
    return own and list(state[5:8]) == list(expected[5:8])


def _unit(state: list[Any]) -> str:
    """Return the unit of a type of times; TypeError for what is none."""
    if len(state) < 9:
        return ""
    metadata, (unit, count, *rest) = state[8].items[0], state[8].items[1].items
    if metadata is not None or not isinstance(unit, bytes) or rest != [1, 1]:
        raise TypeError("metadata of a type")
    return f"[{int(count)}{unit.decode()}]"


def _structured(names: Any, fields: Pairs, state: list[Any]) -> np.dtype[Any] | None:
    held = {k: v.items for k, v in fields.items if isinstance(v, Sequence) and len(v.items) == 2}
    if (
        not isinstance(names, Sequence)
        or set(held) != set(names.items)
        or len(fields.items) != len(held)
    ):
        return None
    formats = [dtype_of(held[n][0]) for n in names.items]
    if any(f is None for f in formats):
        return None
    offsets = [held[n][1] for n in names.items]
    layout: Any = {
        "names": list(names.items), "formats": formats, "offsets": offsets, "itemsize": state[5]
    }  # fmt: skip
    found: np.dtype[Any] = np.dtype(layout, align=state[6] != 1)
    return found


def array(data: Any, dtype: np.dtype[Any], shape: Any, fortran: bool) -> Any:
    """Return a tensor, or for a structured type one tensor per field.

    Raises: CannotCompare when type, shape and data disagree.
    """
    dims = tuple(shape.items) if isinstance(shape, Sequence) else (shape,)
    if not all(type(d) is int and d >= 0 for d in dims) or len(dims) > 32:
        raise CannotCompare("an array of impossible shape")
    if dtype.hasobject or math.prod(dims) * dtype.itemsize != memoryview(data).nbytes:
        raise CannotCompare(f"an array of shape {list(dims)} with {memoryview(data).nbytes} bytes")
    flat = np.frombuffer(data, dtype) if memoryview(data).nbytes else np.zeros(0, dtype)
    whole = flat.reshape(dims, order="F" if fortran else "C")
    if dtype.names:
        return {"(fields)": {name: Tensor.of(whole[name]) for name in dtype.names}}
    return Tensor.of(whole)


def in_line(value: Any) -> Any:
    """Return the array that a call would rebuild, None when the call is something else."""
    if named(value, "numpy", {"_reconstruct"}) and value.states and _plain(value.arguments):
        return _rebuilt(value.states[-1])
    if named(value, "numpy", {"scalar"}) and len(value.arguments) == 2:
        dtype, data = dtype_of(value.arguments[0]), _bytes(value.arguments[1])
        if dtype is not None and data is not None and not dtype.hasobject:
            return array(data, dtype, Sequence("tuple"), False)
    if named(value, "numpy", {"_frombuffer"}) and len(value.arguments) == 4:
        data, dtype = _bytes(value.arguments[0]), dtype_of(value.arguments[1])
        if dtype is not None and data is not None:
            return array(data, dtype, value.arguments[2], value.arguments[3] == "F")
    return None


def _plain(arguments: list[Any]) -> bool:
    """Return whether it is numpy's own array that is rebuilt, not a subclass."""
    return bool(arguments) and str(arguments[0]) == "numpy.ndarray"


def _rebuilt(state: Any) -> Any:
    if not isinstance(state, Sequence) or len(state.items) != 5:
        return None
    _, shape, kind, fortran, data = state.items
    dtype, raw = dtype_of(kind), _bytes(data)
    if raw is None or dtype is None or dtype.hasobject:
        return None
    return array(raw, dtype, shape, bool(fortran))


def _bytes(value: Any) -> bytes | bytearray | None:
    """Return bytes, also as protocols before 3 wrote them: text to be encoded in latin-1."""
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, Call) and str(value.callee) == "_codecs.encode" and value.arguments:
        text = value.arguments[0]
        return text.encode("latin-1") if isinstance(text, str) else None
    return None


def is_wrapper(call: Call) -> bool:
    """Return whether joblib writes an array's data behind this object."""
    return named(call, "joblib", {"NumpyArrayWrapper"})


def appended(stream: IO[bytes], call: Call, nested: Any) -> Any:
    """Return the array whose data follows in the stream (joblib's layout since 0.10).

    `nested` reads the pickle that follows instead for an array of objects.
    """
    pairs = call.states[-1].items if isinstance(call.states[-1], Pairs) else []
    held = {k: v for k, v in pairs if isinstance(k, str)}
    dtype = dtype_of(held.get("dtype"))
    if dtype is None or "shape" not in held:
        raise CannotCompare("a joblib array of a type that is not read")
    if dtype.hasobject:
        return nested(stream)
    if held.get("numpy_array_alignment_bytes") is not None:
        padding = stream.read(1)
        stream.read(padding[0] if padding else 0)
    dims = [d for d in held["shape"].items if type(d) is int and d >= 0]
    size = math.prod(dims) * dtype.itemsize
    if size > 1 << 62:
        raise CannotCompare("a joblib array larger than any file")
    data = stream.read(size)
    found = array(data, dtype, held["shape"], held.get("order") == "F")
    kind = str(held.get("subclass"))
    return found if kind == "numpy.ndarray" else {"(subclass)": kind, "(array)": found}
