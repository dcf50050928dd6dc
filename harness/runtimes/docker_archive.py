"""Image archives in a checkout: whose they are, and how an engine can be made to read them.

Two kinds are read: what `docker save` writes, and a plain OCI layout, which older engines do not
load by themselves. Both are hostile bytes: only small JSON is parsed, nothing is unpacked.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.runtimes import oci

SMALL = 4 << 20
BROKEN = (tarfile.TarError, KeyError, ValueError, TypeError, IndexError, EOFError, OSError)


def locate(reference: str, checkout: Path) -> Path | None:
    """Return the archive in the checkout that a reference names, if it names one."""
    if reference.startswith("sha256:") or "@" in reference:
        return None
    path = checkout / reference
    inside = path.resolve().is_relative_to(checkout.resolve())
    return path if inside and path.is_file() and not path.is_symlink() else None


def identity(path: Path) -> str:
    """Return the id of the one image in an archive, computed from its config's bytes.

    Raises: UsageError for an archive that is no image, or holds several.
    """
    with _opened(path) as tar:
        return f"sha256:{sha256(_read(tar, _parts(tar)[0])).hexdigest()}"


def loadable(path: Path) -> Iterator[bytes]:
    """Yield an archive that every engine loads, whichever kind lies at `path`."""
    with _opened(path) as tar:
        config, layers = _parts(tar)
        if "manifest.json" not in tar.getnames():
            body = _read(tar, config)
            ids = json.loads(body)["rootfs"]["diff_ids"]
            blobs = {i: _blob(tar, i, name) for i, name in zip(ids, layers, strict=True)}
            yield from oci.archive(body, ids, blobs)
            return
    with path.open("rb") as file:
        while chunk := file.read(oci.CHUNK):
            yield chunk


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive; whatever is wrong with its bytes becomes one clear error."""
    try:
        with tarfile.open(path) as tar:
            yield tar
    except BROKEN as error:
        msg = f"{path.name} is not an archive of one image: {error}"
        raise UsageError(msg, "write it with containers/base/build.py or `docker save`") from error


def _parts(tar: tarfile.TarFile) -> tuple[str, list[str]]:
    """Return where the config and the layers lie in an archive."""
    names = tar.getnames()
    if "manifest.json" in names:
        (image,) = json.loads(_read(tar, "manifest.json"))
        return image["Config"], image["Layers"]
    (first,) = json.loads(_read(tar, "index.json"))["manifests"]
    manifest = json.loads(_read(tar, _name(first)))
    return _name(manifest["config"]), [_name(layer) for layer in manifest["layers"]]


def _name(descriptor: dict[str, Any]) -> str:
    return oci.BLOBS + str(descriptor["digest"]).removeprefix("sha256:")


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.getmember(name)
    file = tar.extractfile(member) if member.isreg() and member.size <= SMALL else None
    if file is None:
        msg = f"{name} is not a small file"
        raise ValueError(msg)
    return file.read()


def _blob(tar: tarfile.TarFile, diff_id: str, name: str) -> oci.Blob:
    member = tar.getmember(name)

    def read() -> Iterator[bytes]:
        file = tar.extractfile(member)
        while file and (chunk := file.read(oci.CHUNK)):
            yield chunk

    return oci.Blob(diff_id.removeprefix("sha256:"), member.size, read)
