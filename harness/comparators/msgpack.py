"""flax msgpack checkpoints: nested dictionaries of arrays, read with limits."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.tensor import Tensor, checked, numbers

FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
           0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}  # fmt: skip
SIZED = {
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
}  # fmt: skip
# flax's extension codes
ARRAY, COMPLEX, SCALAR = 1, 2, 3
CHUNKED = "__msgpack_chunked_array__"


class MsgpackComparator(DocumentComparator):
    """Checkpoints written by `flax.serialization`."""

    id = "msgpack"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it starts with a map and is named as msgpack, or has texts as keys.

        `checkpoint_3`, as flax names what it saves by step, says nothing.
        """
        starts = sniff.head[:1]
        if not starts or not (starts[0] & 0xF0 == 0x80 or starts[0] in {0xDE, 0xDF}):
            return False
        after = sniff.head[1 if starts[0] < 0x90 else 3 if starts[0] == 0xDE else 5 :][:1]
        keyed = bool(after) and (after[0] & 0xE0 == 0xA0 or after[0] == 0xD9)
        named = sniff.path.suffix in {".msgpack", ".mpk", ".flax"}
        return named or (keyed and starts != b"\x80" and not sniff.path.suffix)

    def parse(self, path: Path, context: Context) -> Document:
        """Read the one value of the file."""
        view = mapped(path, context.bounds.expanded)
        reader = Reader(view, context.bounds.depth, context.bounds.entries * 50)
        value = reader.value(0)
        if reader.at != len(view):
            raise CannotCompare(f"{path.name}: bytes after the end")
        return Document(value)


class Reader:
    """A bounded reader of msgpack that knows flax's three extensions."""

    def __init__(self, view: memoryview, depth: int, values: int) -> None:
        self.view, self.at = view, 0
        self.depth, self.left = depth, values

    def value(self, depth: int) -> Any:
        """Return the next value. Raises: CannotCompare for what is cut off or too large."""
        self.left -= 1
        if depth > self.depth or self.left < 0:
            raise CannotCompare("msgpack nested deeper, or with more values, than is read")
        code = self._take(1)[0]
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 0x100
        if code in FIXED:
            return FIXED[code]
        if code in NUMBERS:
            return self._number(NUMBERS[code])
        kind, size = self._sized(code)
        if kind in {"list", "map"}:
            return self._container(kind, size, depth)
        if kind == "extension":
            label = int(self._number(">b"))
            return self._extension(label, self._take(size))
        data = self._take(size)
        if kind == "text":
            return bytes(data).decode("utf-8", "backslashreplace")
        return Tensor("uint8", (len(data),), data)

    def _sized(self, code: int) -> tuple[str, int]:
        if code < 0x90:
            return "map", code & 0x0F
        if code < 0xA0:
            return "list", code & 0x0F
        if code < 0xC0:
            return "text", code & 0x1F
        if 0xD4 <= code <= 0xD8:
            return "extension", 1 << (code - 0xD4)
        if code not in SIZED:
            raise CannotCompare(f"msgpack code {code:#x}")
        kind, form = SIZED[code]
        return kind, int(self._number(form))

    def _take(self, size: int) -> memoryview:
        if size > len(self.view) - self.at:
            raise CannotCompare("msgpack that is cut off, or claims more than the file has")
        self.at += size
        return self.view[self.at - size : self.at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _container(self, kind: str, size: int, depth: int) -> Any:
        if size > self.left:
            raise CannotCompare("msgpack with more values than are read")
        if kind == "list":
            return numbers([self.value(depth + 1) for _ in range(size)])
        found: dict[str, Any] = {}
        for _ in range(size):
            key = self.value(depth + 1)
            name = key if isinstance(key, str) else repr(key)
            if name in found:
                raise CannotCompare(f"the msgpack key {name[:80]!r} twice")
            found[name] = self.value(depth + 1)
        return _joined(found) if found.get(CHUNKED) is True else dict(sorted(found.items()))

    def _extension(self, code: int, data: memoryview) -> Any:
        if code in {ARRAY, SCALAR}:
            inner = Reader(data, 4, 200)
            shape, name, raw = inner.parts()
            return _array(shape, name, raw)
        return {"extension": code, "data": Tensor("uint8", (len(data),), data)}

    def parts(self) -> tuple[tuple[int, ...], str, memoryview]:
        """Return shape, type name and bytes of a flax array."""
        if self._take(1)[0] != 0x93:
            raise CannotCompare("a flax array that is no triple")
        code = self._take(1)[0]
        kind, size = self._sized(code)
        if kind != "list" or size > 64:
            raise CannotCompare("a flax array without a shape")
        shape = tuple(self.value(1) for _ in range(size))
        name, data = self.value(0), self.value(0)
        if not all(type(d) is int for d in shape) or not isinstance(data, Tensor):
            raise CannotCompare("a flax array of another layout")
        return shape, str(name), data.data


def _array(shape: tuple[int, ...], name: str, data: memoryview) -> Tensor:
    if name == "bfloat16":
        return checked(name, shape, data, 2)
    try:
        dtype = np.dtype(name)
    except TypeError:
        return Tensor(f"{name} {list(shape)}", (len(data),), data)
    if dtype.hasobject:
        raise CannotCompare("a flax array of Python objects")
    return checked(str(dtype), shape, data, dtype.itemsize)


def _joined(parts: dict[str, Any]) -> Any:
    """Return an array that flax wrote in chunks, as one."""
    shape, chunks = parts.get("shape"), parts.get("chunks")
    if not isinstance(shape, dict) or not isinstance(chunks, dict):
        raise CannotCompare("a chunked flax array of another layout")
    dims = tuple(shape[str(n)] for n in range(len(shape)))
    held = [chunks[str(n)] for n in range(len(chunks))]
    if not held or not all(isinstance(c, Tensor) and c.dtype == held[0].dtype for c in held):
        raise CannotCompare("a chunked flax array of mixed types")
    data = b"".join(bytes(c.data) for c in held)
    count = sum(c.size for c in held)
    return checked(held[0].dtype, dims, data, len(data) // count if count else 1)
