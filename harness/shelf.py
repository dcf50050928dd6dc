"""The evidence of one version as plain files: taken from a registry, and read without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.attestations.dsse import BadEvidence
from harness.casefile import APPROVALS, WAIVERS, CaseFile, Source
from harness.errors import UsageError
from harness.evidence import STATEMENT
from harness.model import Version
from harness.record import canonical, digest
from harness.registries.base import VersionInfo

OBSERVED = "observed.json"
FOLDERS = ("lineage", APPROVALS, WAIVERS)


def take(source: Source, case: CaseFile) -> dict[str, bytes]:
    """Return every signed document of a version, and what the registry said of it, by path."""
    version = case.version
    files: dict[str, bytes] = {}
    for folder in FOLDERS:
        for name, data in source.documents(version, folder).items():
            files[f"evidence/{folder}/{name}"] = data
    for name, data in source.kept(version.name).items():
        files[f"evidence/moves/{name}"] = data
    for documents in source.records(version):
        # Two runs may hold the same record: it lies here once, under its statement's digest.
        place = f"evidence/records/{digest(documents.get(STATEMENT, b''))[:32]}"
        files |= {f"{place}/{name}": data for name, data in documents.items()}
    observed = {
        "registry": version.registry,
        "model": version.name,
        "version": version.number,
        "tags": dict(case.info.tags),
        "aliases": dict(case.aliases),
        "stage": case.info.stage,
    }
    return {**files, OBSERVED: canonical(observed)}


class Shelf:
    """The reading half of a registry over the files of a dossier; nothing else is asked."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        try:
            seen: dict[str, Any] = json.loads(files[OBSERVED])
            self.uri = str(seen["registry"])
            self.version = Version(self.uri, str(seen["model"]), str(seen["version"]))
            self._tags = {str(k): str(v) for k, v in seen["tags"].items()}
            self._aliases = {str(k): str(v) for k, v in seen["aliases"].items()}
            self._stage = str(seen["stage"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadEvidence(f"{OBSERVED}: cannot be read: {error!r}") from None
        self._files = files

    def info(self, version: Version) -> VersionInfo:
        """Return tags and aliases as the registry had them."""
        mine = tuple(a for a, number in self._aliases.items() if number == version.number)
        return VersionInfo(version, self._tags, mine, {}, self._stage)

    def resolve(self, ref: str) -> Version:
        """Return the version that an alias stood for."""
        number = self._aliases.get(ref.rpartition("@")[2])
        if number is None:
            raise UsageError(f"{ref}: no such alias in the dossier", "look at observed.json")
        return Version(self.uri, self.version.name, number)

    def _below(self, folder: str) -> dict[str, bytes]:
        place = PurePosixPath("evidence", folder)
        return {
            PurePosixPath(path).name: data
            for path, data in self._files.items()
            if PurePosixPath(path).parent == place
        }

    def documents(self, version: Version, folder: str) -> Mapping[str, bytes]:
        """Return the documents of a folder by file name."""
        return self._below(folder)

    def kept(self, name: str) -> Mapping[str, bytes]:
        """Return the documents that belong to the model as a whole."""
        return self._below("moves")

    def records(self, version: Version, only: str = "") -> tuple[Mapping[str, bytes], ...]:
        """Return the documents of every verification."""
        places = {
            str(PurePosixPath(p).parent) for p in self._files if p.startswith("evidence/records/")
        }
        found = (self._below(p.removeprefix("evidence/")) for p in sorted(places))
        return tuple({k: v for k, v in d.items() if only in ("", k)} for d in found)
