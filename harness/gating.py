"""Pure: the evidence of a version + a policy -> may it have a stage, and every reason why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parseaddr
from fnmatch import fnmatchcase
from typing import Any

from harness.attestations.governance import Approval, Move, Waiver
from harness.attestations.keys import TrustedKey
from harness.casefile import CaseFile
from harness.model import Grade, Outcome, Stage
from harness.movechain import CLOCK_SKEW
from harness.policy import STAGED, Criteria, Policy, Refusal, refusals
from harness.reading import Signed
from harness.reporters.words import leaves

Record = Signed[Mapping[str, Any]]


@dataclass(frozen=True)
class Asked:
    """What is asked of the gate.

    `now` is UTC, RFC 3339; `requester` the identity of who wants the move, empty for nobody yet;
    `comparators` the ones in force now as `name@version`, empty to trust the record's own.
    """

    stage: Stage
    now: str
    requester: str = ""
    comparators: tuple[str, ...] = ()
    rollback: bool = False


@dataclass(frozen=True)
class Finding:
    """One reason against: its code, the reason in words, and the waiver that sets it aside."""

    code: str
    detail: str
    waiver: str = ""


@dataclass(frozen=True)
class Answer:
    """What the gate found: it is open when every finding is waived."""

    findings: tuple[Finding, ...]
    criteria: Criteria
    deciding: Record | None
    approvals: tuple[Signed[Approval], ...]
    asked: Stage
    notes: tuple[str, ...]

    @property
    def meets(self) -> bool:
        """Return whether nothing stands against it."""
        return all(f.waiver for f in self.findings)

    @property
    def exit_code(self) -> int:
        """Return the exit code of design section 3."""
        codes = {f.code for f in self.findings if not f.waiver}
        if not codes:
            return 0
        if codes & {"diverged", "tampered"}:
            return 1
        if codes == {"error"}:
            return 4
        return 3 if codes <= {"inconclusive", "lineage", "unavailable", "rerun-failed"} else 5


def evaluate(
    case: CaseFile, policy: Policy, asked: Asked, more: tuple[Refusal, ...] = ()
) -> Answer:
    """Decide from evidence alone; nothing is retrained, downloaded or changed.

    Args: `more` is what was found outside the evidence, such as files that no longer have their
    digest.
    """
    criteria = policy.criteria(case.version.name, asked.stage)
    if asked.rollback:
        # It was let through once; an emergency is no time to retrain. What it then was is checked.
        criteria = replace(criteria, max_age=None)
    stage = stage_of(case, case.version.number)
    deciding = _deciding(case)
    approvals, against = _approvals(case, policy, criteria, asked, deciding)
    found = [
        *case.problems,
        *more,
        *_aliases(case, asked),
        *_order(case, asked, stage),
        *_evidence(case, criteria, asked, deciding),
        *against,
    ]
    findings = tuple(_waived(case, criteria, asked, r) for r in dict.fromkeys(found))
    notes = (*case.notes, *_notes(case, policy, deciding))
    return Answer(findings, criteria, deciding, approvals, asked.stage, notes)


def stage_of(case: CaseFile, number: str) -> Stage:
    """Return the stage that the signed moves of the model give a version."""
    held = holders(case.moves)
    for stage in reversed(STAGED):
        if held.get(stage) == number:
            return stage
    moved = any(
        m.value.replaces == number
        or (m.value.binding.version == number and m.value.stage == Stage.ARCHIVED)
        or (m.value.binding.version == number and m.value.stage == Stage.PRODUCTION)
        for m in case.moves
    )
    return Stage.ARCHIVED if moved else Stage.DEVELOPMENT


def holders(moves: tuple[Signed[Move], ...]) -> dict[Stage, str]:
    """Return which version holds which stage after these moves."""
    held: dict[Stage, str] = {}
    for move in moves:
        number, stage = move.value.binding.version, move.value.stage
        # One version stands at one stage: a step to Production leaves Staging empty.
        held = {s: v for s, v in held.items() if v != number}
        if stage != Stage.ARCHIVED:
            held[stage] = number
    return held


def _deciding(case: CaseFile) -> Record | None:
    """Return the newest record that says something about the model: an ERROR never does."""
    said = tuple(r for r in case.records if r.value["outcome"] != Outcome.ERROR)
    found = said or case.records
    return found[-1] if found else None


def _evidence(
    case: CaseFile, criteria: Criteria, asked: Asked, deciding: Record | None
) -> Iterator[Refusal]:
    if deciding is None:
        uri = case.version.uri
        yield Refusal("no-evidence", f"no trusted verifier has judged it yet: harness verify {uri}")
        return
    own = list(_one(criteria, asked, deciding))
    yield from own
    conditions = set(deciding.value["conditional"])
    for record in case.records:
        found = record.value
        # A later verification does not wash away an earlier difference.
        earlier = found["outcome"] == Outcome.DIVERGED and set(found["conditional"]) <= conditions
        if earlier and record is not deciding:
            when = found["created_at"]
            yield Refusal("diverged", f"record {record.digest[:12]} of {when} found a difference")
    # What is refused in the deciding record is said once; others may share it, and nothing more.
    shared = {r.code for r in own}
    good = [r for r in case.records if {x.code for x in _one(criteria, asked, r)} <= shared]
    people = {r.key.person for r in good}
    hosts = {str(r.value.get("verifier", {}).get("host", "")) for r in good} - {""}
    if len(people) < criteria.verifiers:
        yield Refusal("verifiers", f"{len(people)} of {criteria.verifiers} verifiers agree")
    elif criteria.distinct_hosts and len(hosts) < criteria.verifiers:
        yield Refusal("verifiers", f"the verifiers agree on {len(hosts)} distinct hosts only")
    below_exact = deciding.value["grade"] and not Grade(deciding.value["grade"]).meets(Grade.EXACT)
    if below_exact and len(good) < criteria.agreeing_runs:
        yield Refusal("runs", f"{len(good)} of {criteria.agreeing_runs} verifications agree")


def _one(criteria: Criteria, asked: Asked, record: Record) -> Iterator[Refusal]:
    """Yield what speaks against one record, by itself and by its age."""
    found = record.value
    yield from refusals(criteria, found)
    age = _time(asked.now) - _time(str(found["created_at"]))
    if age < -CLOCK_SKEW:
        yield Refusal("clock", f"record {record.digest[:12]} is dated in the future")
    if criteria.max_age is not None and age.total_seconds() > criteria.max_age:
        days = f"{age.total_seconds() / 86400:.1f} days old, at most {criteria.max_age / 86400:g}"
        yield Refusal("stale", f"STALE: the verdict is {days}: harness verify")
    if changed := _changed_comparators(found, asked.comparators):
        yield Refusal("stale", f"STALE: comparator changed since: {', '.join(changed)}")


def _changed_comparators(record: Mapping[str, Any], now: tuple[str, ...]) -> list[str]:
    """Return the comparators that this verdict rests on and that are others now.

    Equal bytes are equal whatever compares them.
    """
    was = dict(c.rpartition("@")[::2] for c in record.get("comparators", ()))
    current = dict(c.rpartition("@")[::2] for c in now)
    if not current:
        return []
    used = set()
    for artifact in record.get("artifacts", ()):
        if artifact.get("grade") != Grade.BITWISE:
            used |= {n.get("comparator", "") for _, n in leaves(artifact.get("difference") or {})}
    return sorted(n for n in used if n in was and was[n] != current.get(n))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


_FROM = {"promote": {Stage.STAGING, Stage.PRODUCTION}, "rollback": {Stage.ARCHIVED}}


def _aliases(case: CaseFile, asked: Asked) -> Iterator[Refusal]:
    """Yield aliases and stage tags that are not where the signed moves put them."""
    held, mine = holders(case.moves), case.version.number
    told = {m.value.stage for m in case.moves}
    for stage in STAGED:
        actual, signed = case.aliases.get(stage.alias, ""), held.get(stage, "")
        if actual == signed or not told & set(STAGED):
            continue
        if mine in (actual, signed) or stage == asked.stage:
            yield Refusal(
                "alias",
                f"alias {stage.alias} stands at version {actual or 'none'}, the signed moves put "
                f"it at {signed or 'none'}: it was moved behind our back, or a promotion was cut "
                f"off (harness promote models:/{case.version.name}/{signed or 'N'} --to {stage})",
            )
    tag, signed_stage = case.info.tags.get("harness.stage", ""), stage_of(case, mine)
    if tag and tag != signed_stage:
        yield Refusal("tags", f"tag harness.stage is {tag!r}, the signed moves say {signed_stage}")


def _order(case: CaseFile, asked: Asked, stage: Stage) -> Iterator[Refusal]:
    if asked.rollback:
        if stage != Stage.ARCHIVED:
            yield Refusal("order", f"it is {stage}: a rollback goes to an archived version")
    elif asked.stage == Stage.PRODUCTION and stage not in {Stage.STAGING, Stage.PRODUCTION}:
        yield Refusal(
            "order", f"it is {stage}: to Production a version comes from Staging, step by step"
        )
    last = entry(case, case.version.number)
    if stage == asked.stage == Stage.PRODUCTION and last:
        # Who may sign a move can sign one without asking the gate.
        came = replace(case, moves=case.moves[: case.moves.index(last)])
        before, kind = stage_of(came, case.version.number), last.value.kind
        if before not in _FROM.get(kind, {before}):
            yield Refusal("order", f"it came to Production from {before} by {kind}")
    if stage == asked.stage and last and last.value.kind == "break-glass":
        by = f"{last.value.created_at}, by {last.value.printed_name}: {last.value.reason}"
        yield Refusal("break-glass", f"it stands at {stage} by break-glass since {by}")


def entry(case: CaseFile, number: str) -> Signed[Move] | None:
    """Return the move by which a version came to where it stands."""
    own = [m for m in case.moves if m.value.binding.version == number]
    return own[-1] if own else None


def _relied(
    case: CaseFile, asked: Asked, deciding: Record | None, policy: Policy
) -> tuple[str, str]:
    """Return the record and the policy that an approval has to name.

    A version that stands at the stage already was approved under the record and the policy of
    then: a newer nightly record does not ask its approvers again.
    """
    last = entry(case, case.version.number)
    stands = stage_of(case, case.version.number) == asked.stage
    if last and (stands and last.value.kind != "break-glass"):
        return last.value.record_digest, last.value.policy_digest
    if asked.rollback:
        before = [
            m
            for m in case.moves
            if m.value.binding.version == case.version.number and m.value.stage == asked.stage
        ]
        if before:
            return before[-1].value.record_digest, before[-1].value.policy_digest
    return (deciding.digest if deciding else ""), policy.digest


def _approvals(
    case: CaseFile, policy: Policy, criteria: Criteria, asked: Asked, deciding: Record | None
) -> tuple[tuple[Signed[Approval], ...], list[Refusal]]:
    """Return the approvals that count, one a person, and what is wrong with the others."""
    relied = _relied(case, asked, deciding, policy)
    counted: dict[str, Signed[Approval]] = {}
    against: list[Refusal] = []
    # The last word of each person; within one second a rejection is the last.
    spoken = sorted(
        (s for s in case.approvals if s.value.stage == asked.stage),
        key=lambda s: (s.value.created_at, s.value.decision == "rejected"),
    )
    latest = {s.key.person: s for s in spoken}
    reasons = []
    for signed in latest.values():
        who = f"{signed.value.printed_name} ({signed.key.keyid[:12]})"
        if signed.value.decision == "rejected":
            against.append(Refusal("rejected", f"{who} rejected it: {signed.value.reason}"))
        elif why := _not_counted(case, criteria, asked, signed, relied):
            reasons.append(f"{who}: {why}")
        else:
            counted[signed.key.person] = signed
    if len(counted) < criteria.approvals:
        detail = f"{len(counted)} of {criteria.approvals} approvals for {asked.stage}"
        against.append(Refusal("approvals", "; ".join([detail, *reasons])))
    return tuple(counted.values()), against


def _not_counted(
    case: CaseFile,
    criteria: Criteria,
    asked: Asked,
    signed: Signed[Approval],
    relied: tuple[str, str],
) -> str:
    """Return why an approval does not count; empty when it does."""
    found, key = signed.value, signed.key
    if found.record_digest != relied[0]:
        return "given before the last verification, for another record"
    if _time(found.created_at) > _time(asked.now) + CLOCK_SKEW:
        return "dated in the future"
    if found.policy_digest != relied[1]:
        return "given under another policy"
    if criteria.approvers and not _among(key, criteria.approvers):
        return "not among the approvers that the policy names"
    return _same_eyes(case, asked, key) if criteria.four_eyes else ""


def _among(key: TrustedKey, people: tuple[str, ...]) -> bool:
    return key.person in {p.casefold() for p in people}


def _same_eyes(case: CaseFile, asked: Asked, key: TrustedKey) -> str:
    """Return why this person may not be the second pair of eyes; stable identities decide."""
    if not key.identity:
        return "its key has no identity in the trust file, so four eyes cannot be shown"
    if key.person in {asked.requester, _promoter(case, asked)}:
        return "the same person asks for the promotion"
    if case.lineage is not None:
        if key.person == case.lineage.key.person:
            return "the same person recorded the version"
        author = parseaddr(case.lineage.value.author)
        if key.person in {part.casefold() for part in author if part}:
            return "the same person is the author of the training"
    return ""


def _promoter(case: CaseFile, asked: Asked) -> str:
    """Return who moved a version to the stage where it stands; an emergency is its own finding.

    A move is signed by whoever has a key for it, whatever command made it.
    """
    number = case.version.number
    if stage_of(case, number) != asked.stage:
        return ""
    own = [
        m
        for m in case.moves
        if m.value.binding.version == number
        and (m.value.stage, m.value.kind) == (asked.stage, "promote")
    ]
    return own[-1].key.person if own else ""


def _waived(case: CaseFile, criteria: Criteria, asked: Asked, refusal: Refusal) -> Finding:
    """Return the refusal as finding, with the waiver that sets it aside where one does."""
    for signed in case.waivers:
        if signed.value.code == refusal.code and not unwaivable(
            case, criteria, asked, signed.value, signed.key, refusal
        ):
            return Finding(refusal.code, refusal.detail, signed.digest)
    return Finding(refusal.code, refusal.detail)


def unwaivable(
    case: CaseFile,
    criteria: Criteria,
    asked: Asked,
    waiver: Waiver,
    key: TrustedKey,
    refusal: Refusal,
) -> str:
    """Return why a waiver does not set a finding aside; empty when it does."""
    codes = [c for c in criteria.waivable if c.partition(":")[0] == refusal.code]
    if not any(fnmatchcase(refusal.detail, c.partition(":")[2] or "*") for c in codes):
        allowed = ", ".join(criteria.waivable) or "nothing"
        return f"the policy does not let {refusal.code!r} be waived ({allowed})"
    if waiver.stage != asked.stage:
        return f"it is for {waiver.stage}"
    if not _time(waiver.created_at) <= _time(asked.now) + CLOCK_SKEW:
        return "it is dated in the future"
    if _time(waiver.expires_at) <= _time(asked.now):
        return f"it expired at {waiver.expires_at}"
    if criteria.waivers_by and not _among(key, criteria.waivers_by):
        return "the policy does not let this person waive"
    return _same_eyes(case, asked, key) if criteria.four_eyes else ""


def _notes(case: CaseFile, policy: Policy, deciding: Record | None) -> Iterator[str]:
    if deciding is not None and deciding.value["policy"]["digest"] != policy.digest:
        yield (
            f"record {deciding.digest[:12]} was made under another policy; "
            "it was decided again under the one in force"
        )
    if not case.moves:
        for alias, number in sorted(case.aliases.items()):
            yield f"alias {alias} stands at version {number}, set outside harness"
    if case.info.stage:
        yield f"the registry's old stage is {case.info.stage}; signed moves decide"
    for signed in case.approvals:
        found = signed.value
        if found.decision == "rejected":
            yield f"rejected for {found.stage} by {found.printed_name} at {found.created_at}"
