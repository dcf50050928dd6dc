"""GGUF models: metadata by key, tensors by name, quantised blocks bit by bit."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.tensor import Tensor

MAGIC = b"GGUF"
ORDER = "tensors are found by name; where they lie in the file is free"
# value type -> struct format; 8 is text, 9 a list
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
           10: "<Q", 11: "<q", 12: "<d"}  # fmt: skip
# tensor type -> numpy name; all others are blocks of quantised values
PLAIN = {0: ("float32", 4), 1: ("float16", 2), 24: ("int8", 1), 25: ("int16", 2),
         26: ("int32", 4), 27: ("int64", 8), 28: ("float64", 8), 30: ("bfloat16", 2)}  # fmt: skip


class GgufComparator(DocumentComparator):
    """GGUF version 2 and 3."""

    id = "gguf"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the file begins with GGUF's magic."""
        return sniff.head.startswith(MAGIC)

    def parse(self, path: Path, context: Context) -> Document:
        """Read header, metadata and tensors."""
        reader = _Reader(mapped(path, context.bounds.expanded), context)
        version, tensors, keys = reader.unpack("<4sIQQ")[1:]
        if version not in {2, 3} or max(tensors, keys) > context.bounds.entries:
            raise CannotCompare(f"GGUF version {version} with {tensors} tensors, {keys} keys")
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            name = reader.text()
            if name in metadata:
                raise CannotCompare(f"the GGUF key {name[:80]!r} twice")
            metadata[name] = reader.value(reader.unpack("<I")[0], 0)
        found, order = reader.tensors(tensors, int(metadata.get("general.alignment", 32)))
        content = {"metadata": metadata, **dict(sorted(found.items()))}
        return Document(content, {"tensor order": (order, ORDER)})


class _Reader:
    def __init__(self, view: memoryview, context: Context) -> None:
        self.view, self.at = view, 0
        self.context = context
        self.left = context.bounds.entries * 50

    def unpack(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self.view, self.at)
        self.at += struct.calcsize(form)
        return found

    def take(self, size: int) -> memoryview:
        if size > len(self.view) - self.at:
            raise CannotCompare("GGUF that claims more than the file has")
        self.at += size
        return self.view[self.at - size : self.at]

    def text(self) -> str:
        return bytes(self.take(self.unpack("<Q")[0])).decode("utf-8", "backslashreplace")

    def value(self, kind: int, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > self.context.bounds.depth:
            raise CannotCompare("GGUF metadata with more values than are read")
        if kind in SCALARS:
            return self.unpack(SCALARS[kind])[0]
        if kind == 8:
            return self.text()
        if kind != 9:
            raise CannotCompare(f"a GGUF value of type {kind}")
        inner, count = self.unpack("<IQ")
        if inner in SCALARS:
            dtype = np.dtype(SCALARS[inner])
            return Tensor.of(np.frombuffer(self.take(count * dtype.itemsize), dtype))
        if count > self.left:
            raise CannotCompare("a GGUF list longer than is read")
        return [self.value(inner, depth + 1) for _ in range(count)]

    def tensors(self, count: int, alignment: int) -> tuple[dict[str, Any], list[str]]:
        infos = [self._info() for _ in range(count)]
        if not 0 < alignment <= 1 << 20:
            raise CannotCompare(f"a GGUF alignment of {alignment}")
        start = -(-self.at // alignment) * alignment
        ends = sorted({offset for *_, offset in infos} | {len(self.view) - start})
        found: dict[str, Any] = {}
        for name, shape, kind, offset in infos:
            if name in found or name == "metadata":
                raise CannotCompare(f"the GGUF tensor {name[:80]!r} twice")
            end = next((e for e in ends if e > offset), offset)
            if start + end > len(self.view) or offset < 0:
                raise CannotCompare(f"the GGUF tensor {name[:80]!r} lies beyond the end")
            found[name] = _tensor(shape, kind, self.view[start + offset : start + end])
        return found, [name for name, *_ in infos]

    def _info(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.text()
        dims = self.unpack("<I")[0]
        if dims > 8:
            raise CannotCompare(f"a GGUF tensor of {dims} dimensions")
        shape = self.unpack(f"<{dims}Q")[::-1]
        kind, offset = self.unpack("<IQ")
        return name, shape, kind, offset


def _tensor(shape: tuple[int, ...], kind: int, data: memoryview) -> Tensor:
    if kind in PLAIN:
        name, width = PLAIN[kind]
        size = math.prod(shape) * width
        if size > len(data):
            raise CannotCompare("a GGUF tensor with fewer values than its shape")
        return Tensor(name, shape, data[:size])
    return Tensor(f"ggml type {kind} {list(shape)}", (len(data),), data)
