"""Archives by member: unpacked within strict bounds, then compared as the folders they hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.members import checked_members
from harness.model import Difference, SetAside, Status

BLOCK = 1 << 20
SLACK = 256 << 20
RATIO = 100  # what honest data compresses to; a bomb compresses a thousandfold
WHY = "times, owners, order and compression of an archive are not its content"
LONGEST = 1 << 20
MEMORY = 128 << 20  # what xz may use: its largest preset needs 65 MiB, a header may ask for 4 GiB
ZEROS = bytes(BLOCK)
EXTENDED = {
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}  # fmt: skip
BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError,
    NotImplementedError, ValueError, RuntimeError,
)  # fmt: skip


class _Xz(io.RawIOBase):
    """The content of an xz file in bounded memory, which `lzma.open` does not keep to."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decoder = self._fresh()

    @staticmethod
    def _fresh() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Expand the next bytes. Raises: LZMAError, EOFError for a file that ends early."""
        while (source := self._source()) is not None:
            if found := self._decoder.decompress(source, len(buffer)):
                buffer[: len(found)] = found
                return len(found)
        return 0

    def _source(self) -> bytes | None:
        """Return what the decoder needs next; None at the end, which only zeros may follow."""
        if not self._decoder.eof:
            source = self._file.read(1 << 16) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not source:
                raise EOFError("the compressed data ends early")
            return source
        rest = self._decoder.unused_data.lstrip(b"\0")
        while not rest and (block := self._file.read(1 << 16)):
            rest = block.lstrip(b"\0")
        if rest:
            self._decoder = self._fresh()
        return rest or None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


OPENERS: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lambda path, mode: io.BufferedReader(_Xz(path)),
}


class Archive:
    """Base of the archives: each says what its members are."""

    id = ""
    version = 1

    def members(self, path: Path, context: Context) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield name and stream of every member. Raises: CannotCompare."""
        raise NotImplementedError

    def compare(self, recorded: Path, reproduced: Path, context: Context) -> Difference:
        """Compare two archives member by member, each by its own format."""
        assert context.compare is not None
        with tempfile.TemporaryDirectory(dir=context.scratch, prefix="harness-") as folder:
            sides = Path(folder, "recorded"), Path(folder, "reproduced")
            for path, side in zip((recorded, reproduced), sides, strict=True):
                self._unpack(path, side, context)
            found = context.compare(*sides, recorded.name)
        aside = (*found.set_aside, SetAside("container", WHY))
        same = found.status == Status.IDENTICAL
        return replace(found, status=Status.EXACT if same else found.status, set_aside=aside)

    def _unpack(self, path: Path, side: Path, context: Context) -> None:
        side.mkdir()
        left = min(context.bounds.expanded, path.stat().st_size * RATIO + SLACK)
        try:
            for count, (name, stream) in enumerate(self.members(path, context)):
                if count >= context.bounds.entries:
                    raise CannotCompare(f"{path.name}: more than {count} members")
                target = side / _safe(name, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(stream, target, left, path)
        except BROKEN as error:
            raise CannotCompare(f"{path.name}: malformed {self.id}: {str(error)[:200]}") from None


def _safe(name: str, path: Path) -> PurePosixPath:
    pure = PurePosixPath(name)
    hostile = pure.is_absolute() or ".." in pure.parts or not pure.parts
    if hostile or "\0" in name or "\\" in name or len(pure.parts) > 64:
        raise CannotCompare(f"{path.name}: a member named {name[:80]!r}")
    return pure


def _copy(stream: IO[bytes], target: Path, limit: int, path: Path) -> int:
    done = 0
    with target.open("xb") as out:
        while block := stream.read(BLOCK):
            done += len(block)
            if done > limit:
                raise CannotCompare(f"{path.name}: expands beyond what its size allows")
            if block == ZEROS:  # a hole of the archive becomes one of the copy
                out.seek(len(block), 1)
            else:
                out.write(block)
        out.truncate(done)
    return done


class ZipComparator(Archive):
    """Zip archives, Python wheels among them."""

    id = "zip"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it begins as a zip with members does."""
        return sniff.head.startswith(b"PK\x03\x04")

    def members(self, path: Path, context: Context) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield name and stream of every member."""
        with zipfile.ZipFile(path) as archive:
            for member in checked_members(archive, path, context.bounds):
                with archive.open(member) as stream:
                    yield member.filename, stream


class _Header(tarfile.TarInfo):
    """A tar header that costs no memory of the file's choosing and ends no archive early."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
        """Return one header. Raises: CannotCompare for one that is damaged or has a huge name."""
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and any(buf):  # tarfile would end the archive here
                raise CannotCompare(f"a damaged tar header: {error}") from None
            raise
        if found.type in EXTENDED and found.size > LONGEST:
            raise CannotCompare(f"a tar header of {found.size} bytes")
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise CannotCompare("a sparse file in a tar")
        return found

    def _proc_gnusparse_10(self, *_: Any) -> None:
        """Refuse a map of holes, which tarfile reads without a limit."""
        raise CannotCompare("a sparse file in a tar")


class TarComparator(Archive):
    """Tar archives, plain or compressed."""

    id = "tar"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the first block, when need be expanded, is a tar header."""
        return _expanded(sniff.head)[257:262] == b"ustar"

    def members(self, path: Path, context: Context) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield name and stream of every file in it, in one pass."""
        with _opened(path) as whole, _tar(whole) as archive:
            for member in archive:
                if member.isdir():
                    continue
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or member.issparse():
                    raise CannotCompare(f"{path.name}: a link, device or sparse file in a tar")
                yield member.name, stream
            behind: Any = archive.fileobj  # with what tarfile read ahead of the end
            rest = behind.read(BLOCK)  # also tells whether the compressed data is whole
            if rest.strip(b"\0") or len(rest) == BLOCK:
                raise CannotCompare(f"{path.name}: data behind the end of the tar")


class CompressedComparator(Archive):
    """One file compressed with gzip, bzip2 or xz."""

    id = "compressed"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it begins as compressed data does."""
        return _opener(sniff.head) is not None

    def members(self, path: Path, context: Context) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield what is inside, under one name on both sides."""
        with _opened(path) as stream:
            yield f"content{Path(path.stem).suffix}", stream


def _tar(stream: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header)


def _opened(path: Path) -> Any:
    with path.open("rb") as file:
        opener = _opener(file.read(8)) or open
    return opener(path, "rb")


def _opener(head: bytes) -> Any:
    return next((o for start, o in OPENERS.items() if head.startswith(start)), None)


def _expanded(head: bytes) -> bytes:
    """Return the beginning of a file's content; empty where it cannot be expanded."""
    try:
        if head.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(31).decompress(head, 512)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, 512)
        if head.startswith(b"\xfd7zXZ"):
            return lzma.LZMADecompressor(memlimit=MEMORY).decompress(head, 512)
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
        return b""
    return head
