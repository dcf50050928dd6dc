"""Everything signed that is known of one version: read, verified, and whatever is wrong named.

The source is a registry or a dossier; nothing in it is believed but signatures over digests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from harness import evidence
from harness.attestations import governance
from harness.attestations.governance import Approval, Binding, Move, Waiver
from harness.attestations.keys import Trust
from harness.errors import UsageError
from harness.lineages import tags
from harness.model import Lineage, Version
from harness.movechain import chained
from harness.policy import STAGED, Refusal
from harness.reading import MOVERS, Reader, Signed, Source, written
from harness.record import canonical, digest
from harness.registries.base import VersionInfo

APPROVALS, WAIVERS = "approvals", "waivers"
T = TypeVar("T", Approval, Waiver)


@dataclass(frozen=True)
class CaseFile:
    """The verified evidence of a version, oldest first in each list.

    `moves` are those of the whole model; `problems` refuse whatever asks, `notes` are only told:
    evidence by unknown signers is not counted, and says nothing.
    """

    version: Version
    info: VersionInfo
    lineage: Signed[Lineage] | None
    binding: Binding | None
    records: tuple[Signed[Mapping[str, Any]], ...]
    approvals: tuple[Signed[Approval], ...]
    waivers: tuple[Signed[Waiver], ...]
    moves: tuple[Signed[Move], ...]
    aliases: Mapping[str, str]
    problems: tuple[Refusal, ...]
    notes: tuple[str, ...]

    @property
    def statements(self) -> tuple[Signed[Any], ...]:
        """Return every statement that counts."""
        return (*self.records, *self.approvals, *self.waivers, *self.moves)

    @property
    def digests(self) -> frozenset[str]:
        """Return the digest of every envelope that counts, for this machine to remember."""
        return frozenset(digest(s.data) for s in self.statements)


def read(
    source: Source,
    version: Version,
    trust: Trust,
    local: Iterable[Mapping[str, bytes]] = (),
    known: frozenset[str] = frozenset(),
) -> CaseFile:
    """Read and verify everything of a version.

    Args: `local` are records that wait on this machine to be published; `known` the digests that
    this machine has seen of this version before, which must still be there.
    """
    reader = Reader(source, version, trust)
    info = source.info(version)
    lineage = reader.lineage(info)
    mine = governance.binding(version, lineage.value, lineage.digest) if lineage else None
    documents = [
        (f"record {n}", found.get(evidence.STATEMENT, b""))
        for n, found in enumerate([*source.records(version, evidence.STATEMENT), *local], 1)
    ]
    records = _in_order(
        reader.each(
            documents, ("verifier",), reader.record(lineage), lambda _, r: digest(canonical(r))
        )
    )
    moves = reader.each(written(source.kept(version.name)), MOVERS, reader.move)
    case = CaseFile(
        version,
        info,
        lineage,
        mine,
        tuple(r for r in records if lineage and r.value["lineage_digest"] == lineage.digest),
        _about(reader, APPROVALS, Approval, mine),
        _about(reader, WAIVERS, Waiver, mine),
        chained(reader, moves),
        _aliases(source, version),
        (),
        (),
    )
    _whole(reader, case, tuple(records), known)
    return replace(case, problems=tuple(reader.problems), notes=tuple(reader.notes))


def _about(
    reader: Reader, folder: str, kind: type[T], mine: Binding | None
) -> tuple[Signed[T], ...]:
    """Return what approvers signed about the version, by time."""
    documents = written(reader.source.documents(reader.version, folder))
    found = reader.each(documents, ("approver",), reader.bound(kind, mine))
    return tuple(sorted(found, key=lambda s: str(s.value.created_at)))


def _in_order(found: Iterator[Signed[Mapping[str, Any]]]) -> list[Signed[Mapping[str, Any]]]:
    """Return records by time; within one second, each after the one that it follows."""
    records = {r.digest: r for r in found}

    def depth(record: Signed[Mapping[str, Any]]) -> int:
        count, before = 0, record
        # Digests cannot form a circle; the bound is for records that only claim to.
        while (name := before.value["previous_record_digest"]) in records and count < len(records):
            before, count = records[name], count + 1
        return count

    return sorted(records.values(), key=lambda r: (str(r.value["created_at"]), depth(r), r.digest))


def _aliases(source: Source, version: Version) -> dict[str, str]:
    found = {}
    for stage in STAGED:
        try:
            found[stage.alias] = source.resolve(f"models:/{version.name}@{stage.alias}").number
        except UsageError:
            continue
    return found


def _whole(
    reader: Reader,
    case: CaseFile,
    records: tuple[Signed[Mapping[str, Any]], ...],
    known: frozenset[str],
) -> None:
    """Name what was deleted or changed behind our back."""
    names = {r.digest for r in records}
    for record in records:
        before = record.value.get("previous_record_digest")
        if before and before not in names:
            reader.wrong(
                "chain",
                f"record {record.digest[:12]} follows {str(before)[:12]}, which is gone",
            )
    for gone in sorted(known - reader.present):
        reader.wrong("chain", f"statement {gone[:12]}, seen here before, is gone")
    for move in _own_moves(case):
        # A model that is deleted and registered again begins at version 1 once more.
        if case.binding is not None and move.value.binding != case.binding:
            about = move.value.binding.lineage_digest[:12]
            reader.wrong(
                "chain",
                f"move {move.digest[:12]} to {move.value.stage} is about lineage {about}, "
                "not about this version",
            )
    moved = {a.value.record_digest for a in case.approvals}
    moved |= {m.value.record_digest for m in _own_moves(case)}
    for gone in sorted(moved - names - {""}):
        reader.wrong("chain", f"record {gone[:12]}, which an approval or move relied on, is gone")
    _same_tags(reader, case)


def _own_moves(case: CaseFile) -> Iterator[Signed[Move]]:
    number = case.version.number
    return (m for m in case.moves if m.value.binding.version == number)


def _same_tags(reader: Reader, case: CaseFile) -> None:
    """Hold the tags, which anyone can write, against what is signed."""
    found = case.info.tags
    if case.lineage:
        expected = tags(case.lineage.value, case.lineage.digest)
        for key, value in expected.items():
            if found.get(key) != value:
                reader.wrong("tags", f"tag {key} is {found.get(key)!r}, signed is {value!r}")
    pointer = found.get("harness.record_digest", "")
    record = next((r for r in case.records if r.digest == pointer), None)
    if record is None:
        claims = [k for k in ("outcome", "grade", "cause", "verdict") if f"harness.{k}" in found]
        if pointer or claims:
            reader.wrong(
                "tags",
                f"the tags claim a verdict (record {pointer[:12] or 'not named'}) "
                "that no trusted record stands behind",
            )
        elif case.records:
            reader.note("the verdict's tags are absent: harness sync, or they were deleted")
        return
    verdict = _verdict_tag(found.get("harness.verdict", ""))
    for key in ("outcome", "grade", "cause"):
        signed = str(record.value.get(key) or "")
        for name, shown in (
            (f"harness.{key}", found.get(f"harness.{key}", "")),
            ("harness.verdict", verdict.get(key, "") if verdict is not None else signed),
        ):
            if shown != signed:
                reader.wrong("tags", f"tag {name} says {key} {shown!r}, signed is {signed!r}")


def _verdict_tag(text: str) -> dict[str, Any] | None:
    """Return what the verdict's tag says; None when there is none."""
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}
