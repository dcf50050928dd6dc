"""Environments as images: a locked layer on a proved base, or a project's complete image."""

from __future__ import annotations

import hashlib
import json
import platform
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from harness import files
from harness.errors import InfrastructureError, Unverifiable
from harness.model import EnvironmentRecord, Gap
from harness.runtimes import base as fixed
from harness.runtimes import docker_image, locks, oci, packages
from harness.runtimes.base import Environment, EnvironmentSpec, Sink
from harness.runtimes.docker_base import Bases, Interpreter
from harness.runtimes.docker_kept import recall, remember

FORMAT = 1  # of the layer: another number makes every environment anew


class Builder:
    """Builds environments in one engine; what was built is remembered by base and lock."""

    def __init__(self, bases: Bases, home: Path, operator_base: str) -> None:
        self.bases, self.home, self.operator_base = bases, home, operator_base

    def missing(self, spec: EnvironmentSpec) -> tuple[Gap, ...]:
        """Return what can no longer be had, without bringing any of it."""
        reference = spec.image or spec.base or self.operator_base
        if (spec.checkout / reference).exists():
            return () if spec.image else self._unlocked(spec, "")
        return self.bases.missing(reference) or (
            () if spec.image else self._unlocked(spec, self.bases.present(reference) or "")
        )

    def _unlocked(self, spec: EnvironmentSpec, image: str) -> tuple[Gap, ...]:
        """Return which locked packages are gone, for the interpreter of the base where known."""
        target = locks.Target(spec.python, "2.36", platform.machine())
        try:
            if image:
                python = self.bases.interpreter(image, spec.python)
                target = locks.Target(python.version, python.glibc, python.machine)
        except Unverifiable as error:
            return (Gap("base image", error.message, error.hint),)
        locked = locks.read(spec.checkout / spec.lock, target)
        return packages.missing(locked, target, self.home)

    def build(self, spec: EnvironmentSpec, sink: Sink) -> Environment:
        """Build the environment, or take the image that an earlier build left in the engine."""
        if spec.image:
            return docker_image.complete(self.bases, spec, sink)
        operator = self.operator_base
        below = self.bases.resolve(spec.base or operator, spec.checkout, operator)
        python = self.bases.interpreter(below, spec.python)
        lock = files.digest(spec.checkout / spec.lock)[0]
        key = hashlib.sha256(f"{FORMAT} {below} {lock} {python}".encode()).hexdigest()
        kept = self.bases.home / "environments" / f"{key}.json"
        record = recall(kept, spec.lock)
        if record and self.bases.present(record.image):
            return Environment(record, record.image, cached=True)
        with (
            FileLock(kept.with_suffix(".lock"), mode=0o600),
            tempfile.TemporaryDirectory() as folder,
        ):
            record = EnvironmentRecord("docker", spec.lock, lock, python.version, base=below)
            record = self._assemble(spec, record, python, Path(folder, "env"), sink)
            remember(kept, record)
        return Environment(record, record.image)

    def _assemble(
        self, spec: EnvironmentSpec, record: EnvironmentRecord, python: Interpreter,
        tree: Path, sink: Sink,
    ) -> EnvironmentRecord:  # fmt: skip
        """Install the locked packages into `tree`, and load it into the engine as a layer."""
        target = locks.Target(python.version, python.glibc, python.machine)
        locked = locks.read(spec.checkout / spec.lock, target)
        wheels = packages.fetch(locked, target, self.home, sink)
        sink(f"installing {len(wheels)} packages on {record.base[:19]}")
        packages.assemble(wheels, python.executable, python.version, tree, self.home)
        image = lay(self.bases, record.base, tree, record.lock_sha256)
        return replace(
            record,
            image=image,
            content_digest=packages.content_digest(tree),
            inventory=packages.inventory(tree),
        )


def lay(bases: Bases, below: str, tree: Path, key: str) -> str:
    """Lay a tree as one layer at the environment's path on a base; return the image's id."""
    under = bases.platform(below)
    layer = oci.layer(tree, fixed.ENV.lstrip("/"))
    path = next((e[5:] for e in under.env if e.startswith("PATH=")), "/usr/bin:/bin")
    env = [e for e in under.env if not e.startswith("PATH=")]
    under = replace(under, env=(*env, f"PATH={fixed.ENV}/bin:{path}"))
    config = oci.image_config(under, [layer], {"Cmd": ["python3"]}, "locked packages")
    own = f"sha256:{layer.sha256}"
    ids = [*under.diff_ids, own]
    image = f"sha256:{oci.blob(config).sha256}"
    if not bases.present(image):
        tag = f"repro-harness/env:{key[:16]}"
        if bases.load(oci.archive(config, ids, {own: layer}, tag)):
            with tempfile.TemporaryFile() as file:
                layers = saved_layers(bases, below, file, under.diff_ids)
                if error := bases.load(oci.archive(config, ids, {**layers, own: layer}, tag)):
                    msg = f"the engine does not load the environment's image: {error}"
                    raise InfrastructureError(msg, "see the engine's log")
    if not bases.present(image):
        msg = f"the engine shows the environment under another id than {image}"
        raise InfrastructureError(msg, "use an engine with the classic image store")
    return image


def saved_layers(
    bases: Bases, image: str, file: IO[bytes], diff_ids: tuple[str, ...]
) -> Mapping[str, oci.Blob]:
    """Return the layers of an image as the engine saves them into `file`, by diff id."""
    for chunk in bases.client.api.get_image(image):
        file.write(chunk)
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        manifest = tar.extractfile("manifest.json")
        names = json.load(manifest)[0]["Layers"] if manifest else []
        members = [tar.getmember(n) for n in names]
    if len(members) != len(diff_ids):
        msg = f"the engine saved {len(members)} layers of {image}, not {len(diff_ids)}"
        raise InfrastructureError(msg, "see the engine's log")

    def reader(start: int, size: int) -> Callable[[], Any]:
        def read() -> Any:
            file.seek(start)
            for at in range(0, size, oci.CHUNK):
                yield file.read(min(oci.CHUNK, size - at))

        return read

    return {
        i: oci.Blob(i.removeprefix("sha256:"), m.size, reader(m.offset_data, m.size))
        for i, m in zip(diff_ids, members, strict=True)
    }
