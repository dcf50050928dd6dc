"""Approvals, waivers and stage moves as in-toto statements, bound to what they speak about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from harness.attestations.dsse import BadEvidence
from harness.attestations.statements import STATEMENT, subjects
from harness.errors import UsageError
from harness.model import Lineage, Stage, Version
from harness.record import canonical, digest, load, plain

APPROVAL = "https://repro-harness.dev/approval/v1"
WAIVER = "https://repro-harness.dev/waiver/v1"
MOVE = "https://repro-harness.dev/stage-move/v1"
TIME = "%Y-%m-%dT%H:%M:%SZ"
MEANINGS = {"approved": "approval", "rejected": "rejection"}
T = TypeVar("T")


@dataclass(frozen=True)
class Binding:
    """What a statement of a person is about, so that it cannot be moved to another version.

    Two versions that reproduce bit for bit share every file digest: the manifest (paths bound to
    digests) and the lineage's own digest are what tells them apart.
    """

    registry: str
    model: str
    version: str
    manifest: str
    lineage_digest: str


@dataclass(frozen=True)
class Approval:
    """One person's yes or no; printed name, UTC time, reason and meaning as 21 CFR 11.50 asks.

    `decision` is `approved` or `rejected`; `record_digest` names the record it relied on.
    """

    binding: Binding
    decision: str
    stage: Stage
    record_digest: str
    policy_digest: str
    printed_name: str
    reason: str
    meaning: str
    created_at: str


@dataclass(frozen=True)
class Waiver:
    """One finding that is set aside until `expires_at`, by whom and why."""

    binding: Binding
    code: str
    stage: Stage
    printed_name: str
    reason: str
    created_at: str
    expires_at: str


@dataclass(frozen=True)
class Move:
    """A version's step into a stage; each names the digest of the move before it of its model.

    `kind` is `promote`, `rollback`, `archive` or `break-glass`; `replaces` is the version that
    had the stage before, and is archived by this move.
    """

    binding: Binding
    kind: str
    stage: Stage
    replaces: str
    previous: str
    record_digest: str
    policy_digest: str
    relied_on: tuple[str, ...]
    printed_name: str
    reason: str
    created_at: str


KINDS: dict[str, type[Approval] | type[Waiver] | type[Move]] = {
    APPROVAL: Approval,
    WAIVER: Waiver,
    MOVE: Move,
}


def binding(version: Version, lineage: Lineage, lineage_digest: str) -> Binding:
    """Return what a statement about a version has to be bound to."""
    manifest = digest(canonical(sorted((f.path, f.sha256, f.size) for f in lineage.outputs)))
    return Binding(version.registry, version.name, version.number, manifest, lineage_digest)


def statement(value: Approval | Waiver | Move, lineage: Lineage) -> dict[str, Any]:
    """Return a person's word as an in-toto statement about the version's files."""
    kind = next(k for k, v in KINDS.items() if v is type(value))
    return {
        "_type": STATEMENT,
        "subject": subjects(value.binding.model, lineage.outputs),
        "predicateType": kind,
        "predicate": plain(value),
    }


def is_time(text: str) -> bool:
    """Return whether text is a UTC time to the second, as every statement of ours has it."""
    try:
        return datetime.strptime(text, TIME).strftime(TIME) == text
    except ValueError:
        return False


def read(kind: type[T], found: Mapping[str, Any]) -> T:
    """Read a statement back.

    Raises: BadEvidence when it is of another kind, or not whole.
    """
    if KINDS.get(str(found.get("predicateType"))) is not kind:
        raise BadEvidence(f"a statement of another kind: {str(found.get('predicateType'))[:80]}")
    try:
        value = load(kind, found["predicate"], kind.__name__.lower())
    except UsageError as error:
        raise BadEvidence(error.message) from None
    times = (getattr(value, n, None) for n in ("created_at", "expires_at"))
    if not all(is_time(t) for t in times if t is not None):
        raise BadEvidence(f"the {kind.__name__.lower()} has a time that is not UTC to the second")
    if canonical(value) != canonical(found["predicate"]):
        raise BadEvidence(f"the {kind.__name__.lower()} has members that are not its own")
    if reason := _no_sense(value):
        raise BadEvidence(reason)
    return value


def _no_sense(value: object) -> str:
    """Return why a statement is none that we make; empty when it is one.

    A word that nobody has defined must not be taken for a yes, or for an everyday move.
    """
    if isinstance(value, Approval) and MEANINGS.get(value.decision) != value.meaning:
        return f"an approval that says {value.decision!r} and means {value.meaning!r}"
    if isinstance(value, Move):
        archives = value.stage == Stage.ARCHIVED
        kinds = {"archive"} if archives else {"promote", "rollback", "break-glass"}
        if value.kind not in kinds or value.stage == Stage.DEVELOPMENT:
            return f"a move of kind {value.kind!r} to {value.stage}"
    return ""
