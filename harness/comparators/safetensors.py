"""safetensors: tensors by name; the order of the header and of its metadata is set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.tensor import Tensor, checked

# Source: the safetensors README, "Format"; names are numpy's, or those that tensor.py knows.
DTYPES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U64": ("uint64", 8), "U32": ("uint32", 4), "U16": ("uint16", 2), "U8": ("uint8", 1),
    "BOOL": ("bool", 1), "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1),
    "C64": ("complex64", 8),
}  # fmt: skip


class SafetensorsComparator(DocumentComparator):
    """Tensors and string metadata."""

    id = "safetensors"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether a JSON object follows a plausible header length."""
        size = int.from_bytes(sniff.head[:8], "little")
        return 2 <= size <= sniff.size - 8 and sniff.head[8:9] == b"{"

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file; its tensors stay where they lie."""
        data = mapped(path, context.bounds.expanded)
        size = int.from_bytes(data[:8], "little")
        if size > min(context.bounds.header, len(data) - 8):
            raise CannotCompare(f"{path.name}: a header of {size} bytes")
        header = json.loads(bytes(data[8 : 8 + size]), object_pairs_hook=_unique)
        metadata = header.pop("__metadata__", {})
        body = data[8 + size :]
        spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
        _cover(spans, len(body), path.name)
        tensors = {name: _tensor(entry, body) for name, entry in sorted(header.items())}
        content: dict[str, Any] = dict(tensors)
        if metadata:
            content["__metadata__"] = metadata
        order = list(header), list(metadata)
        why = "the order of names in the header carries no meaning"
        return Document(content, {"header order": (order, why)})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({k for k, _ in pairs}) != len(pairs):
        raise CannotCompare("a name stands twice in the header")
    return dict(pairs)


def _cover(spans: list[tuple[int, ...]], size: int, name: str) -> None:
    """Tensors must tile the body: no overlap, no gap, nothing beyond its end."""
    at = 0
    for span in spans:
        if len(span) != 2 or span[0] != at or span[1] < at:
            raise CannotCompare(f"{name}: tensors overlap or leave a gap at {at}")
        at = span[1]
    if at != size:
        raise CannotCompare(f"{name}: tensors end at {at} of {size} bytes")


def _tensor(entry: Any, body: memoryview) -> Tensor:
    if entry["dtype"] not in DTYPES:
        raise CannotCompare(f"unknown dtype {entry['dtype']!r}")
    dtype, itemsize = DTYPES[entry["dtype"]]
    start, end = entry["data_offsets"]
    return checked(dtype, tuple(map(int, entry["shape"])), body[start:end], itemsize)
