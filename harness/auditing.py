"""`audit` and `audit-verify`: the evidence of one version as a dossier that stands on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import __version__, casefile, evidence, gating, policy, policyfile, shelf, stages
from harness.attestations import dsse, files, keys
from harness.attestations.dsse import BadEvidence
from harness.attestations.governance import TIME
from harness.casefile import CaseFile, Source
from harness.dossier import archive, rendering
from harness.dossier.index import SIGNED, index, listed
from harness.dossier.model import Dossier
from harness.errors import HarnessError, RefusedByPolicy, UsageError
from harness.files import digest as file_digest
from harness.files import walk
from harness.gating import Answer, Asked
from harness.house import House
from harness.model import Role, Stage, Version
from harness.policy import Policy
from harness.progress import Progress, Quiet, timed
from harness.record import canonical, digest, plain
from harness.settings import Settings

SCHEMA = 1
QUIET = Quiet()
VALUE, TRUST, POLICY = "dossier.json", "trust.toml", "policy.toml"
ROLES = ("verifier", "approver", "recorder", "policy")


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


def audit(
    settings: Settings,
    model: str,
    output: Path | None,
    *,
    alias: str = "",
    at: str = "",
    verify: bool = False,
    subject: Subject | None = None,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Write the dossier of a version: a folder, or a zip when the name ends in .zip.

    Raises: UsageError when the target exists; RefusedByPolicy when no version had the alias then.
    """
    house = House(settings, progress)
    registry, signing = house.registry(), house.signing()
    question = Question(alias, _moment(at) if at else "")
    version = _asked(registry, model, question, signing.trust)
    target = output or settings.output_dir / f"dossier-{version.name}-{version.number}"
    archive.free(target)
    if verify:
        from harness import app

        app.verify(settings, version.uri, progress=progress)
    with timed(progress, "collect"):
        case = casefile.read(
            registry,
            version,
            signing.trust,
            evidence.waiting(version, signing),
            stages.seen(house.home, version),
        )
        found, problems = _collect(house, registry, case, question, subject or Subject())
    with timed(progress, "write"):
        signed = {**found, "index.json": index(found)}
        signed[SIGNED] = files.sign_file(
            "index.json", signed["index.json"], signing.key, kind=files.DOSSIER
        )
        archive.write(target, signed)
    answer = _decide(case, house.policy(), keys.now())
    return {
        "schema": SCHEMA,
        "model": version.name,
        "version": version.number,
        "dossier": str(target),
        "files": len(signed),
        "index_digest": digest(signed["index.json"]),
        "meets": answer.meets,
        "findings": [{"code": f.code, "detail": f.detail} for f in answer.findings],
        "problems": list(problems),
        "exit_code": 5 if problems else 0,
    }


def _moment(text: str) -> str:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise UsageError(f"--at {text!r}: not a time with its zone", "write 2026-09-01T12:00Z")
    return when.astimezone(UTC).strftime(TIME)


def _asked(source: Source, model: str, question: Question, trust: keys.Trust) -> Version:
    """Return the version that is asked for; at a past time the signed moves answer."""
    if not question.alias:
        if question.at:
            raise UsageError("--at goes with --alias", "--alias production")
        return source.resolve(model)
    name = model.removeprefix("models:/").partition("@")[0].partition("/")[0]
    stage = next((s for s in Stage if s.alias and s.alias == question.alias.casefold()), None)
    if stage is None:
        raise UsageError(f"--alias {question.alias}: not a stage's alias", "staging or production")
    moves = casefile.history(source, Version(source.uri, name, ""), trust)
    until = question.at or keys.now()
    held = gating.holders(tuple(m for m in moves if m.value.created_at <= until))
    if stage not in held:
        raise RefusedByPolicy(
            f"no signed move had put a version of {name} in {stage} by {until}",
            "harness audit models:/Name/N names a version itself",
        )
    return Version(source.uri, name, held[stage])


def _collect(
    house: House, source: Source, case: CaseFile, question: Question, subject: Subject
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return every file of the dossier but its index, and what is wrong with the evidence."""
    rules, trust = house.policy(), house.trust_file()
    taken = shelf.take(source, case)
    taken[POLICY] = rules.text.encode()
    if house.settings.policy and (signed := house.signature_of(house.settings.policy)):
        taken[f"{POLICY}.intoto.json"] = signed
    taken[TRUST] = trust.read_bytes() if trust.exists() else b""
    problems = _problems(taken, case, house.signing().trust)
    value = compose(case, rules, keys.now(), question, subject, problems)
    taken[VALUE] = canonical(value)
    for record in case.records:
        decision = plain(policy.decide(rules, record.value))
        for reporter in house.reporters().values():
            text = reporter.render(record.value, decision)
            taken[f"reports/{record.digest[:32]}{reporter.suffix}"] = text.encode()
    return {**taken, **rendering.render(value, taken)}, problems


def _problems(found: Mapping[str, bytes], case: CaseFile, trust: keys.Trust) -> tuple[str, ...]:
    return (*(p.detail for p in case.problems), *shelf.beside(found, case, trust))


def _decide(case: CaseFile, rules: Policy, now: str) -> Answer:
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
    answer, version = _decide(case, rules, made_at), case.version
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
        approvals=tuple(
            {
                **_signed(s),
                **{k: plain(s.value)[k] for k in ("decision", "stage", "reason", "meaning")},
                "record_digest": s.value.record_digest,
                "policy_digest": s.value.policy_digest,
            }
            for s in case.approvals
        ),
        waivers=tuple(
            {
                **_signed(s),
                **{k: plain(s.value)[k] for k in ("code", "stage", "reason", "expires_at")},
            }
            for s in case.waivers
        ),
        moves=tuple(
            {
                **_signed(s),
                "alias": s.value.stage.alias,
                "stage": str(s.value.stage),
                "version": s.value.binding.version,
                "previous_version": s.value.replaces,
                "kind": s.value.kind,
                "reason": s.value.reason,
            }
            for s in case.moves
        ),
        problems=problems,
        notes=case.notes,
        made_at=made_at,
        tool=f"repro-harness {__version__}",
    )


def _signed(signed: casefile.Signed[Any]) -> dict[str, Any]:
    return {
        "printed_name": signed.value.printed_name,
        "identity": signed.key.identity,
        "keyid": signed.key.keyid,
        "created_at": signed.value.created_at,
        "digest": signed.digest,
    }


def audit_verify(
    settings: Settings, dossier: Path, *, trust: Path | None = None, model: Path | None = None
) -> dict[str, Any]:
    """Check a dossier with nothing but its own files and the trust file.

    Args: `trust` is the operator's trust file (else the one configured); `model` a folder with
    the model's files, to be held against the signed manifest as well.
    Raises: BadEvidence when the dossier is not whole; UsageError without a trust file.
    """
    whom = _trust(settings, trust)
    found = archive.read(dossier)
    _whole(found, whom)
    held = shelf.Shelf(found)
    case = casefile.read(held, held.version, whom)
    rules, value = _own_policy(found, whom), _value(found)
    problems = list(_problems(found, case, whom))
    problems += _same_facts(case, rules, value, tuple(problems))
    problems += _same_version(held, value, whom)
    if model is not None:
        problems += _model_files(case, model)
    answer = _decide(case, rules, str(value["made_at"]))
    code = 5 if problems else answer.exit_code
    return {
        "schema": SCHEMA,
        "dossier": str(dossier),
        "model": held.version.name,
        "version": held.version.number,
        "registry": held.uri,
        "whole": not problems,
        "problems": problems,
        "outcome": answer.deciding.value["outcome"] if answer.deciding else "",
        "grade": answer.deciding.value["grade"] if answer.deciding else None,
        "meets": answer.meets and not problems,
        "findings": [
            {"code": f.code, "detail": f.detail, "waived": f.waiver} for f in answer.findings
        ],
        "proves": _proves(case, answer) if not problems else [],
        "does_not_prove": list(LIMITS),
        "trust": whom.where,
        "index_digest": digest(found["index.json"]),
        "notes": list(case.notes),
        "exit_code": code,
    }


LIMITS = (
    "that the training code, its data or the model are fit for their use",
    "that the signers looked at what they signed, or that their keys were not stolen",
    "when something was signed, beyond what the signers' own clocks said",
    "that nothing newer exists than what this dossier holds",
    "that the model can still be made again today: harness verify does",
)


def _trust(settings: Settings, trust: Path | None) -> keys.Trust:
    path = trust or House(settings, QUIET).trust_file()
    if not path.is_file():
        raise UsageError(
            f"{path}: no trust file; a dossier cannot say itself whom to trust",
            "name the operator's file with --trust",
        )
    return keys.read_trust(path)


def _whole(found: Mapping[str, bytes], whom: keys.Trust) -> None:
    """Hold every file against the signed index.

    Raises: BadEvidence naming the first file that is changed, added or missing.
    """
    if SIGNED not in found or "index.json" not in found:
        raise BadEvidence("not a dossier: it has no signed index", "make one with harness audit")
    reasons = []
    for role in ROLES:
        try:
            files.verify_file(found["index.json"], found[SIGNED], whom, role, files.DOSSIER)
            break
        except dsse.UnknownSigner as error:
            reasons.append(error)
    else:
        raise reasons[0]
    expected = listed(found["index.json"])
    mine = {p for p in found if p not in {"index.json", SIGNED}}
    for path in sorted(expected.keys() | mine):
        if path not in mine:
            raise BadEvidence(f"{path}: missing from the dossier")
        if path not in expected:
            raise BadEvidence(f"{path}: not part of the dossier as it was signed")
        if expected[path] != digest(found[path]):
            raise BadEvidence(f"{path}: no longer has its signed sha256")


def _own_policy(found: Mapping[str, bytes], whom: keys.Trust) -> Policy:
    text = found.get(POLICY, b"")
    if any("policy" in key.roles for key in whom.keys):
        if (signed := found.get(f"{POLICY}.intoto.json")) is None:
            raise BadEvidence(f"{POLICY}: not signed, and the trust file says who signs it")
        files.verify_file(text, signed, whom)
    try:
        return policyfile.parse(text.decode(), POLICY)
    except (UnicodeDecodeError, UsageError) as error:
        raise BadEvidence(f"{POLICY}: {error}") from None


def _value(found: Mapping[str, bytes]) -> dict[str, Any]:
    value = dsse.strict_json(found.get(VALUE, b""))
    if value.get("schema", SCHEMA) != SCHEMA:
        raise BadEvidence(f"{VALUE}: schema {value.get('schema')!r} is not known", "upgrade")
    return value


def _same_facts(
    case: CaseFile, rules: Policy, value: Mapping[str, Any], problems: tuple[str, ...]
) -> list[str]:
    """Return where the dossier says otherwise than its own evidence does."""
    try:
        asked = value["question"]["asked"]
        question = Question(str(asked["alias"]), str(asked["at"]))
        subject = Subject(*(str(value[k]) for k in ("intended_use", "owner", "risk_tier")))
        made_at = str(value["made_at"])
        again = plain(compose(case, rules, made_at, question, subject, problems))
    except (KeyError, TypeError, ValueError) as error:
        return [f"{VALUE}: cannot be read: {error!r}"]
    # Another release may say more, or the operator's file may have another place.
    told = {k: v for k, v in again.items() if k not in {"tool", "policy", "notes"}}
    return [
        f"{VALUE}: {key} is not what the evidence says"
        for key in told
        if canonical(told[key]) != canonical(value.get(key))
    ]


def _same_version(held: shelf.Shelf, value: Mapping[str, Any], whom: keys.Trust) -> list[str]:
    asked = value.get("question", {}).get("asked", {})
    if not asked.get("alias"):
        return []
    try:
        version = _asked(held, held.version.name, Question(asked["alias"], asked["at"]), whom)
    except HarnessError as error:
        return [error.message]
    if version.number == held.version.number:
        return []
    return [f"the signed moves say version {version.number} had the alias, not this one"]


def _model_files(case: CaseFile, model: Path) -> list[str]:
    if case.lineage is None or not model.is_dir():
        return [f"{model}: no folder, or no lineage to hold it against"]
    listed_files = {f.path: f.sha256 for f in case.lineage.value.outputs if f.role == Role.MODEL}
    mine = {p: file_digest(model / p)[0] for p in walk(model)}
    return [
        f"{path}: not the file that was recorded"
        for path in sorted(listed_files.keys() | mine.keys())
        if listed_files.get(path) != mine.get(path)
    ]


def _proves(case: CaseFile, answer: Answer) -> list[str]:
    """Return in words what whole evidence proves."""
    uri = case.version.uri
    lines = [f"every file of the dossier is as it was signed, and all evidence is about {uri}"]
    if case.lineage:
        made = case.lineage.value
        lines.append(
            f"{case.lineage.key.name} signed that it was made from commit {made.code.commit[:12]} "
            f"of {made.code.url}, {len(made.data)} data files and lock "
            f"{made.environment.lock_sha256[:12]}"
        )
    if answer.deciding:
        found = answer.deciding.value
        verdict = " ".join(
            str(v) for v in (found["outcome"], found["grade"] or found["cause"]) if v
        )
        who, when = answer.deciding.key.name, found["created_at"]
        lines.append(f"{who} signed that making it again at {when} ended as {verdict}")
    lines += [
        f"{a.value.printed_name} signed {a.value.meaning} for {a.value.stage} at "
        f"{a.value.created_at}: {a.value.reason}"
        for a in answer.approvals
    ]
    word = "meets" if answer.meets else "does not meet"
    return [*lines, f"under the policy in the dossier it {word} what {answer.asked} asks"]
