"""The seam of the registries: where versions live and where verdicts are written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.errors import InfrastructureError, UsageError
from harness.model import Version


class RegistryUnavailable(InfrastructureError):
    """The registry does not answer; what was found stays on local disk for `harness sync`."""


class UnknownVersion(UsageError):
    """No such model, version, alias or run in this registry."""


@dataclass(frozen=True)
class VersionInfo:
    """What the registry itself says of a version; tags and aliases are hints, never evidence.

    `recorded` is what the registry noted on its own (git commit and URL, parameters, metrics,
    dataset inputs), used for cross-checks and by `adopt`; `stage` what its own old stage
    interface says, where an installation still uses that.
    """

    version: Version
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    recorded: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""


@dataclass(frozen=True)
class NewVersion:
    """A trained model to register: its folders on disk and what to note beside it.

    `model_dir` holds the model outputs at their recorded paths; `outputs_dir` the other kept
    outputs; both may be uploaded as they are. `metrics` and `params` go into the run's data.
    """

    name: str
    model_dir: Path
    outputs_dir: Path | None
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Publication:
    """A finished record to write back: documents as artifacts, distances as metrics, then tags.

    `documents` are file name -> bytes; `tags` are set on the version in order after the ones in
    `remove` are deleted, `verdict` (compact JSON) last of all.
    """

    version: Version
    record_digest: str
    documents: Mapping[str, bytes]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    remove: tuple[str, ...]
    tags: Mapping[str, str]
    verdict: str


class Registry(Protocol):
    """A model registry. Every method may raise RegistryUnavailable."""

    uri: str

    def resolve(self, ref: str) -> Version:
        """Return the version that `models:/N/3`, `models:/N@alias` or `runs:/id` stands for now."""
        ...

    def info(self, version: Version) -> VersionInfo:
        """Return what the registry says of a version."""
        ...

    def versions(self, name: str) -> tuple[Version, ...]:
        """Return every version of a model, oldest first."""
        ...

    def download(self, version: Version, destination: Path) -> Path:
        """Copy the model directory below `destination` (never the live store); return it."""
        ...

    def download_outputs(self, version: Version, destination: Path) -> Path:
        """Copy the other recorded outputs below `destination`; return the folder, maybe empty."""
        ...

    def register(self, new: NewVersion) -> Version:
        """Upload a model and create the next version of it."""
        ...

    def put_documents(
        self, version: Version, folder: str, documents: Mapping[str, bytes], tags: Mapping[str, str]
    ) -> None:
        """Store documents outside the model directory under `harness/<folder>/`, then set tags."""
        ...

    def documents(self, version: Version, folder: str) -> Mapping[str, bytes]:
        """Return the documents of a folder by file name; bounded in size and number."""
        ...

    def publish(self, publication: Publication) -> str:
        """Write a record back, idempotent by record digest; return the address it got."""
        ...

    def records(self, version: Version, only: str = "") -> tuple[Mapping[str, bytes], ...]:
        """Return the documents of every published verification of a version, oldest first.

        With `only`, the document of that name and no other is read.
        """
        ...

    def keep(self, name: str, documents: Mapping[str, bytes]) -> None:
        """Store documents that belong to a model as a whole, beside those that are there."""
        ...

    def kept(self, name: str) -> Mapping[str, bytes]:
        """Return the documents that belong to a model as a whole, by file name."""
        ...

    def set_tags(self, version: Version, tags: Mapping[str, str | None]) -> None:
        """Set tags in order; None deletes one."""
        ...

    def set_alias(self, version: Version, alias: str) -> None:
        """Point an alias at a version."""
        ...

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias of a model; absent is fine."""
        ...
