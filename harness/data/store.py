"""The shared object cache and the last step into a checkout: copies only, hashed as they land."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from harness.errors import SourceUnavailable
from harness.files import digest

_DAY = 86_400.0
_FICLONE = 0x40049409  # linux/fs.h: share extents until one side writes


class Store:
    """Objects by md5 in DVC 3's own layout; readable by this user only, never linked out."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, md5: str) -> Path:
        """Return where an object lies, or would lie."""
        return self.root / "files" / "md5" / md5[:2] / md5[2:]

    def temporary(self) -> Path:
        """Return a fresh empty file beside the objects, to be filled and then kept or unlinked."""
        folder = self.root / "tmp"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)
        handle, name = tempfile.mkstemp(dir=folder)
        os.close(handle)
        return Path(name)

    def sweep(self) -> None:
        """Remove what a killed process left half-done more than a day ago."""
        for path in (self.root / "tmp").glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _DAY:
                    path.unlink()

    def keep(self, temporary: Path, md5: str) -> None:
        """Make a proven file an object; whoever comes second replaces it by the same bytes."""
        target = self.path(md5)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.chmod(0o444)
        temporary.replace(target)


def place(source: Path, checkout: Path, name: str) -> tuple[Path, str, str]:
    """Copy `source` beside its place in the checkout; return that copy, its md5 and its sha256.

    The caller renames the copy to its name once the digests are right. Digests are those of
    the copy itself: what is proven is what the training reads.
    """
    parent = _folder(checkout, name)
    handle, temporary = tempfile.mkstemp(prefix=".harness-", dir=parent)
    os.close(handle)
    try:
        copy(source, Path(temporary))
        Path(temporary).chmod(0o644)
        md5, sha256 = digest(Path(temporary), "md5", "sha256")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Path(temporary), md5, sha256


def copy(source: Path, target: Path) -> None:
    """Copy bytes, sharing blocks where the file system can; never a link."""
    with source.open("rb") as read, target.open("wb") as write:
        try:
            fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
        except OSError:
            shutil.copyfileobj(read, write, 1 << 20)


def _folder(checkout: Path, name: str) -> Path:
    """Make the folders above `name`, through real folders only."""
    folder = checkout
    for part in Path(name).parts[:-1]:
        folder = folder / part
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            message = f"data path {name!r} leads through {part!r}, which is not a folder"
            raise SourceUnavailable(message, hint="remove the link from the repository")
        folder.mkdir(exist_ok=True)
    target = checkout / name
    if target.is_symlink() or target.is_dir():
        message = f"data path {name!r} is taken by a link or a folder of the commit"
        raise SourceUnavailable(message, hint="stop tracking it in git")
    return folder
