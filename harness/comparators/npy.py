"""NumPy .npy and .npz: arrays by name; headers are read without evaluating anything else."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.members import checked_members, member_view
from harness.comparators.tensor import Tensor, checked

MAGIC = b"\x93NUMPY"
FORTRAN = "memory order is not content"


def array(data: memoryview, what: str) -> tuple[Tensor, bool]:
    """Return the array of one .npy, and whether it lay in column order. Source: NumPy NEP 1."""
    if bytes(data[:6]) != MAGIC or len(data) < 12:
        raise CannotCompare(f"{what}: not an .npy file")
    wide = data[6] > 1
    size = int.from_bytes(data[8 : 12 if wide else 10], "little")
    start = (12 if wide else 10) + size
    if size > 1 << 16 or start > len(data):
        raise CannotCompare(f"{what}: a header of {size} bytes")
    header = ast.literal_eval(bytes(data[start - size : start]).decode("latin1").strip())
    if set(header) != {"descr", "fortran_order", "shape"} or not isinstance(header["shape"], tuple):
        raise CannotCompare(f"{what}: a malformed header")
    dtype = np.dtype(header["descr"])
    if dtype.hasobject:
        raise CannotCompare(f"{what}: an array of Python objects is a pickle")
    shape = tuple(int(n) for n in header["shape"])
    checked(str(dtype), shape, data[start:], dtype.itemsize)
    flat = np.frombuffer(data[start:], dtype)
    if header["fortran_order"]:
        return Tensor.of(flat.reshape(shape, order="F")), True
    return Tensor.of(flat.reshape(shape)), False


class NpyComparator(DocumentComparator):
    """One array."""

    id = "npy"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the file begins as .npy does."""
        return sniff.head.startswith(MAGIC)

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        tensor, fortran = array(mapped(path, context.bounds.expanded), path.name)
        return Document({"array": tensor}, {"memory order": (fortran, FORTRAN)})


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
        content: dict[str, Any] = {}
        order: list[Any] = []
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
                tensor, fortran = array(data, member.filename)
                content[member.filename.removesuffix(".npy")] = tensor
                order.append(fortran)
            order += [m.filename for m in archive.infolist()]
        aside = {
            "member order": (order, "order of members and of memory is not content"),
            "zip container": (
                [(m.date_time, m.compress_type, m.create_version, m.extra) for m in members],
                "times, compression and zip versions carry no values",
            ),
        }
        return Document(dict(sorted(content.items())), aside)
