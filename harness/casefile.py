"""Everything signed that is known of one version: read, verified, and whatever is wrong named.

The source is a registry or a dossier; nothing in it is believed but signatures over digests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from harness import evidence
from harness.attestations import dsse, governance, statements
from harness.attestations.governance import Approval, Binding, Move, Waiver
from harness.attestations.keys import Trust, TrustedKey
from harness.errors import IncompleteLineage, Tampered, UsageError
from harness.lineages import LINEAGE, read_lineage, tags
from harness.model import Grade, Lineage, Outcome, Version
from harness.policy import STAGED, Refusal
from harness.record import canonical, digest, load
from harness.registries.base import VersionInfo
from harness.reporters.words import plain

APPROVALS, WAIVERS = "approvals", "waivers"
MOVERS = ("approver", "verifier")
CLOCK_SKEW = timedelta(minutes=5)
T = TypeVar("T")


class Source(Protocol):
    """Where signed documents are read: the reading half of a registry, or a dossier."""

    uri: str

    def info(self, version: Version) -> VersionInfo:
        """Return tags and aliases."""
        ...

    def resolve(self, ref: str) -> Version:
        """Return the version that an alias stands for."""
        ...

    def documents(self, version: Version, folder: str) -> Mapping[str, bytes]:
        """Return the documents of a folder by file name."""
        ...

    def records(self, version: Version, only: str = "") -> tuple[Mapping[str, bytes], ...]:
        """Return the documents of every verification; with `only`, just that one."""
        ...

    def kept(self, name: str) -> Mapping[str, bytes]:
        """Return the documents that belong to a model as a whole."""
        ...


@dataclass(frozen=True)
class Signed(Generic[T]):
    """A verified statement: its value, the digest that others name it by, and who signed it."""

    value: T
    digest: str
    key: TrustedKey
    data: bytes


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


@dataclass(frozen=True)
class _Shape:
    """What a decision reads of a record: another tool version may say more, never less."""

    outcome: Outcome
    grade: Grade | None
    cause: str | None
    created_at: str
    conditional: tuple[str, ...]
    reasons: tuple[str, ...]
    policy: Mapping[str, str]
    lineage_digest: str
    previous_record_digest: str
    verifier: Mapping[str, str]
    runs: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Mapping[str, Any]]
    hardware: Mapping[str, Mapping[str, Any]]
    artifacts: tuple[Mapping[str, Any], ...]
    comparators: tuple[str, ...]


def _shaped(found: Mapping[str, Any]) -> None:
    try:
        shape = load(_Shape, found)
    except UsageError as error:
        raise dsse.BadEvidence(error.message) from None
    if shape.outcome == Outcome.REPRODUCED and shape.grade is None:
        raise dsse.BadEvidence("record: REPRODUCED without a grade")
    if not governance.is_time(shape.created_at) or not shape.policy.get("digest"):
        raise dsse.BadEvidence("record: created_at is no UTC time, or the policy has no digest")


def _by_any(
    data: bytes, trust: Trust, roles: tuple[str, ...]
) -> tuple[Mapping[str, Any], TrustedKey]:
    for role in roles[:-1]:
        try:
            return dsse.verify(data, trust, role)
        except dsse.UnknownSigner:
            continue
    return dsse.verify(data, trust, roles[-1])


class _Reader:
    """Reads one version's case; collects what is wrong instead of stopping at the first."""

    def __init__(self, source: Source, version: Version, trust: Trust) -> None:
        self.source, self.version, self.trust = source, version, trust
        self.problems: list[Refusal] = []
        self.notes: list[str] = []
        self.present: set[str] = set()

    def note(self, text: str) -> None:
        # Names of files are anybody's who can write there: no line of theirs is one of ours.
        self.notes.append(plain(text, 2000))

    def wrong(self, code: str, detail: str) -> None:
        self.problems.append(Refusal(code, plain(detail, 2000)))

    def lineage(self, info: VersionInfo) -> Signed[Lineage] | None:
        documents = self.source.documents(self.version, "lineage")
        try:
            lineage, name = read_lineage(documents, info.tags, self.version, self.trust)
        except IncompleteLineage as error:
            self.wrong("lineage-missing", "; ".join(error.reasons))
            return None
        except Tampered as error:
            self.wrong("tampered", "; ".join(error.reasons))
            return None
        data = documents[LINEAGE]
        return Signed(lineage, name, dsse.verify(data, self.trust, "recorder")[1], data)

    def each(
        self,
        documents: Iterable[tuple[str, bytes]],
        roles: tuple[str, ...],
        read: Callable[[Mapping[str, Any], TrustedKey], T],
        name: Callable[[bytes, T], str] = lambda data, _: digest(data),
    ) -> Iterator[Signed[T]]:
        """Yield what a trusted key signed, once; name what is broken, note what is not ours."""
        seen = set()
        for where, data in documents:
            self.present.add(digest(data))
            try:
                statement, key = self.verified(where, data, roles)
                value = read(statement, key)
            except dsse.UnknownSigner as error:
                self.note(f"{where}: not counted: {error.message}")
                continue
            except dsse.BadEvidence as error:
                self.wrong("signature", f"{where}: {error.message}")
                continue
            if (called := name(data, value)) not in seen:
                seen.add(called)
                yield Signed(value, called, key, data)

    def verified(
        self, where: str, data: bytes, roles: tuple[str, ...]
    ) -> tuple[Mapping[str, Any], TrustedKey]:
        try:
            return _by_any(data, self.trust, roles)
        except dsse.UnknownSigner:
            if roles != MOVERS:
                raise
        # A key that is revoked today does not undo the steps that it made: the chain goes on.
        lifted = tuple(
            replace(k, revoked_at="", not_after=min(filter(None, (k.revoked_at, k.not_after))))
            if k.revoked_at
            else k
            for k in self.trust.keys
        )
        found, key = _by_any(data, replace(self.trust, keys=lifted), roles)
        self.note(f"{where}: signed by key {key.keyid[:12]}, which was revoked since")
        return found, key

    def record(self, lineage: Signed[Lineage] | None) -> Callable[..., Mapping[str, Any]]:
        def read(statement: Mapping[str, Any], key: TrustedKey) -> Mapping[str, Any]:
            found: Mapping[str, Any] = statement["predicate"]
            if statement.get("predicateType") != statements.REPRODUCTION:
                raise dsse.BadEvidence("a statement of another kind")
            about = (found.get("registry"), found.get("model"), found.get("version"))
            mine = (self.version.registry, self.version.name, self.version.number)
            if about != mine:
                raise dsse.BadEvidence(f"it is about {about[1]}/{about[2]} in {about[0]}")
            _shaped(found)
            if found["verifier"].get("keyid") != key.keyid:
                raise dsse.BadEvidence("it names another verifier than the one who signed it")
            if lineage and found.get("lineage_digest") == lineage.digest:
                files = statements.subjects(self.version.name, lineage.value.outputs)
                if statement["subject"] != files:
                    raise dsse.BadEvidence("its subjects are not the version's files")
            return found

        return read

    def bound(self, kind: type[T], mine: Binding | None) -> Callable[..., T]:
        def read(statement: Mapping[str, Any], key: TrustedKey) -> T:
            value = governance.read(kind, statement)
            if value.binding != mine:  # type: ignore[attr-defined]
                other = value.binding  # type: ignore[attr-defined]
                raise dsse.BadEvidence(
                    f"it is about {other.model}/{other.version} in {other.registry}, "
                    f"lineage {other.lineage_digest[:12]}, not about this version"
                )
            self.named(value, key)
            return value

        return read

    def named(self, value: Any, key: TrustedKey) -> None:
        """Note a printed name that the trust file does not have for the key."""
        if value.printed_name != key.name:
            self.note(f"signed as {value.printed_name}, the trust file says {key.name}")

    def move(self, statement: Mapping[str, Any], key: TrustedKey) -> Move:
        found = governance.read(Move, statement)
        about = (found.binding.registry, found.binding.model)
        if about != (self.version.registry, self.version.name):
            raise dsse.BadEvidence(f"it is about {about[1]} in {about[0]}")
        if found.kind == "break-glass" and "approver" not in key.roles:
            raise dsse.BadEvidence(f"a break-glass by {key.name}, who is no approver")
        self.named(found, key)
        return found


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
    reader = _Reader(source, version, trust)
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
    case = CaseFile(
        version,
        info,
        lineage,
        mine,
        tuple(r for r in records if lineage and r.value["lineage_digest"] == lineage.digest),
        _by_time(
            reader.each(
                _statements(source.documents(version, APPROVALS)),
                ("approver",),
                reader.bound(Approval, mine),
            )
        ),
        _by_time(
            reader.each(
                _statements(source.documents(version, WAIVERS)),
                ("approver",),
                reader.bound(Waiver, mine),
            )
        ),
        _chain(reader, reader.each(_statements(source.kept(version.name)), MOVERS, reader.move)),
        _aliases(source, version),
        (),
        (),
    )
    _whole(reader, case, tuple(records), known)
    return replace(case, problems=tuple(reader.problems), notes=tuple(reader.notes))


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


def _statements(documents: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    # Beside each statement lies its bundle for other people's tools.
    return ((name, data) for name, data in documents.items() if name.endswith(".intoto.json"))


def history(source: Source, version: Version, trust: Trust) -> tuple[Signed[Move], ...]:
    """Return the signed moves of a version's model, in the order of their chain.

    Raises: BadEvidence when a move is forged, or one is gone.
    """
    reader = _Reader(source, version, trust)
    documents = _statements(source.kept(version.name))
    moves = _chain(reader, reader.each(documents, MOVERS, reader.move))
    for problem in reader.problems:
        raise dsse.BadEvidence(problem.detail)
    return moves


def _by_time(found: Iterator[Signed[Any]]) -> tuple[Signed[Any], ...]:
    return tuple(sorted(found, key=lambda s: str(s.value.created_at)))


def _aliases(source: Source, version: Version) -> dict[str, str]:
    found = {}
    for stage in STAGED:
        try:
            found[stage.alias] = source.resolve(f"models:/{version.name}@{stage.alias}").number
        except UsageError:
            continue
    return found


def _chain(reader: _Reader, found: Iterator[Signed[Move]]) -> tuple[Signed[Move], ...]:
    """Return the moves of a model in the order of their chain; of two that claim one place the
    earlier one holds, by time and digest, so that every reader decides alike."""
    waiting: dict[str, list[Signed[Move]]] = {}
    for move in found:
        waiting.setdefault(move.value.previous, []).append(move)
    chain: list[Signed[Move]] = []
    branch = waiting.pop("", [])
    while branch:
        # Not by the envelope's digest: an ECDSA signature has a second form that anyone can make.
        winner, *others = sorted(
            branch, key=lambda m: (m.value.created_at, digest(canonical(m.value)), m.digest)
        )
        losers = [m for m in others if m.value != winner.value]
        for lost in losers:
            v = lost.value
            reader.note(
                f"move {lost.digest[:12]} of version {v.binding.version} to {v.stage} is void: "
                f"{winner.digest[:12]} came first"
            )
        if chain and _time(winner) < _time(chain[-1]) - CLOCK_SKEW:
            reader.wrong(
                "chain",
                f"move {winner.digest[:12]} of version {winner.value.binding.version} is dated "
                f"{winner.value.created_at}, before the one that it follows",
            )
        chain.append(winner)
        twins = [m for m in branch if m.value == winner.value]
        branch = [m for twin in twins for m in waiting.pop(twin.digest, [])]
    for previous, rest in waiting.items():
        for move in rest:
            reader.wrong(
                "chain",
                f"move {move.digest[:12]} of version {move.value.binding.version} follows "
                f"{previous[:12]}, which is void or gone from the registry",
            )
    return tuple(chain)


def _time(move: Signed[Move]) -> datetime:
    return datetime.fromisoformat(move.value.created_at)


def _whole(
    reader: _Reader,
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


def _same_tags(reader: _Reader, case: CaseFile) -> None:
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
