"""TensorFlow checkpoints: the tensor bundle's index and shards, read without TensorFlow.

The graph of a SavedModel (`saved_model.pb`) is not read: its bytes are equal or it is
uncomparable, since its function names carry counters of the process that traced it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.protobuf import Budget, Message, varint
from harness.comparators.tensor import Tensor, checked

# The magic at the end of every table that LevelDB's format describes.
MAGIC = 0xDB4775248B80FB57
PLACES = "offsets and checksums follow from the tensors, which are compared in the shards"
SHARD = re.compile(r"(.+)\.data-(\d{5})-of-(\d{5})$")
# DataType of TensorFlow -> (name, bytes)
TYPES = {
    1: ("float32", 4), 2: ("float64", 8), 3: ("int32", 4), 4: ("uint8", 1), 5: ("int16", 2),
    6: ("int8", 1), 8: ("complex64", 8), 9: ("int64", 8), 10: ("bool", 1), 14: ("bfloat16", 2),
    17: ("uint16", 2), 18: ("complex128", 16), 19: ("float16", 2), 22: ("uint32", 4),
    23: ("uint64", 8),
}  # fmt: skip


class BundleIndexComparator(DocumentComparator):
    """The `.index` of a checkpoint: which tensors, of which type and shape."""

    id = "tf-index"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named as an index and ends as a table does."""
        return sniff.path.suffix == ".index" and _ends(sniff.path, sniff.size)

    def parse(self, path: Path, context: Context) -> Document:
        """Read one index."""
        entries, header = index(path, context)
        content = {
            name: {"type": e.number(1), "shape": _shape(e), "shard": e.number(3)}
            for name, e in entries.items()
        }
        places = [(e.number(4), e.number(5), e.rest(1, 2, 3, 4, 5)) for e in entries.values()]
        return Document(
            {"header": header, "tensors": content}, {"offsets and checksums": (places, PLACES)}
        )


class BundleDataComparator(DocumentComparator):
    """One shard of a checkpoint, its tensors found through the index beside it."""

    id = "tf-checkpoint"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named as a shard and its index lies beside it."""
        found = SHARD.match(sniff.path.name)
        return found is not None and sniff.path.with_name(f"{found[1]}.index").is_file()

    def parse(self, path: Path, context: Context) -> Document:
        """Read every tensor that the index puts into this shard."""
        found = SHARD.match(path.name)
        if not found:
            raise CannotCompare(f"{path.name}: not named as a shard")
        entries, _ = index(path.with_name(f"{found[1]}.index"), context)
        view = mapped(path, context.bounds.expanded)
        content: dict[str, Any] = {}
        covered = 0
        for name, entry in entries.items():
            if entry.number(3) != int(found[2]):
                continue
            start, size = entry.number(4), entry.number(5)
            if not 0 <= start <= start + size <= len(view):
                raise CannotCompare(f"the tensor {name[:80]!r} lies beyond the end of the shard")
            content[name] = _tensor(entry, view[start : start + size])
            covered += size
        return Document({**content, "(bytes in no tensor)": len(view) - covered})


def _ends(path: Path, size: int) -> bool:
    if size < 48:
        return False
    with path.open("rb") as file:
        file.seek(size - 8)
        return int.from_bytes(file.read(8), "little") == MAGIC


def index(path: Path, context: Context) -> tuple[dict[str, Message], str]:
    """Return the entries of a bundle index by tensor name, and its header."""
    view = mapped(path, context.bounds.header)
    if len(view) < 48 or struct.unpack_from("<Q", view, len(view) - 8)[0] != MAGIC:
        raise CannotCompare(f"{path.name}: not a checkpoint index")
    footer = view[len(view) - 48 :]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    start, at = varint(footer, at)
    size, _ = varint(footer, at)
    budget = Budget(depth=context.bounds.depth)
    found: dict[str, Message] = {}
    header = ""
    for _, handle in _block(view, start, size):
        place, after = varint(handle, 0)
        length, _ = varint(handle, after)
        for key, value in _block(view, place, length):
            if len(found) > context.bounds.entries:
                raise CannotCompare(f"{path.name}: more tensors than are read")
            if key:
                found[key.decode("utf-8", "backslashreplace")] = Message(value, budget)
            else:
                header = bytes(value).hex()
    return found, header


def _block(view: memoryview, start: int, size: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yield key and value of each record of a block; compressed blocks are refused."""
    if start + size + 5 > len(view) or size < 4:
        raise CannotCompare("a checkpoint index with a block out of the file")
    if view[start + size]:
        raise CannotCompare("a checkpoint index that is compressed")
    block = view[start : start + size]
    restarts = struct.unpack_from("<I", block, size - 4)[0]
    end = size - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        added, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + added + length > end:
            raise CannotCompare("a checkpoint index with a record out of its block")
        key = key[:shared] + bytes(block[at : at + added])
        at += added
        yield key, block[at : at + length]
        at += length


def _shape(entry: Message) -> list[int]:
    shape = entry.message(2)
    return [d.number(1) for d in shape.messages(2)] if shape else []


def _tensor(entry: Message, data: memoryview) -> Tensor:
    kind, shape = entry.number(1), tuple(_shape(entry))
    if kind not in TYPES:
        return Tensor(f"TensorFlow type {kind} {list(shape)}", (len(data),), data)
    name, width = TYPES[kind]
    return checked(name, shape, data, width)
