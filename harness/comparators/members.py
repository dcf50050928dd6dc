"""The members of a zip, checked before any of them is read."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from harness.comparators.base import Bounds, CannotCompare


def checked_members(
    archive: zipfile.ZipFile, path: Path, bounds: Bounds, size: int | None = None
) -> list[zipfile.ZipInfo]:
    """Return the file members of a zip, sorted by name; `size` is the zip's, else the file's.

    Raises: CannotCompare for what no honest writer makes: members that escape, stand twice,
    overlap, are encrypted, are links, are too many, or expand beyond the bounds.
    """
    members = [m for m in archive.infolist() if not m.is_dir()]
    if len(members) > bounds.entries:
        raise CannotCompare(f"{path.name}: {len(members)} members")
    names = [m.filename for m in members]
    if len(set(names)) != len(names):
        raise CannotCompare(f"{path.name}: a member stands twice")
    for m in members:
        pure = PurePosixPath(m.filename)
        if pure.is_absolute() or ".." in pure.parts or "\\" in m.filename or "\0" in m.filename:
            raise CannotCompare(f"{path.name}: a member named {m.filename[:80]!r}")
        if m.flag_bits & 1 or (m.external_attr >> 16) & 0o170000 == 0o120000:
            raise CannotCompare(f"{path.name}: an encrypted member or a link")
    if sum(m.file_size for m in members) > bounds.expanded:
        raise CannotCompare(f"{path.name}: expands beyond {bounds.expanded} bytes")
    _no_overlap(members, path, path.stat().st_size if size is None else size)
    return sorted(members, key=lambda m: m.filename)


def _no_overlap(members: list[zipfile.ZipInfo], path: Path, size: int) -> None:
    end = 0
    for m in sorted(members, key=lambda m: m.header_offset):
        if m.header_offset < end:
            raise CannotCompare(f"{path.name}: members overlap")
        end = m.header_offset + 30 + m.compress_size
    if end > size:
        raise CannotCompare(f"{path.name}: a member beyond the end")


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, bounds: Bounds) -> bytes:
    """Return the bytes of one member, never more than it declares.

    Raises: CannotCompare for a member that is larger than the bounds, or damaged.
    """
    if member.file_size > bounds.member:
        raise CannotCompare(f"{member.filename[:80]}: {member.file_size} bytes in one member")
    try:
        with archive.open(member) as file:
            data = file.read(member.file_size + 1)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError) as error:
        raise CannotCompare(f"{member.filename[:80]}: {error}") from None
    if len(data) != member.file_size:
        raise CannotCompare(f"{member.filename[:80]}: not the size that it declares")
    return data


def member_view(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, view: memoryview, bounds: Bounds
) -> memoryview:
    """Return the bytes of one member, where they lie in the zip's own bytes if it is stored.

    Raises: CannotCompare as `read_member` does.
    """
    if member.compress_type != zipfile.ZIP_STORED:
        return memoryview(read_member(archive, member, bounds))
    head = bytes(view[member.header_offset : member.header_offset + 30])
    if len(head) < 30 or head[:4] != b"PK\x03\x04" or member.file_size != member.compress_size:
        raise CannotCompare(f"{member.filename[:80]}: a damaged member")
    start = member.header_offset + 30
    start += int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    if start + member.file_size > len(view):
        raise CannotCompare(f"{member.filename[:80]}: a member beyond the end")
    return view[start : start + member.file_size]
