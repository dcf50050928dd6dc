"""A verdict as evidence: built, signed, on disk whole before anything is published."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import __version__, judge
from harness.attestations import dsse, statements
from harness.attestations.keys import PrivateKey, Trust
from harness.errors import HarnessError
from harness.files import write_atomic
from harness.judge import Earlier
from harness.model import (
    Comparison,
    Decision,
    FileEntry,
    Lineage,
    Verdict,
    Version,
)
from harness.record import SCHEMA, canonical, digest, parse_record, plain
from harness.registries.base import Publication, Registry
from harness.reporters.base import Reporter

STATEMENT = "reproduction.intoto.json"
RECORD = "record.json"
PUBLISHED = "published.json"
VERDICT_TAGS = ("outcome", "grade", "cause", "verified_at", "record_digest", "verification_run")


History = tuple[tuple[str, dict[str, Any]], ...]  # (digest, record), oldest first


@dataclass(frozen=True)
class Signing:
    """Who signs, whom we trust, and where records lie on this machine."""

    key: PrivateKey
    trust: Trust
    records: Path

    def folder(self, version: Version) -> Path:
        """Return the folder of a version's records."""
        return (
            self.records / digest(canonical([version.registry, version.name, version.number]))[:24]
        )


@dataclass(frozen=True)
class Finished:
    """A finished record: its value, digest, folder on disk, and what the policy makes of it."""

    record: Mapping[str, Any]
    digest: str
    folder: Path
    decision: Decision


def artifact(comparison: Comparison) -> dict[str, Any]:
    """Return one compared output as the record has it, its worst distances at hand."""
    grade = judge.grade(comparison)
    worst = max(
        (n.distances for n in judge.walk(comparison.difference) if n.distances),
        key=lambda d: (d.beyond, d.rel_l2, d.differing),
        default=None,
    )
    return {
        "path": comparison.path,
        "role": comparison.role,
        "grade": grade or comparison.difference.status,
        "recorded_sha256": comparison.recorded_sha256,
        "reproduced_sha256": comparison.reproduced_sha256,
        "distances": plain(worst) if worst else {},
        "difference": plain(comparison.difference),
    }


def finish(
    body: Mapping[str, Any],
    verdict: Verdict,
    version: Version,
    signing: Signing,
    previous: str,
) -> dict[str, Any]:
    """Return the whole record: the verdict first, then `body`, then the link to the one before."""
    return {
        "schema": SCHEMA,
        "id": body["id"],
        "model": version.name,
        "version": version.number,
        "outcome": verdict.outcome,
        "grade": verdict.grade,
        "cause": verdict.cause,
        "conditional": verdict.conditional,
        "reasons": verdict.reasons,
        **{k: v for k, v in body.items() if k != "id"},
        "previous_record_digest": previous,
        "registry": version.registry,
        "verifier": {
            "keyid": signing.key.keyid,
            "tool": f"repro-harness {__version__}",
            "host": _host(),
        },
    }


def _host() -> str:
    """Return what tells two verifying hosts apart, without naming them."""
    return digest(f"{platform.node()} {uuid.getnode()}".encode())[:16]


def save(
    record: Mapping[str, Any],
    decision: Decision,
    lineage: Lineage | None,
    version: Version,
    signing: Signing,
    reporters: Mapping[str, Reporter],
) -> Finished:
    """Sign a record and put it on disk; the record itself is written last, so it is whole."""
    data = canonical(record)
    name = digest(data)
    folder = signing.folder(version) / name
    about = statements.subjects(version.name, _about(record, lineage))
    plain_record, plain_decision = json.loads(data), plain(decision)
    for kind, statement in (
        ("reproduction", statements.reproduction(record, about)),
        ("vsa", statements.verification_summary(plain_record, plain_decision, about)),
        ("test-result", statements.test_result(plain_record, plain_decision, about)),
    ):
        if statement is not None:
            envelope = dsse.sign(statement, signing.key)
            write_atomic(folder / f"{kind}.intoto.json", envelope)
            write_atomic(folder / f"{kind}.sigstore.json", dsse.bundle(envelope))
    for reporter in reporters.values():
        text = reporter.render(plain_record, plain_decision)
        write_atomic(folder / f"report{reporter.suffix}", text.encode())
    write_atomic(folder / RECORD, data)
    return Finished(plain_record, name, folder, decision)


def _about(record: Mapping[str, Any], lineage: Lineage | None) -> tuple[FileEntry, ...]:
    if lineage is not None:
        return lineage.outputs
    # Without any lineage the statement can only be about the version's name.
    return (FileEntry(f"models:/{record['model']}/{record['version']}", 0, digest(b"")),)


def publish(finished: Finished, version: Version, registry: Registry) -> str:
    """Write a finished record back, and note on disk that it was done."""
    record = finished.record
    documents = {
        p.name: p.read_bytes()
        for p in sorted(finished.folder.iterdir())
        if p.is_file() and p.name != PUBLISHED
    }
    tags = {
        "harness.outcome": str(record["outcome"]),
        "harness.grade": str(record["grade"] or ""),
        "harness.cause": str(record["cause"] or ""),
        "harness.verified_at": str(record["created_at"]),
        "harness.record_digest": finished.digest,
    }
    verdict = {
        "schema": SCHEMA,
        **{k.removeprefix("harness."): v for k, v in tags.items() if v},
        "keyid": record["verifier"]["keyid"],
    }
    where = registry.publish(
        Publication(
            version,
            finished.digest,
            documents,
            _metrics(record),
            {"outcome": str(record["outcome"]), "policy": finished.decision.policy_digest},
            (*(f"harness.{t}" for t in VERDICT_TAGS), "harness.verdict"),
            {k: v for k, v in tags.items() if v},
            canonical(verdict).decode(),
        )
    )
    write_atomic(finished.folder / PUBLISHED, canonical({"where": where}))
    return where


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for entry in record["artifacts"]:
        for key in ("max_abs", "max_rel", "rel_l2", "differing", "beyond"):
            if key in entry["distances"]:
                value = float(entry["distances"][key])
                found[f"{entry['path']}/{key}"] = value
    return found


def unpublished(records: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield (record, folder) of every whole record on disk that was never published."""
    waiting = []
    for path in records.glob(f"*/*/{RECORD}"):
        if not (path.parent / PUBLISHED).exists():
            waiting.append((parse_record(path.read_bytes(), str(path)), path.parent))
    yield from sorted(waiting, key=lambda pair: str(pair[0]["created_at"]))


def trusted_records(version: Version, registry: Registry, signing: Signing) -> History:
    """Return (digest, record) of every record of a version that a trusted verifier signed.

    What the registry holds and what still waits on this machine count alike; oldest first.
    """
    return _trusted(version, [*registry.records(version), *_local(version, signing)], signing)


def local_records(version: Version, signing: Signing) -> History:
    """Return the trusted records that this machine has, for when the registry is away."""
    return _trusted(version, _local(version, signing), signing)


def waiting(version: Version, signing: Signing) -> list[Mapping[str, bytes]]:
    """Return the statements of a version's records that wait here to be published."""
    return [
        {STATEMENT: path.read_bytes()}
        for path in _whole(version, signing)
        if not (path.parent / PUBLISHED).exists()
    ]


def _local(version: Version, signing: Signing) -> list[Mapping[str, bytes]]:
    return [{STATEMENT: path.read_bytes()} for path in _whole(version, signing)]


def _whole(version: Version, signing: Signing) -> Iterator[Path]:
    for path in signing.folder(version).glob(f"*/{STATEMENT}"):
        if (path.parent / RECORD).exists():
            yield path


def _trusted(version: Version, sources: list[Mapping[str, bytes]], signing: Signing) -> History:
    found: dict[str, dict[str, Any]] = {}
    for documents in sources:
        try:
            statement, _ = dsse.verify(documents[STATEMENT], signing.trust, "verifier")
        except (HarnessError, KeyError):
            continue
        record = statement["predicate"]
        if (record.get("model"), record.get("version")) == (version.name, version.number):
            found[digest(canonical(record))] = record
    return tuple(sorted(found.items(), key=lambda item: str(item[1].get("created_at"))))


def earlier(records: History, lineage: str) -> tuple[Earlier, ...]:
    """Return what the trusted records of the same lineage say, for the judge."""
    return tuple(
        Earlier(name, r["outcome"], r["cause"] or "", tuple(r["conditional"]))
        for name, r in records
        if r.get("lineage_digest") == lineage
    )


def previous(records: History, keyid: str) -> str:
    """Return the digest of the newest record of this verifier key, empty for the first."""
    own = [name for name, r in records if r.get("verifier", {}).get("keyid") == keyid]
    return own[-1] if own else ""
