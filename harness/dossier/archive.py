"""A dossier on disk: a folder or a zip, written whole, and read as hostile bytes."""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.attestations.dsse import BadEvidence
from harness.errors import UsageError
from harness.files import write_atomic

MAX_FILES, MAX_BYTES = 20_000, 2 << 30
_TIME = (1980, 1, 1, 0, 0, 0)


def free(target: Path) -> None:
    """Refuse a target that exists, before any work is done for it.

    Raises: UsageError.
    """
    if target.is_symlink() or (target.exists() and not _empty(target)):
        raise UsageError(f"{target}: exists already", "choose another name with -o")


def _empty(target: Path) -> bool:
    return target.is_dir() and not any(target.iterdir())


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, or a zip when the name ends in .zip: whole, or not at all."""
    free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".zip":
        write_atomic(target, zipped(files))
        return
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".dossier-") as made:
        folder = Path(made, "dossier")
        folder.mkdir()
        for path, data in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        if target.exists():
            target.rmdir()
        folder.rename(target)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return the one zip of these files: sorted, stored, without times or attributes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, data in sorted(files.items()):
            entry = zipfile.ZipInfo(path, _TIME)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def read(target: Path) -> dict[str, bytes]:
    """Return every file of a dossier by its path.

    Raises: BadEvidence when it is no dossier of ours or too large; UsageError when it is absent.
    """
    if target.is_dir() and not target.is_symlink():
        return _folder(target)
    if not target.is_file():
        raise UsageError(f"{target}: no such dossier", "name a folder or zip from harness audit")
    return _zip(target)


def _folder(root: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    for folder, names, files in os.walk(root, followlinks=False):
        for name in [*names, *files]:
            path = Path(folder, name)
            inside = path.relative_to(root).as_posix()
            kind = path.lstat()
            if stat.S_ISDIR(kind.st_mode):
                continue
            if not stat.S_ISREG(kind.st_mode):
                raise BadEvidence(f"{inside!r}: not a plain file")
            total += kind.st_size
            _bounded(len(found), total)
            found[_named(inside)] = path.read_bytes()
    return found


def _zip(path: Path) -> dict[str, bytes]:
    """Read a zip, and accept it only when its members give the very same bytes again.

    So no byte that no member accounts for, such as a comment or a second directory, can hide.
    """
    if path.stat().st_size > MAX_BYTES:
        raise BadEvidence(f"{path.name}: larger than any dossier", f"at most {MAX_BYTES} bytes")
    data = path.read_bytes()
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _bounded(len(entries), sum(e.file_size for e in entries))
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise BadEvidence(f"{entry.filename!r}: compressed, as no dossier of ours is")
                found[_named(entry.filename)] = archive.read(entry)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise BadEvidence(f"{path.name}: not a whole zip: {error}") from None
    except RuntimeError as error:
        raise BadEvidence(f"{path.name}: {error}") from None
    if zipped(found) != data:
        raise BadEvidence(f"{path.name}: not byte for byte the zip that harness audit writes")
    return found


def _bounded(count: int, size: int) -> None:
    if count > MAX_FILES or size > MAX_BYTES:
        raise BadEvidence("more files or bytes than any dossier of ours")


def _named(path: str) -> str:
    parts = PurePosixPath(path).parts
    plain = path.isprintable() and "\\" not in path and "\0" not in path
    if not plain or path.startswith("/") or ".." in parts or str(PurePosixPath(*parts)) != path:
        raise BadEvidence(f"{path!r}: not a name that a dossier has")
    return path
