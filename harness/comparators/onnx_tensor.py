"""One ONNX TensorProto as a tensor, whichever of its seven fields holds the values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare
from harness.comparators.protobuf import Message
from harness.comparators.tensor import Tensor, checked

# data_type -> (name, bits per element)
TYPES = {
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8),
    19: ("float8_e5m2", 8),
    20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4_e2m1fn", 4),
    24: ("float8_e8m0fnu", 8),
}
STRING = 8


def tensor(message: Message, external: memoryview | None) -> Any:
    """Return a TensorProto's values: a tensor, or a list of strings.

    Raises: CannotCompare when header and data disagree.
    """
    shape, kind = tuple(message.numbers(1)), message.number(2)
    if kind == STRING:
        return [bytes(v).decode("utf-8", "backslashreplace") for v in message.raw(6)]
    if kind not in TYPES:
        raise CannotCompare(f"an ONNX tensor of unknown type {kind}")
    name, bits = TYPES[kind]
    data = external
    if data is None:
        raw = message.raw(9)
        data = raw[-1] if raw else memoryview(_typed(message, name))
    if bits >= 8:
        return checked(name, shape, data, bits // 8)
    if any(d < 0 for d in shape) or (math.prod(shape) * bits + 7) // 8 != len(data):
        raise CannotCompare(f"an ONNX tensor of shape {list(shape)[:8]} with {len(data)} bytes")
    return Tensor(f"{name} {list(shape)}", (len(data),), data)


def _typed(message: Message, name: str) -> bytes:
    """Return the bytes of values that lie in a typed field instead of raw_data."""
    if name in {"float32", "complex64"}:
        return message.fixed(4, "<f4").tobytes()
    if name in {"float64", "complex128"}:
        return message.fixed(10, "<f8").tobytes()
    if name == "int64":
        return np.array(message.numbers(7), np.int64).tobytes()
    if name in {"uint32", "uint64"}:
        unsigned = np.array([v % (1 << 64) for v in message.numbers(11)], np.uint64)
        return unsigned.astype(name).tobytes()
    narrow = {"bool": "uint8", "float16": "uint16", "bfloat16": "uint16"}.get(name, name)
    if narrow not in {"int32", "int16", "int8", "uint16", "uint8"}:
        narrow = "uint8"
    return np.array(message.numbers(5), np.int64).astype(narrow).tobytes()
