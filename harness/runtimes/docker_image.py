"""Complete images: a project's own Dockerfile, or one by digest; proved by what is in them."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import SourceUnavailable, UsageError
from harness.model import EnvironmentRecord, Package
from harness.runtimes import oci
from harness.runtimes.base import Environment, EnvironmentSpec, Sink
from harness.runtimes.docker_base import PINNED, Bases, Stream
from harness.runtimes.docker_kept import recall, remember

# What names a machine or a time in an image and no training reads.
VOLATILE = ("var/log/", "var/cache/", "var/lib/apt/", "var/lib/dpkg/", "tmp/", "run/", "proc/",
            "sys/", "dev/", "root/.cache/", ".dockerenv", "etc/ld.so.cache", "etc/hostname",
            "etc/hosts", "etc/resolv.conf", "etc/mtab", "etc/machine-id", "etc/shadow")  # fmt: skip
INVENTORY = """
import importlib.metadata as m,json
print(json.dumps(sorted({(d.metadata['Name'].lower().replace('_','-'),d.version)
 for d in m.distributions() if d.metadata['Name']})))
"""


def complete(bases: Bases, spec: EnvironmentSpec, sink: Sink) -> Environment:
    """Bring or build the complete image that a recipe names.

    A Dockerfile is built with the engine's network: it is the project's way to fetch packages.
    Raises: SourceUnavailable when the build fails or the image is gone; UsageError for a folder
    without a Dockerfile.
    """
    folder = spec.checkout / spec.image
    if folder.is_dir() and not folder.is_symlink():
        source = f"folder {source_digest(folder)}"
    elif PINNED.fullmatch(spec.image):
        source = bases.resolve(spec.image, spec.checkout)
    else:
        msg = f"environment image {spec.image!r} is neither a folder here nor name@sha256:…"
        raise UsageError(msg, "name a folder with a Dockerfile, or an image by digest")
    key = hashlib.sha256(source.encode()).hexdigest()
    kept = bases.home / "environments" / f"{key}.json"
    record = recall(kept, spec.lock)
    if record and bases.present(record.image):
        return Environment(record, record.image, cached=True)
    image = source if source.startswith("sha256:") else _engine_build(bases, folder, sink)
    lock = spec.checkout / spec.lock
    record = EnvironmentRecord(
        "docker",
        spec.lock,
        files.digest(lock)[0] if spec.lock and lock.is_file() else "",
        bases.interpreter(image, spec.python).version,
        image,
        image,
        content_digest(bases, image),
        inventory(bases, image),
    )
    remember(kept, record)
    return Environment(record, image)


def source_digest(folder: Path) -> str:
    """Return the digest of a Dockerfile's folder. Raises: UsageError without a Dockerfile."""
    if not (folder / "Dockerfile").is_file():
        msg = f"{folder.name} has no Dockerfile"
        raise UsageError(msg, "environment.image names a folder with one, or name@sha256:…")
    return oci.layer(folder).sha256


def _engine_build(bases: Bases, folder: Path, sink: Sink) -> str:
    import docker.errors

    sink(f"the engine builds {folder.name}/Dockerfile, with network")
    image = ""
    try:
        context = b"".join(oci.tree(folder, "", oci.Times()))
        for line in bases.client.api.build(
            fileobj=_reader(context), custom_context=True, decode=True, rm=True, forcerm=True
        ):
            if "error" in line:
                msg = f"{folder.name}/Dockerfile cannot be built: {line['error'].strip()}"
                raise SourceUnavailable(msg, hint="build it by hand to see the whole log")
            if text := line.get("stream", "").strip():
                sink(text)
            image = line.get("aux", {}).get("ID", image)
    except docker.errors.APIError as error:
        msg = f"{folder.name}/Dockerfile cannot be built: {error}"
        raise SourceUnavailable(msg, hint="see the engine's log") from error
    return image


def _reader(data: bytes) -> Any:
    import io

    return io.BytesIO(data)


def content_digest(bases: Bases, image: str) -> str:
    """Return a digest over every file of an image but what names a machine or a time."""
    container = bases.client.containers.create(image, network_mode="none")
    try:
        return tree_digest(container.export())
    finally:
        container.remove(force=True)


def tree_digest(exported: Iterable[bytes]) -> str:
    """Return the digest of an exported file system: paths, kinds, modes, links and contents."""
    lines = []
    stream: Any = Stream(exported)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if name.startswith(VOLATILE) or "/__pycache__" in name or member.isdir():
                continue
            body = hashlib.sha256()
            content = tar.extractfile(member) if member.isreg() else None
            while content and (chunk := content.read(oci.CHUNK)):
                body.update(chunk)
            mode = stat.S_IMODE(member.mode)
            lines.append([name, str(member.type), mode, member.linkname, body.hexdigest()])
    return hashlib.sha256(json.dumps(sorted(lines)).encode()).hexdigest()


def inventory(bases: Bases, image: str) -> tuple[Package, ...]:
    """Return the distributions that the image's interpreter sees."""
    found = json.loads(bases.ask(image, "python3", INVENTORY))
    return tuple(Package(name, version) for name, version in found)
