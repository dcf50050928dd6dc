"""The image that a lock is layered on: found, proved by its digest, and asked what it holds."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import SourceUnavailable, UsageError
from harness.files import write_atomic
from harness.model import Gap
from harness.runtimes import docker_archive, oci

SCRIPT = "containers/base/build.py"
DEFAULT = "repro-harness/base:python3.11"
PINNED = re.compile(r"sha256:[0-9a-f]{64}|[a-z0-9]+(?:[._:/-]+[A-Za-z0-9_]+)*@sha256:[0-9a-f]{64}")
PROBE = """
import json,os,platform,sys
print(json.dumps({'executable':sys.executable,'version':platform.python_version(),
 'glibc':(os.confstr('CS_GNU_LIBC_VERSION') or '').split(' ')[-1],'machine':platform.machine()}))
"""


@dataclass(frozen=True)
class Interpreter:
    """The interpreter of an image: path, full version, glibc and machine."""

    executable: str
    version: str
    glibc: str
    machine: str


def how_to_build() -> str:
    """Return the command that builds the base image, from a checkout or an installed package."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "_share", package.parent)
    script = next((p for p in places if (p / SCRIPT).exists()), places[1]) / SCRIPT
    return (
        f"as root: {sys.executable} {script} --load (needs debootstrap; see containers/README.md)"
    )


class Bases:
    """Base images of one engine; what was found out about an image is kept by its id."""

    def __init__(self, client: Any, home: Path) -> None:
        self.client, self.home = client, home

    def present(self, reference: str) -> str | None:
        """Return the id of an image that the engine has."""
        import docker.errors

        try:
            return str(self.client.api.inspect_image(reference)["Id"])
        except docker.errors.ImageNotFound:
            return None

    def resolve(self, reference: str, checkout: Path, operator: str = "") -> str:
        """Return the id of the image that `reference` names, bringing it when it is not here.

        Only the `operator` may name an image by a tag, which can change what it names.
        Raises: SourceUnavailable when it is gone or is not what its digest says, UsageError for
        a reference that pins nothing.
        """
        if path := docker_archive.locate(reference, checkout):
            return self._load(path, reference)
        if not PINNED.fullmatch(reference) and reference != operator:
            msg = f"base image {reference!r} is neither a digest, an image id, nor an archive here"
            raise UsageError(msg, "write name@sha256:…, sha256:… or the path of an archive")
        found = self.present(reference)
        if found is None and "@" in reference:
            found = self._pull(reference)
        if found is None:
            msg = f"the engine has no base image {reference}"
            raise SourceUnavailable(
                msg, hint=f"load it into the engine, or build it: {how_to_build()}"
            )
        return found

    def _pull(self, reference: str) -> str | None:
        import docker.errors

        try:
            self.client.images.pull(reference)
        except docker.errors.APIError as error:
            msg = f"base image {reference} cannot be pulled: {error.explanation or error}"
            raise SourceUnavailable(
                msg, hint="load it into the engine by hand, or keep an archive of it under DVC"
            ) from error
        return self.present(reference)

    def _load(self, path: Path, reference: str) -> str:
        expected = docker_archive.identity(path)
        if self.present(expected):
            return expected
        error = self.load(docker_archive.loadable(path))
        if not self.present(expected):
            msg = f"the engine does not show {reference} under its digest {expected} {error}"
            raise SourceUnavailable(msg, hint="save the image again with `docker save`")
        return expected

    def load(self, archive: Iterable[bytes]) -> str:
        """Load an archive into the engine; return its complaint, empty when there is none."""
        import docker.errors

        try:
            for line in self.client.api.load_image(oci.batched(archive)):
                if "error" in line:
                    return str(line["error"])
        except docker.errors.APIError as error:
            return str(error)
        return ""

    def platform(self, image: str) -> oci.Platform:
        """Return what an image laid on this one takes over."""
        shown = self.client.api.inspect_image(image)
        return oci.Platform(
            shown["Architecture"],
            shown["Os"],
            tuple(shown["Config"].get("Env") or ()),
            tuple(shown["RootFS"]["Layers"]),
            shown.get("Variant") or "",
        )

    def interpreter(self, image: str, python: str) -> Interpreter:
        """Return the interpreter that `python` (like `3.11`) names in an image; asked once.

        Raises: SourceUnavailable when the image has no such interpreter.
        """
        kept = self.home / "probes" / f"{image.removeprefix('sha256:')}-{python}.json"
        if kept.exists():
            return Interpreter(**json.loads(kept.read_bytes()))
        found = self._ask(image, f"python{python}" if python.count(".") == 1 else "python3")
        if not f"{found.version}.".startswith(f"{python}."):
            msg = f"base image {image} has Python {found.version}, the environment needs {python}"
            raise SourceUnavailable(msg, hint="name a base with that interpreter in the recipe")
        write_atomic(kept, json.dumps(asdict(found)).encode())
        return found

    def _ask(self, image: str, command: str) -> Interpreter:
        return Interpreter(**json.loads(self.ask(image, command, PROBE)))

    def ask(self, image: str, command: str, script: str) -> bytes:
        """Run a script of ours with an image's interpreter and return what it prints.

        Raises: SourceUnavailable when the image has no such interpreter.
        """
        import docker.errors

        container = self.client.containers.create(
            image, entrypoint=[command], command=["-I", "-c", script], network_mode="none",
            read_only=True, cap_drop=["ALL"], user="65534:65534", pids_limit=64,
            security_opt=["no-new-privileges:true"], mem_limit=512 << 20,
        )  # fmt: skip
        try:
            container.start()
            status = container.wait(timeout=60)["StatusCode"]
            printed: bytes = container.logs(stdout=True, stderr=False)
            why = "" if status == 0 else container.logs(tail=5).decode(errors="replace")
        except docker.errors.APIError as error:
            status, why = 127, str(error.explanation)
        finally:
            container.remove(force=True)
        if status:
            msg = f"image {image} has no usable {command}: {why[:500]}"
            raise SourceUnavailable(msg, hint="name a base with that interpreter")
        return printed

    def missing(self, reference: str) -> tuple[Gap, ...]:
        """Return a gap when neither the engine nor a registry has an image; brings nothing."""
        if self.present(reference) or ("@sha256:" in reference and self.in_registry(reference)):
            return ()
        fix = f"load it into the engine, or build it: {how_to_build()}"
        return (Gap("base image", f"the engine has no {reference}", fix),)

    def in_registry(self, reference: str) -> bool:
        """Return whether the engine can reach a registry that has the image."""
        import docker.errors

        try:
            self.client.api.inspect_distribution(reference)
        except docker.errors.APIError:
            return False
        return True


class Stream:
    """A file-like view of a stream of chunks, for reading an archive as it comes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._buffer = iter(chunks), bytearray()

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        while len(self._buffer) < size and (chunk := next(self._chunks, None)) is not None:
            self._buffer += chunk
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data
