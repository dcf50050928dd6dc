"""Files kept in git-lfs: find the pointers, bring what they mean, prove it by its sha256."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.code import urls
from harness.code.export import LINK, SUBMODULE, Entry
from harness.code.mirror import NETWORK_TIMEOUT, Mirror
from harness.code.plumbing import GitFailed
from harness.errors import SourceUnavailable
from harness.files import digest

SPEC = b"version https://git-lfs.github.com/spec/v1\n"
_MAX = 1024
_OID = re.compile(rb"^oid sha256:([0-9a-f]{64})$", re.MULTILINE)


def pointer(path: Path) -> str | None:
    """Return the sha256 that a pointer file stands for; None for any other file."""
    if path.lstat().st_size >= _MAX:
        return None
    content = path.read_bytes()
    match = _OID.search(content) if content.startswith(SPEC) else None
    return match[1].decode() if match else None


def resolve(mirror: Mirror, commit: str, root: Path, rows: list[Entry]) -> None:
    """Replace every pointer file below `root` by the content that it stands for.

    Raises: SourceUnavailable naming the files whose content cannot be had.
    """
    wanted = {}
    for entry in rows:
        if entry.kind not in (LINK, SUBMODULE) and (oid := pointer(root / entry.path)):
            wanted[entry.path] = oid
    if not wanted:
        return
    store = mirror.folder / "lfs" / "objects"
    left = {p: oid for p, oid in wanted.items() if not _place(store, oid, root / p)}
    if left:
        _fetch(mirror, commit, sorted(left))
    for path, oid in left.items():
        if not _place(store, oid, root / path):
            message = f"git-lfs file {path!r} (sha256 {oid}) is not at the repository, or corrupt"
            raise SourceUnavailable(message, hint="push it with 'git lfs push --all origin'")


def _at(store: Path, oid: str) -> Path:
    return store / oid[:2] / oid[2:4] / oid


def _fetch(mirror: Mirror, commit: str, paths: list[str]) -> None:
    if shutil.which("git-lfs") is None:
        raise SourceUnavailable(
            f"{len(paths)} files are kept in git-lfs, which is not installed: {paths[0]} …",
            tuple(f"git-lfs file {p}" for p in paths),
            "install git-lfs",
        )
    options = ["-c", f"remote.origin.url={mirror.url}", *_server(mirror, commit)]
    try:
        mirror.git.bytes(*options, "lfs", "fetch", "origin", commit, timeout=NETWORK_TIMEOUT)
    except GitFailed as error:
        raise SourceUnavailable(
            f"git-lfs files of {urls.clean(mirror.url)} cannot be had: {str(error)[:300]}",
            tuple(f"git-lfs file {p}" for p in paths),
            "push them with 'git lfs push --all origin'",
        ) from error


def _server(mirror: Mirror, commit: str) -> list[str]:
    """Return the option for the git-lfs server that the commit names, if it may be asked."""
    try:
        url = mirror.git.text("config", f"--blob={commit}:.lfsconfig", "--get", "lfs.url")
    except GitFailed:
        return []
    return ["-c", f"lfs.url={urls.checked(url, mirror.allowed)}"]


def _place(store: Path, oid: str, target: Path) -> bool:
    """Copy an object over its pointer; return whether it was there, and was itself."""
    source = _at(store, oid)
    if not source.is_file():
        return False
    copy = target.with_name(f".{target.name[:200]}.lfs")
    shutil.copyfile(source, copy, follow_symlinks=False)
    if digest(copy)[0] != oid:
        copy.unlink()
        source.unlink()
        return False
    copy.chmod(target.stat().st_mode & 0o777)
    copy.replace(target)
    return True
