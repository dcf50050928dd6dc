"""`gate`, `approve`, `reject`, `promote`: evidence in, a decision out, and only then a move."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from harness import casefile, gating, stages
from harness.attestations import governance, keys
from harness.attestations.governance import Approval, Waiver
from harness.desk import Desk
from harness.errors import RefusedByPolicy, UsageError
from harness.gating import Answer, Asked
from harness.model import Stage
from harness.policy import Refusal
from harness.progress import Progress, Quiet
from harness.reading import Signed
from harness.record import plain
from harness.settings import Settings

SCHEMA = 1
QUIET = Quiet()
MADE_BY_VERIFYING = {"no-evidence", "stale", "verifiers", "runs", "error", "unavailable"}


def gate(
    settings: Settings,
    ref: str,
    to: str,
    *,
    verify: bool = False,
    allow: tuple[str, ...] = (),
    reason: str = "",
    expires: str = "14d",
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Say whether there is evidence that lets a version have a stage; move nothing."""
    stage = _stage(to)
    desk = Desk(settings, ref, progress)
    if verify and {f.code for f in desk.evaluate(stage).findings} & MADE_BY_VERIFYING:
        from harness import app

        app.verify(settings, desk.version.uri, progress=progress)
        desk = Desk(settings, desk.version.uri, progress)
    for code in allow:
        _waive(desk, stage, code, reason, expires)
    if allow:
        desk.case = desk.read()
    return _answer(desk, desk.evaluate(stage))


def _stage(text: str) -> Stage:
    for stage in Stage:
        if text.casefold() == stage.casefold():
            return stage
    raise UsageError(f"no stage {text!r}", f"one of: {', '.join(Stage)}")


def _waive(desk: Desk, stage: Stage, code: str, reason: str, expires: str) -> None:
    """Record a signed waiver for one kind of finding, if the policy lets us.

    Raises: UsageError without a reason; RefusedByPolicy when it may not be waived by us.
    """
    if not reason.strip():
        raise UsageError(
            f"--allow {code}: a waiver needs a reason", "--reason 'why, and the ticket'"
        )
    me, now = desk.me("approver"), datetime.now(UTC)
    waiver = Waiver(
        desk.bound(),
        code,
        stage,
        me.name,
        reason.strip(),
        now.strftime(governance.TIME),
        (now + _span(expires)).strftime(governance.TIME),
    )
    asked = Asked(stage, keys.now())
    criteria = desk.policy.criteria(desk.version.name, stage)
    found = [f for f in desk.evaluate(stage).findings if f.code == code]
    if not found:
        raise UsageError(f"--allow {code}: there is no such finding", "harness gate without it")
    open_ones = [Refusal(f.code, f.detail) for f in found if not f.waiver]
    refused = [
        gating.unwaivable(desk.case, criteria, asked, waiver, me, refusal) for refusal in open_ones
    ]
    if open_ones and all(refused):
        raise RefusedByPolicy(f"--allow {code}: {refused[0]}", "the policy says what is waivable")
    if open_ones:
        desk.put(casefile.WAIVERS, waiver)


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([hdw])", text)
    if not found:
        raise UsageError(f"--expires {text!r}: not a time", "write 12h, 14d or 2w")
    unit = {"h": "hours", "d": "days", "w": "weeks"}[found[2]]
    return timedelta(**{unit: int(found[1])})


def _answer(desk: Desk, answer: Answer, **more: Any) -> dict[str, Any]:
    """Return an answer as the command line shows it: `stage` is where it stands, `to` the aim."""
    deciding, last = answer.deciding, gating.entry(desk.case, desk.version.number)
    stands = gating.stage_of(desk.case, desk.version.number)
    return {
        "schema": SCHEMA,
        "model": desk.version.name,
        "version": desk.version.number,
        "stage": stands,
        "to": answer.asked,
        "meets": answer.meets,
        "exit_code": answer.exit_code,
        "findings": [
            {"code": f.code, "detail": f.detail, "waived": f.waiver} for f in answer.findings
        ],
        "record_digest": deciding.digest if deciding else "",
        "outcome": deciding.value["outcome"] if deciding else "",
        "grade": deciding.value["grade"] if deciding else None,
        "verified_at": deciding.value["created_at"] if deciding else "",
        "approvals": [_approval(s) for s in answer.approvals],
        "policy": {"uri": desk.policy.uri, "digest": desk.policy.digest},
        "criteria": plain(answer.criteria),
        "rehashed": answer.criteria.rehash,
        "since": last.value.created_at if last else "",
        "way_back": _way_back(desk, stands) if not answer.meets else "",
        "notes": list(answer.notes),
        **more,
    }


def _approval(signed: Signed[Approval]) -> dict[str, Any]:
    found = signed.value
    return {
        "printed_name": found.printed_name,
        "identity": signed.key.identity,
        "meaning": found.meaning,
        "reason": found.reason,
        "created_at": found.created_at,
        "keyid": signed.key.keyid,
        "digest": signed.digest,
    }


def _way_back(desk: Desk, stands: Stage) -> str:
    """Return what to do when a version that stands at a stage lost its verdict."""
    if stands != Stage.PRODUCTION:
        return ""
    name = desk.version.name
    if not _archived(desk):
        return "no earlier version was in Production: retire it, or verify it again"
    return f"harness promote models:/{name}@production --to Production --rollback --reason …"


def _archived(desk: Desk) -> list[str]:
    """Return the versions that held Production before, the last one first."""
    found: list[str] = []
    for move in reversed(desk.case.moves):
        number = move.value.binding.version
        archived = gating.stage_of(desk.case, number) == Stage.ARCHIVED
        if move.value.stage == Stage.PRODUCTION and archived and number not in found:
            found.append(number)
    return found


def approve(
    settings: Settings,
    ref: str,
    to: str,
    *,
    reason: str,
    decision: str = "approved",
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Sign a person's yes or no for a stage, bound to this version and its deciding record."""
    stage = _stage(to)
    if stage not in {Stage.STAGING, Stage.PRODUCTION}:
        raise UsageError(f"nothing is approved for {stage}", "one of: Staging, Production")
    if not reason.strip():
        raise UsageError("an approval needs its reason", "--reason 'what was reviewed'")
    desk = Desk(settings, ref, progress)
    me, mine = desk.me("approver"), desk.bound()
    before = desk.evaluate(stage)
    if decision == "approved" and before.deciding is None:
        raise RefusedByPolicy(
            f"{desk.version.uri} has no verdict to rely on", f"harness verify {desk.version.uri}"
        )
    if desk.case.problems and decision == "approved":
        reasons = "; ".join(p.detail for p in desk.case.problems)
        raise RefusedByPolicy(f"{desk.version.uri}: {reasons}", "harness gate names everything")
    made = Approval(
        mine,
        decision,
        stage,
        before.deciding.digest if before.deciding else "",
        desk.policy.digest,
        me.name,
        reason.strip(),
        governance.MEANINGS[decision],
        keys.now(),
    )
    name = desk.put(casefile.APPROVALS, made)
    desk.case = desk.read()
    after = desk.evaluate(stage)
    return {
        **_answer(desk, after),
        "decision": decision,
        "printed_name": me.name,
        "digest": name,
        "counts": any(s.digest == name for s in after.approvals),
        "exit_code": 0,
    }


def promote(
    settings: Settings,
    ref: str,
    to: str,
    *,
    rollback: bool = False,
    break_glass: bool = False,
    reason: str = "",
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Move a version to a stage, once the gate is open; the version before it is archived."""
    stage = _stage(to)
    if stage == Stage.DEVELOPMENT:
        raise UsageError(
            "nothing is promoted to Development", "one of: Staging, Production, Archived"
        )
    if (break_glass or rollback) and not reason.strip():
        raise UsageError("this needs its reason", "--reason 'why, and the ticket'")
    desk = Desk(settings, ref, progress)
    with stages.alone(desk.house.home, desk.version.name):
        desk.case = desk.read()
        if rollback:
            return _roll_back(settings, desk, stage, reason, progress)
        if stage == Stage.ARCHIVED:
            return _move(desk, "archive", stage, _nothing(desk, stage), reason)
        return _promote(desk, stage, break_glass, reason)


def _promote(desk: Desk, stage: Stage, break_glass: bool, reason: str) -> dict[str, Any]:
    me = _mover(desk)
    answer = desk.evaluate(stage, requester=me.person)
    if break_glass and not answer.meets:
        return _broken_glass(desk, stage, answer, reason)
    if not answer.meets and not _finishes(desk, stage, answer):
        return _answer(desk, answer, moved=False)
    return _move(desk, "promote", stage, answer, reason)


def _finishes(desk: Desk, stage: Stage, answer: Answer) -> bool:
    """Return whether all that stands against a move is what this move puts right.

    That is an alias or stage tag that did not follow a signed move, and an emergency that
    evidence has caught up with.
    """
    stands = gating.stage_of(desk.case, desk.version.number) == stage
    left = [f for f in answer.findings if not f.waiver]
    righted = {"alias", "break-glass"}
    return stands and all(f.code in righted or "tag harness.stage" in f.detail for f in left)


def _mover(desk: Desk) -> keys.TrustedKey:
    try:
        return desk.me("verifier")
    except RefusedByPolicy:
        return desk.me("approver")


def _broken_glass(desk: Desk, stage: Stage, answer: Answer, reason: str) -> dict[str, Any]:
    """Move although the gate is shut: an approver's key, a reason, and it stays visible.

    Nobody can break the glass for files or a lineage that are not what was signed.
    """
    desk.me("approver")
    desk.bound()
    never = {"tampered", "signature", "chain", "lineage-missing"}
    if blocked := [f for f in answer.findings if f.code in never]:
        raise RefusedByPolicy(
            f"no emergency lets this through: {blocked[0].detail}", "restore what was signed"
        )
    desk.progress.note(f"BREAK-GLASS: {desk.version.uri} to {stage} against the gate: {reason}")
    return _move(desk, "break-glass", stage, answer, reason)


def _nothing(desk: Desk, stage: Stage) -> Answer:
    return gating.evaluate(desk.case, desk.policy, Asked(stage, keys.now()))


def _move(desk: Desk, kind: str, stage: Stage, answer: Answer, reason: str) -> dict[str, Any]:
    desk.bound()
    relied = [s.digest for s in answer.approvals]
    relied += [f.waiver for f in answer.findings if f.waiver]
    step = stages.Step(
        kind,
        stage,
        answer.deciding.digest if answer.deciding else "",
        desk.policy.digest,
        tuple(dict.fromkeys(relied)),
        _mover(desk).name,
        reason.strip() or f"{kind} by harness",
    )
    made = stages.take(desk.registry, desk.case, step, desk.signing.key, desk.signing.trust)
    desk.case = desk.read()
    stages.remember(desk.house.home, desk.case)
    return {
        **_answer(desk, answer, moved=made is not None),
        "kind": kind,
        "replaced": made.value.replaces if made else "",
        "exit_code": 0,
    }


def _roll_back(
    settings: Settings, desk: Desk, stage: Stage, reason: str, progress: Progress
) -> dict[str, Any]:
    """Go back to the last archived version that was in this stage and is still good."""
    if stage != Stage.PRODUCTION:
        raise UsageError("a rollback is to Production", "--to Production")
    _mover(desk)
    refused = []
    for number in _archived(desk):
        back = Desk(settings, f"models:/{desk.version.name}/{number}", progress)
        answer = back.evaluate(stage, rollback=True)
        if answer.meets:
            return _move(back, "rollback", stage, answer, reason)
        refused.append(f"version {number}: {answer.findings[0].detail}")
    raise RefusedByPolicy(
        "; ".join(refused) or f"no earlier version of {desk.version.name} was in Production",
        "promote another version, or --break-glass by an approver",
    )
