"""The evidence of one version as plain files: taken from a registry, and read without one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.attestations import dsse
from harness.attestations.dsse import BadEvidence
from harness.attestations.keys import Trust
from harness.casefile import APPROVALS, WAIVERS, CaseFile
from harness.errors import UsageError
from harness.evidence import STATEMENT
from harness.model import Version
from harness.reading import Source
from harness.record import canonical, digest
from harness.registries.base import VersionInfo

OBSERVED, ENVELOPE = "observed.json", ".intoto.json"
FOLDERS = ("lineage", APPROVALS, WAIVERS)


def take(source: Source, case: CaseFile) -> dict[str, bytes]:
    """Return every signed document of a version, and what the registry said of it, by path.

    Only envelopes are taken as they are. What lies beside them in the registry (bundles, records,
    reports) anyone there could have changed: it is made again from what is signed.
    """
    version = case.version
    files: dict[str, bytes] = {}
    for folder in FOLDERS:
        files |= _signed(f"evidence/{folder}", source.documents(version, folder))
    files |= _signed("evidence/moves", source.kept(version.name))
    for documents in source.records(version):
        # Two runs may hold the same record: it lies here once, under its statement's digest.
        place = f"evidence/records/{digest(documents.get(STATEMENT, b''))[:32]}"
        files |= _signed(place, documents)
    observed = {
        "registry": version.registry,
        "model": version.name,
        "version": version.number,
        "tags": dict(case.info.tags),
        "aliases": dict(case.aliases),
        "stage": case.info.stage,
    }
    return {**files, **derived(files), OBSERVED: canonical(observed)}


def _signed(place: str, documents: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{place}/{n}": d for n, d in documents.items() if n.endswith(ENVELOPE)}


def derived(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what follows from the envelopes: a bundle of each, and the record of a verdict."""
    found = {}
    for path, data in files.items():
        if not (path.startswith("evidence/") and path.endswith(ENVELOPE)):
            continue
        try:
            found[path.removesuffix(ENVELOPE) + ".sigstore.json"] = dsse.bundle(data)
            if path.endswith(f"/{STATEMENT}"):
                payload = base64.b64decode(json.loads(data)["payload"], validate=True)
                record = dsse.strict_json(payload)["predicate"]
                found[str(PurePosixPath(path).with_name("record.json"))] = canonical(record)
        except (BadEvidence, KeyError, TypeError, ValueError):
            # A broken envelope is evidence as well: `beside` names it.
            continue
    return found


def beside(files: Mapping[str, bytes], case: CaseFile, trust: Trust) -> Iterator[str]:
    """Yield what is wrong with the statements beside each record, and with what follows."""
    for path, data in derived(files).items():
        if files.get(path) != data:
            yield f"{path}: not what its signed statement says"
    records = {digest(r.data)[:32]: r for r in case.records}
    for path, data in files.items():
        place = PurePosixPath(path)
        if place.parts[:2] != ("evidence", "records") or not path.endswith(ENVELOPE):
            continue
        record = records.get(place.parent.name)
        if place.name == STATEMENT or record is None:
            continue
        try:
            statement, key = dsse.verify(data, trust, "verifier")
        except BadEvidence as error:
            yield f"{path}: {error.message}"
            continue
        own = dsse.strict_json(base64.b64decode(json.loads(record.data)["payload"]))
        same = key == record.key and statement["subject"] == own["subject"]
        if not same or dsse.signed_at(statement) != record.value["created_at"]:
            yield f"{path}: not about the record beside it"


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
