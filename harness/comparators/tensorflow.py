"""TensorFlow checkpoints: the tensor bundle's index and shards, read without TensorFlow."""

from __future__ import annotations

import glob
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.protobuf import Budget, Message, varint
from harness.comparators.tensor import Tensor, checked
from harness.comparators.tf_objects import (
    SET,
    SET_ORDER,
    canonical,
    model_names,
    renamed,
    trackables,
)
from harness.comparators.tf_wire import TYPES

# The magic at the end of every table that LevelDB's format describes.
MAGIC = 0xDB4775248B80FB57
PLACES = "offsets and checksums follow from the tensors, which are compared in the shards"
SHARD = re.compile(r"(.+)\.data-(\d{5})-of-(\d{5})$")
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


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
        names, order = _names(path.with_suffix(""), entries, context)
        content = {
            renamed(name, names): {"type": e.number(1), "shape": _shape(e), "shard": e.number(3)}
            for name, e in entries.items()
        }
        places = [(e.number(4), e.number(5), e.rest(1, 2, 3, 4, 5)) for e in entries.values()]
        aside = {"offsets and checksums": (places, PLACES), **order}
        return Document({"header": header, "tensors": content}, aside)


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
        names, order = _names(path.with_name(found[1]), entries, context)
        view = mapped(path, context.bounds.expanded)
        content: dict[str, Any] = {}
        covered = 0
        for name, entry in entries.items():
            if entry.number(3) != int(found[2]):
                continue
            start, size = entry.number(4), entry.number(5)
            if not 0 <= start <= start + size <= len(view):
                raise CannotCompare(f"the tensor {name[:80]!r} lies beyond the end of the shard")
            data = view[start : start + size]
            content[renamed(name, names)] = (
                _objects(data) if name == OBJECTS else _tensor(entry, data)
            )
            covered += size
        return Document({**content, "(bytes in no tensor)": len(view) - covered}, order)


def _names(
    prefix: Path, entries: dict[str, Message], context: Context
) -> tuple[dict[str, str], dict[str, tuple[Any, str]]]:
    """Return names for Keras's set of variables by number, and that order as what is set aside.

    The SavedModel above must use the same names: who swaps two of them swaps two variables.
    """
    names = checkpoint_names(prefix, context, entries)
    model = prefix.parent.parent / "saved_model.pb"
    if not names or not model.is_file():
        return {}, {}
    budget = Budget(depth=context.bounds.depth * 4)
    if model_names(mapped(model, context.bounds.member), budget) != names:
        return {}, {}
    return names, {f"order of {SET}": (list(names.items()), SET_ORDER)}


def checkpoint_names(
    prefix: Path, context: Context, entries: dict[str, Message] | None = None
) -> dict[str, str]:
    """Return the names for Keras's set of variables that a checkpoint's object graph holds."""
    if entries is None:
        place = prefix.with_name(f"{prefix.name}.index")
        entries = index(place, context)[0] if place.is_file() else {}
    entry = entries.get(OBJECTS)
    if entry is None or not any(name.startswith(f"{SET}/") for name in entries):
        return {}
    pattern = f"{glob.escape(prefix.name)}.data-{entry.number(3):05d}-of-*"
    shards = sorted(prefix.parent.glob(pattern))
    if len(shards) != 1:
        return {}
    view = mapped(shards[0], context.bounds.expanded)
    start, size = entry.number(4), entry.number(5)
    if not 0 <= start <= start + size <= len(view):
        raise CannotCompare("the object graph lies beyond the end of its shard")
    return trackables(_text(view[start : start + size]))[1]


def _text(data: memoryview) -> memoryview:
    """Return the one string of a string tensor: its length, a checksum, its bytes."""
    size, at = varint(data, 0)
    if at + 4 + size != len(data):
        raise CannotCompare("an object graph of another length than it claims")
    return data[at + 4 :]


def _objects(data: memoryview) -> Any:
    return canonical(_text(data))


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
    name, width = TYPES[kind][:2]
    return checked(name, shape, data, width)
