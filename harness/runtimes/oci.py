"""Container images assembled by us: the same base and tree give the same config digest.

An engine's own build gives another image id every time (its layers and configs carry the time),
so the layer, the config and the archive that `docker load` reads are written here, byte by byte:
sorted entries, one fixed time, sorted JSON. Everything is streamed; nothing large is held.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EPOCH = 946684800  # 2000-01-01T00:00:00Z
CREATED = "2000-01-01T00:00:00Z"
CHUNK = 1 << 20
BLOBS = "blobs/sha256/"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Blob:
    """Bytes that can be streamed again and again: hex sha256, size, and how to read them."""

    sha256: str
    size: int
    read: Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Platform:
    """What an image takes over from the one below it: platform, environment and layers."""

    architecture: str
    os: str
    env: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()
    variant: str = ""


@dataclass(frozen=True)
class Times:
    """How entries are written: `clamp` keeps older times and owners (a whole root file system).

    Without it every entry has the time `epoch`, one owner and one of two modes (a package tree).
    """

    epoch: int = EPOCH
    clamp: bool = False
    owner: int = 0


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def blob(data: bytes) -> Blob:
    """Return bytes in memory as a blob."""
    return Blob(hashlib.sha256(data).hexdigest(), len(data), lambda: (data,))


def measured(read: Callable[[], Iterable[bytes]]) -> Blob:
    """Return a stream as a blob, after one pass over it for its digest and size."""
    digest, size = hashlib.sha256(), 0
    for chunk in read():
        digest.update(chunk)
        size += len(chunk)
    return Blob(digest.hexdigest(), size, read)


def batched(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at least a mebibyte: a header a piece is slow to send."""
    pending, size = [], 0
    for chunk in chunks:
        pending.append(chunk)
        size += len(chunk)
        if size >= CHUNK:
            yield b"".join(pending)
            pending, size = [], 0
    yield b"".join(pending)


def layer(root: Path, prefix: str = "", times: Times | None = None) -> Blob:
    """Return the tree below `root` as a layer whose entries lie below `prefix`."""
    return measured(lambda: tree(root, prefix, times or Times()))


def tree(root: Path, prefix: str, times: Times) -> Iterator[bytes]:
    """Yield the tar stream of a tree, entries sorted, no extended attribute, no hard link."""
    parent = ""
    for part in filter(None, prefix.split("/")):
        parent = f"{parent}{part}/"
        yield _header(tarfile.TarInfo(parent.rstrip("/")), times, tarfile.DIRTYPE, 0o755)
    for path in _sorted_paths(root):
        name = parent + path.relative_to(root).as_posix()
        yield from _entry(path, name, times)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _sorted_paths(root: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(root), key=lambda e: e.name):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _sorted_paths(Path(entry.path))


def _entry(path: Path, name: str, times: Times) -> Iterator[bytes]:
    info, status = tarfile.TarInfo(name), path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    info.uid = info.gid = times.owner
    if times.clamp:
        info.uid, info.gid = status.st_uid, status.st_gid
        info.mtime = min(int(status.st_mtime), times.epoch)
    if stat.S_ISDIR(status.st_mode):
        yield _header(info, times, tarfile.DIRTYPE, mode if times.clamp else 0o755)
    elif stat.S_ISLNK(status.st_mode):
        info.linkname = str(path.readlink())
        yield _header(info, times, tarfile.SYMTYPE, 0o777)
    elif stat.S_ISREG(status.st_mode):
        info.size = status.st_size
        plain = 0o755 if mode & 0o111 else 0o644
        yield _header(info, times, tarfile.REGTYPE, mode if times.clamp else plain)
        yield from _content(path, status.st_size)


def _header(info: tarfile.TarInfo, times: Times, kind: bytes, mode: int) -> bytes:
    info.type, info.mode = kind, mode
    if not times.clamp or not info.mtime:
        info.mtime = times.epoch
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb", buffering=0) as file:
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
    if left:
        msg = f"{path} shrank while it was read"
        raise OSError(msg)
    yield bytes(-size % tarfile.BLOCKSIZE)


def image_config(
    below: Platform, layers: Sequence[Blob], settings: Mapping[str, Any], comment: str
) -> bytes:
    """Return the config of an image: its sha256 is the image's identity.

    Only what defines the content enters: no time, no engine version, no base history.
    """
    config: dict[str, Any] = {
        "architecture": below.architecture,
        "os": below.os,
        **({"variant": below.variant} if below.variant else {}),
        "config": {"Env": list(below.env)} | dict(settings),
        "created": CREATED,
        "history": [
            {"created": CREATED, "created_by": "base" if n < len(below.diff_ids) else comment}
            for n in range(len(below.diff_ids) + len(layers))
        ],
        "rootfs": {
            "type": "layers",
            "diff_ids": [*below.diff_ids, *(f"sha256:{b.sha256}" for b in layers)],
        },
    }
    return canonical(config)


def archive(
    config: bytes, diff_ids: Sequence[str], layers: Mapping[str, Blob], tag: str = ""
) -> Iterator[bytes]:
    """Yield an archive that engines load, and, with all layers in it, a whole OCI layout.

    `layers` maps diff ids to what is in the archive; an engine that already has a layer does not
    ask for it, so those of the base may be left out.
    """
    head = blob(config)
    names = [BLOBS + i.removeprefix("sha256:") for i in diff_ids]
    legacy = [{"Config": BLOBS + head.sha256, "Layers": names, "RepoTags": [tag] if tag else None}]
    yield from _member("manifest.json", blob(canonical(legacy)))
    yield from _member(BLOBS + head.sha256, head)
    if all(i in layers for i in diff_ids):
        yield from _layout(head, [layers[i] for i in diff_ids])
    for name, diff_id in dict(zip(names, diff_ids, strict=True)).items():
        if diff_id in layers:
            yield from _member(name, layers[diff_id])
    yield bytes(2 * tarfile.BLOCKSIZE)


def _layout(config: Blob, layers: Sequence[Blob]) -> Iterator[bytes]:
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, b) for b in layers],
    }
    body = blob(canonical(manifest))
    index = {"schemaVersion": 2, "manifests": [_descriptor(MANIFEST_TYPE, body)]}
    yield from _member("oci-layout", blob(canonical({"imageLayoutVersion": "1.0.0"})))
    yield from _member("index.json", blob(canonical(index)))
    yield from _member(BLOBS + body.sha256, body)


def _descriptor(kind: str, content: Blob) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{content.sha256}", "size": content.size}


def _member(name: str, content: Blob) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = content.size
    yield _header(info, Times(), tarfile.REGTYPE, 0o644)
    yield from content.read()
    yield bytes(-content.size % tarfile.BLOCKSIZE)
