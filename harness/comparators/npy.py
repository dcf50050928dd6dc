"""NumPy .npy and .npz: arrays by name; headers are read without evaluating anything else."""

from __future__ import annotations

import ast
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.members import checked_members, member_view
from harness.comparators.pickle import document
from harness.comparators.tensor import Tensor, checked

MAGIC = b"\x93NUMPY"
FORTRAN = "memory order is not content"


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    end: int


def _header(data: memoryview, what: str) -> _Header:
    """Return what the header of one .npy says. Source: NumPy NEP 1."""
    if bytes(data[:6]) != MAGIC or len(data) < 12:
        raise CannotCompare(f"{what}: not an .npy file")
    wide = data[6] > 1
    size = int.from_bytes(data[8 : 12 if wide else 10], "little")
    end = (12 if wide else 10) + size
    if size > 1 << 16 or end > len(data):
        raise CannotCompare(f"{what}: a header of {size} bytes")
    header = ast.literal_eval(bytes(data[end - size : end]).decode("latin1").strip())
    if set(header) != {"descr", "fortran_order", "shape"} or not isinstance(header["shape"], tuple):
        raise CannotCompare(f"{what}: a malformed header")
    shape = tuple(int(n) for n in header["shape"])
    return _Header(np.dtype(header["descr"]), shape, bool(header["fortran_order"]), end)


def array(data: memoryview, what: str) -> tuple[Tensor, bool]:
    """Return the array of one .npy, and whether it lay in column order."""
    header = _header(data, what)
    if header.dtype.hasobject:
        raise CannotCompare(f"{what}: an array of Python objects is a pickle")
    return _tensor(data, header), header.fortran


def _tensor(data: memoryview, header: _Header) -> Tensor:
    checked(str(header.dtype), header.shape, data[header.end :], header.dtype.itemsize)
    flat = np.frombuffer(data[header.end :], header.dtype)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    return Tensor.of(flat.reshape(header.shape, order=order))


def part(data: memoryview, what: str, context: Context) -> Document:
    """Return the content of one .npy; Python objects in it are read on paper, as any pickle."""
    header = _header(data, what)
    if header.dtype.hasobject:
        found = document(io.BytesIO(data[header.end :]), what, context)
        return replace(found, content={**found.content, "(shape)": list(header.shape)})
    return Document(_tensor(data, header), {"memory order": (header.fortran, FORTRAN)})


class NpyComparator(DocumentComparator):
    """One array."""

    id = "npy"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the file begins as .npy does."""
        return sniff.head.startswith(MAGIC)

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        found = part(mapped(path, context.bounds.expanded), path.name, context)
        return replace(found, content={"array": found.content})


class NpzComparator(DocumentComparator):
    """A zip of arrays."""

    id = "npz"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is a zip whose first member is an .npy."""
        head = sniff.head
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return head.startswith(b"PK\x03\x04") and name.endswith(b".npy")

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file, member by member, within the bounds."""
        parts: dict[str, Document] = {}
        view = mapped(path, context.bounds.expanded)
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise CannotCompare(f"{path.name}: {error}") from None
        with archive:
            members = checked_members(archive, path, context.bounds)
            for member in members:
                data = member_view(archive, member, view, context.bounds)
                if not member.filename.endswith(".npy"):
                    raise CannotCompare(f"{path.name}: {member.filename!r} is no array")
                name = member.filename.removesuffix(".npy")
                parts[name] = part(data, member.filename, context)
            order = [m.filename for m in archive.infolist()]
        return _together(parts, members, order)


def _together(
    parts: dict[str, Document], members: list[zipfile.ZipInfo], order: list[str]
) -> Document:
    """Return the document of all members; what each sets aside is one entry."""
    seen: dict[str, list[Any]] = {"member order": list(order)}
    why = {"member order": "order of members is not content"}
    for name, found in sorted(parts.items()):
        for key, (value, reason) in found.aside.items():
            seen.setdefault(key, []).append((name, value))
            why[key] = reason
    why["zip container"] = "times, compression and zip versions carry no values"
    seen["zip container"] = [
        (m.date_time, m.compress_type, m.create_version, m.extra) for m in members
    ]
    content = {name: parts[name].content for name in sorted(parts)}
    notes = [found.note for found in parts.values() if found.note]
    return Document(content, {k: (v, why[k]) for k, v in seen.items()}, "; ".join(notes))
