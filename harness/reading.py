"""Signed statements of one version, read from a registry or a dossier and verified one by one.

Whatever is broken is named, and what a key signed that we do not trust is told and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from harness.attestations import dsse, governance, statements
from harness.attestations.governance import Binding, Move
from harness.attestations.keys import Trust, TrustedKey
from harness.errors import IncompleteLineage, Tampered, UsageError
from harness.lineages import LINEAGE, read_lineage
from harness.model import Grade, Lineage, Outcome, Version
from harness.policy import Refusal
from harness.record import digest, load
from harness.registries.base import VersionInfo
from harness.reporters.words import plain

MOVERS = ("approver", "verifier")
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
class Shape:
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


def shaped(found: Mapping[str, Any]) -> None:
    """Hold a record to `Shape`. Raises: BadEvidence."""
    try:
        shape = load(Shape, found)
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


class Reader:
    """Reads one version's case; collects what is wrong instead of stopping at the first."""

    def __init__(self, source: Source, version: Version, trust: Trust) -> None:
        self.source, self.version, self.trust = source, version, trust
        self.problems: list[Refusal] = []
        self.notes: list[str] = []
        self.present: set[str] = set()

    def note(self, text: str) -> None:
        """Tell of something that refuses nothing."""
        # Names of files are anybody's who can write there: no line of theirs is one of ours.
        self.notes.append(plain(text, 2000))

    def wrong(self, code: str, detail: str) -> None:
        """Name something that refuses whatever asks."""
        self.problems.append(Refusal(code, plain(detail, 2000)))

    def lineage(self, info: VersionInfo) -> Signed[Lineage] | None:
        """Return the lineage; None where there is none, or a broken one."""
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
        """Return a statement and who signed it in one of the roles. Raises: BadEvidence."""
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
        """Return how a verification of this version is read."""

        def read(statement: Mapping[str, Any], key: TrustedKey) -> Mapping[str, Any]:
            found: Mapping[str, Any] = statement["predicate"]
            if statement.get("predicateType") != statements.REPRODUCTION:
                raise dsse.BadEvidence("a statement of another kind")
            about = (found.get("registry"), found.get("model"), found.get("version"))
            mine = (self.version.registry, self.version.name, self.version.number)
            if about != mine:
                raise dsse.BadEvidence(f"it is about {about[1]}/{about[2]} in {about[0]}")
            shaped(found)
            if found["verifier"].get("keyid") != key.keyid:
                raise dsse.BadEvidence("it names another verifier than the one who signed it")
            if lineage and found.get("lineage_digest") == lineage.digest:
                files = statements.subjects(self.version.name, lineage.value.outputs)
                if statement["subject"] != files:
                    raise dsse.BadEvidence("its subjects are not the version's files")
            return found

        return read

    def bound(self, kind: type[T], mine: Binding | None) -> Callable[..., T]:
        """Return how an approval or a waiver of this version is read."""

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
        """Return a move of this version's model. Raises: BadEvidence."""
        found = governance.read(Move, statement)
        about = (found.binding.registry, found.binding.model)
        if about != (self.version.registry, self.version.name):
            raise dsse.BadEvidence(f"it is about {about[1]} in {about[0]}")
        if found.kind == "break-glass" and "approver" not in key.roles:
            raise dsse.BadEvidence(f"a break-glass by {key.name}, who is no approver")
        self.named(found, key)
        return found


def written(documents: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Return the statements among documents; beside each lies its bundle for others' tools."""
    return ((name, data) for name, data in documents.items() if name.endswith(".intoto.json"))
