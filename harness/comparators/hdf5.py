"""HDF5 and Keras files: datasets as tensors by their path, attributes beside them.

h5py parses hostile bytes in this process: what a dataset and its chunks claim is bounded before
they are read, texts that many elements name are read a few at a time, and links out of the file
are refused. What remains is the same repetition inside one attribute, and a hole in libhdf5
itself: only a sandbox around this process takes those away.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import Bounds, CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.members import checked_members, read_member
from harness.comparators.tensor import Tensor

MAGIC = b"\x89HDF\r\n\x1a\n"
DEPTH = 200
TEXTS = 1 << 28  # bytes of texts that one read may give, if each is as long as the file
RATIO = 32  # how many times its size a compressed file may claim to hold
IDS = "memory addresses of the process that saved; references are compared by order"
SHARED = "shared_object_id"
WRITER = "versions and dates of the libraries that wrote the file"
FREE_ATTRIBUTES = {"keras_version", "tensorflow_version", "date_saved"}


class Hdf5Comparator(DocumentComparator):
    """HDF5 files of any writer."""

    id = "hdf5"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the file begins with HDF5's signature."""
        return sniff.head.startswith(MAGIC)

    def parse(self, path: Path, context: Context) -> Document:
        """Read every group, dataset and attribute."""
        mapped(path, context.bounds.expanded)  # a plain file, within the bounds
        free: dict[str, Any] = {}
        content = groups(path, path.stat().st_size, context.bounds, free)
        return _numbered(content, free)


class KerasComparator(DocumentComparator):
    """Keras 3 archives: config, and weights in an HDF5 member."""

    id = "keras"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is a zip with Keras's metadata."""
        if sniff.is_dir or not sniff.head.startswith(b"PK"):
            return False
        try:
            with zipfile.ZipFile(sniff.path) as archive:
                return {"metadata.json", "config.json"} <= set(archive.namelist())
        except Exception:  # not a whole zip: another format's file
            return False

    def parse(self, path: Path, context: Context) -> Document:
        """Read the members, each as what it is."""
        content: dict[str, Any] = {}
        free: dict[str, Any] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for member in checked_members(archive, path, context.bounds):
                    data = read_member(archive, member, context.bounds)
                    content[member.filename] = _member(member.filename, data, context, free)
        except zipfile.BadZipFile as error:
            raise CannotCompare(f"{path.name}: {error}") from error
        for key in ("metadata.json", "config.json"):
            held = content.get(key)
            if isinstance(held, dict):
                free |= {k: held.pop(k) for k in FREE_ATTRIBUTES if k in held}
        return _numbered(content, free)


def _numbered(content: dict[str, Any], free: dict[str, Any]) -> Document:
    """Return the document with Keras's object ids as numbers in order of appearance."""
    ids: dict[Any, int] = {}

    def walk(value: Any, depth: int) -> Any:
        if depth > DEPTH:
            raise CannotCompare(f"a config nested deeper than {DEPTH}")
        if isinstance(value, list):
            return [walk(v, depth + 1) for v in value]
        if not isinstance(value, dict):
            return value
        found = {k: walk(v, depth + 1) for k, v in value.items() if k != SHARED}
        if isinstance(value.get(SHARED), int):
            found[SHARED] = ids.setdefault(value[SHARED], len(ids))
        return found

    numbered = walk(content, 0)
    return Document(numbered, {"writer": (repr(free), WRITER), "object ids": (list(ids), IDS)})


def _member(name: str, data: bytes, context: Context, free: dict[str, Any]) -> Any:
    if name.endswith(".json"):
        return json.loads(data)
    if data.startswith(MAGIC):
        return groups(io.BytesIO(data), len(data), context.bounds, free)
    return Tensor("uint8", (len(data),), data)


def _json(text: str) -> Any:
    """Return the JSON in an attribute (Keras keeps its config there), other text as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def groups(source: Any, size: int, bounds: Bounds, free: dict[str, Any]) -> dict[str, Any]:
    """Return everything in an HDF5 file; links out of it are refused, sizes bounded.

    Raises: CannotCompare without h5py, or for a file that h5py refuses.
    """
    try:
        import h5py
    except ImportError as error:
        raise CannotCompare("HDF5 needs h5py", "pip install 'repro-harness[hdf5]'") from error
    try:
        with h5py.File(source, "r") as file:
            return _Reader(h5py, size, bounds, free).group(file, 0)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise CannotCompare(f"malformed HDF5: {error}") from error


class _Reader:
    def __init__(self, h5py: Any, size: int, bounds: Bounds, free: dict[str, Any]) -> None:
        self.h5py, self.bounds, self.free = h5py, bounds, free
        self.left, self.size = bounds.entries, size
        self.bytes = min(bounds.expanded, max(size * RATIO, 1 << 26))

    def group(self, group: Any, depth: int) -> dict[str, Any]:
        if depth > self.bounds.depth:
            raise CannotCompare("HDF5 groups nested deeper than is read")
        found: dict[str, Any] = self._attributes(group)
        for name in sorted(group.keys()):
            self.left -= 1
            if self.left < 0:
                raise CannotCompare("HDF5 with more entries than are read")
            link = group.get(name, getlink=True)
            if isinstance(link, self.h5py.ExternalLink):
                raise CannotCompare(f"an HDF5 link to another file: {name!r}")
            if name in found:
                raise CannotCompare(f"an HDF5 entry named as an attribute: {name!r}")
            item = group[name]
            nested = isinstance(item, self.h5py.Group)
            found[name] = self.group(item, depth + 1) if nested else self._dataset(item)
        return found

    def _dataset(self, item: Any) -> Any:
        if not isinstance(item, self.h5py.Dataset):
            return repr(item)
        if item.external or item.is_virtual:
            raise CannotCompare("an HDF5 dataset whose values lie in another file")
        claimed = item.size or 0
        self.bytes -= claimed * item.dtype.itemsize
        if self.bytes < 0:
            raise CannotCompare("HDF5 datasets larger than the bounds")
        chunk = math.prod(item.chunks or ()) * item.dtype.itemsize
        if chunk > self.bounds.member:
            raise CannotCompare(f"an HDF5 dataset in chunks of {chunk} bytes")
        attributes = self._attributes(item)
        value = self._texts(item) if item.dtype.hasobject else self._value(item[()])
        return {"values": value, **attributes} if attributes else value

    def _texts(self, item: Any) -> Any:
        """Return a dataset of texts: very many elements may name one long text."""
        if not item.shape:
            return self._value(item[()])
        step = max(1, TEXTS // max(self.size, 1) // max(math.prod(item.shape[1:]), 1))
        found: list[Any] = []
        for at in range(0, item.shape[0], step):
            part = [self._value(v) for v in np.asarray(item[at : at + step]).reshape(-1).tolist()]
            self.bytes -= sum(len(v.data if isinstance(v, Tensor) else repr(v)) for v in part)
            if self.bytes < 0:
                raise CannotCompare("HDF5 texts larger than the bounds")
            found += part
        return found

    def _attributes(self, item: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in sorted(item.attrs.keys()):
            if name in FREE_ATTRIBUTES:
                self.free[name] = self._value(item.attrs[name])
            else:
                found[f"@{name}"] = self._value(item.attrs[name])
        return found

    def _value(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        if isinstance(value, str) and value[:1] == "{":
            return _json(value)
        if isinstance(value, str | bool | int | float):
            return value
        if isinstance(value, self.h5py.Empty):
            return f"empty {value.dtype}"
        array = np.asarray(value)
        if array.dtype.hasobject:
            return [self._value(v) for v in array.reshape(-1).tolist()]
        if array.dtype.names:
            return {n: Tensor.of(array[n]) for n in array.dtype.names}
        return Tensor.of(array)
