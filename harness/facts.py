"""What a dossier says, worked out from a case: the same evidence always gives the same facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import __version__, gating, movechain, shelf
from harness.attestations import keys
from harness.attestations.governance import Move
from harness.casefile import CaseFile
from harness.dossier.model import Dossier
from harness.errors import RefusedByPolicy, UsageError
from harness.gating import Answer, Asked
from harness.model import Stage, Version
from harness.policy import Policy
from harness.reading import Signed, Source
from harness.record import plain

TOOL = f"repro-harness {__version__}"
VALUE, TRUST, POLICY = "dossier.json", "trust.toml", "policy.toml"


@dataclass(frozen=True)
class Question:
    """What was asked: a version, or whichever held an alias at a time (UTC, RFC 3339)."""

    alias: str = ""
    at: str = ""


@dataclass(frozen=True)
class Subject:
    """What the auditor writes beside the evidence; the author's words, checked by nobody."""

    intended_use: str = ""
    owner: str = ""
    risk_tier: str = ""


def asked(source: Source, model: str, question: Question, trust: keys.Trust) -> Version:
    """Return the version that is asked for; at a past time the signed moves answer.

    Raises: UsageError for an alias of no stage; RefusedByPolicy when none had it by then.
    """
    if not question.alias:
        if question.at:
            raise UsageError("--at goes with --alias", "--alias production")
        return source.resolve(model)
    name = model.removeprefix("models:/").partition("@")[0].partition("/")[0]
    stage = next((s for s in Stage if s.alias and s.alias == question.alias.casefold()), None)
    if stage is None:
        raise UsageError(f"--alias {question.alias}: not a stage's alias", "staging or production")
    moves = movechain.history(source, Version(source.uri, name, ""), trust)
    until = question.at or keys.now()
    held = gating.holders(tuple(m for m in moves if m.value.created_at <= until))
    if stage not in held:
        raise RefusedByPolicy(
            f"no signed move had put a version of {name} in {stage} by {until}",
            "harness audit models:/Name/N names a version itself",
        )
    return Version(source.uri, name, held[stage])


def problems_of(found: Mapping[str, bytes], case: CaseFile, trust: keys.Trust) -> tuple[str, ...]:
    """Return what is wrong with the evidence of a case and with the files beside it."""
    return (*(p.detail for p in case.problems), *shelf.beside(found, case, trust))


def decided(case: CaseFile, rules: Policy, now: str) -> Answer:
    """Return what the policy makes of a version where it stands."""
    stage = gating.stage_of(case, case.version.number)
    aim = stage if stage in {Stage.STAGING, Stage.PRODUCTION} else Stage.DEVELOPMENT
    return gating.evaluate(case, rules, Asked(aim, now))


def compose(
    case: CaseFile,
    rules: Policy,
    made_at: str,
    question: Question,
    subject: Subject,
    problems: tuple[str, ...],
) -> Dossier:
    """Return the facts of a dossier; the same evidence always gives the same facts."""
    answer, version = decided(case, rules, made_at), case.version
    return Dossier(
        question={
            "registry": version.registry,
            "model": version.name,
            "version": version.number,
            "asked": plain(question),
        },
        stage=str(gating.stage_of(case, version.number)),
        **plain(subject),
        lineage=plain(case.lineage.value) if case.lineage else {},
        lineage_digest=case.lineage.digest if case.lineage else "",
        records=tuple((r.digest, dict(r.value)) for r in case.records),
        deciding=answer.deciding.digest if answer.deciding else "",
        decision={
            "meets": answer.meets,
            "reasons": [f.detail for f in answer.findings if not f.waiver],
            "policy_digest": rules.digest,
            "exit_code": answer.exit_code,
        },
        policy={"uri": rules.uri, "digest": rules.digest, "text": rules.text},
        approvals=tuple(_said(s, *APPROVAL) for s in case.approvals),
        waivers=tuple(_said(s, "code", "stage", "reason", "expires_at") for s in case.waivers),
        moves=tuple(_moved(s) for s in case.moves),
        problems=problems,
        notes=case.notes,
        made_at=made_at,
        tool=TOOL,
    )


APPROVAL = ("decision", "stage", "reason", "meaning", "record_digest", "policy_digest")


def _said(signed: Signed[Any], *members: str) -> dict[str, Any]:
    value = plain(signed.value)
    return {**_signed(signed), **{name: value[name] for name in members}}


def _moved(signed: Signed[Move]) -> dict[str, Any]:
    return {
        **_said(signed, "stage", "kind", "reason"),
        "alias": signed.value.stage.alias,
        "version": signed.value.binding.version,
        "previous_version": signed.value.replaces,
    }


def _signed(signed: Signed[Any]) -> dict[str, Any]:
    return {
        "printed_name": signed.value.printed_name,
        "identity": signed.key.identity,
        "keyid": signed.key.keyid,
        "created_at": signed.value.created_at,
        "digest": signed.digest,
    }
