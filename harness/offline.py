"""`audit-verify`: a dossier checked with nothing but its own files and the trust file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import casefile, facts, policyfile, shelf
from harness.attestations import dsse, files, keys
from harness.attestations.dsse import BadEvidence
from harness.attestations.trust import parse_trust
from harness.casefile import CaseFile
from harness.dossier import archive, rendering
from harness.dossier.index import INDEX, SIGNED, listed
from harness.dossier.model import Dossier
from harness.errors import HarnessError, UsageError
from harness.facts import POLICY, TRUST, VALUE, Question, Subject
from harness.files import digest as file_digest
from harness.files import walk
from harness.gating import Answer
from harness.house import House
from harness.model import Role
from harness.policy import Policy
from harness.progress import Quiet
from harness.record import canonical, digest, load, plain
from harness.reporters import words
from harness.settings import Settings

SCHEMA = 1
# What every dossier of schema 1 says; a member that is added later is not asked of an old one.
SINCE_1 = {
    *("question", "stage", "lineage", "lineage_digest", "records", "deciding", "decision"),
    *("approvals", "waivers", "moves", "problems"),
}
FREE = {"tool", "notes"}
ROLES = ("verifier", "approver", "recorder", "policy")


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
    maker = _whole(found, whom)
    held = shelf.Shelf(found)
    case = casefile.read(held, held.version, whom)
    rules, value = _own_policy(found, whom), _value(found)
    problems = list(facts.problems_of(found, case, whom))
    problems += _same_facts(case, rules, value, tuple(problems))
    problems += _same_version(held, value, whom)
    problems += _same_names(found, whom)
    problems += _same_forms(found, value, problems)
    if model is not None:
        problems += _model_files(case, model)
    answer = facts.decided(case, rules, str(value["made_at"]))
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
        "proves": _proves(case, answer, maker) if not problems else [],
        "does_not_prove": [*LIMITS, *_limits(value, whom)],
        "trust": whom.where,
        "index_digest": digest(found[INDEX]),
        "notes": list(case.notes),
        "exit_code": code,
    }


LIMITS = (
    "that the training code, its data or the model are fit for their use",
    "that the signers looked at what they signed, or that their keys were not stolen",
    "when something was signed, beyond what the signers' own clocks said",
    f"that the PDF, README.txt and reports/ say what {VALUE} says: its maker vouches for it",
    "that nothing newer exists than what this dossier holds",
    "that the model can still be made again today: harness verify does",
)


def _limits(value: Mapping[str, Any], whom: keys.Trust) -> list[str]:
    """Return what this dossier in particular leaves to the word of who made it."""
    found = []
    if not any("policy" in key.roles for key in whom.keys):
        found.append("that policy.toml is the operator's: the trust file names nobody who signs it")
    if value.get("tool") != facts.TOOL:
        made = words.plain(value.get("tool"), 80)
        found.append(f"that dossier.html says what {VALUE} says: {made} made it, not this release")
    return found


def _trust(settings: Settings, trust: Path | None) -> keys.Trust:
    path = trust or House(settings, Quiet()).trust_file()
    if not path.is_file():
        raise UsageError(
            f"{path}: no trust file; a dossier cannot say itself whom to trust",
            "name the operator's file with --trust",
        )
    return keys.read_trust(path)


def _whole(found: Mapping[str, bytes], whom: keys.Trust) -> keys.TrustedKey:
    """Hold every file against the signed index; return whose signature it has.

    Raises: BadEvidence naming the first file that is changed, added or missing.
    """
    if SIGNED not in found or INDEX not in found:
        raise BadEvidence("not a dossier: it has no signed index", "make one with harness audit")
    reasons = []
    for role in ROLES:
        try:
            maker = files.verify_file(found[INDEX], found[SIGNED], whom, role, files.DOSSIER)
            break
        except dsse.UnknownSigner as error:
            reasons.append(error)
    else:
        raise dsse.UnknownSigner(f"{SIGNED}: {reasons[0].message}", reasons[0].hint)
    expected = listed(found[INDEX])
    mine = {p for p in found if p not in {INDEX, SIGNED}}
    for path in sorted(expected.keys() | mine):
        if path not in mine:
            raise BadEvidence(f"{path}: missing from the dossier")
        if path not in expected:
            raise BadEvidence(f"{path}: not part of the dossier as it was signed")
        if expected[path] != digest(found[path]):
            raise BadEvidence(f"{path}: no longer has its signed sha256")
    return maker


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
        again = plain(facts.compose(case, rules, made_at, question, subject, problems))
    except (KeyError, TypeError, ValueError) as error:
        return [f"{VALUE}: cannot be read: {error!r}"]
    # A later release may say more, and words its notes otherwise; what is there has to be so.
    told = {k: v for k, v in again.items() if k in value or k in SINCE_1}
    said = {**value, "policy": _without_place(value.get("policy"))}
    told["policy"] = _without_place(again["policy"])
    return [
        f"{VALUE}: {key} is not what the evidence says"
        for key in sorted(told.keys() - FREE)
        if canonical(told[key]) != canonical(said.get(key))
    ]


def _without_place(policy: object) -> object:
    """Return what a dossier says of its policy, less where the file lay."""
    return {k: v for k, v in policy.items() if k != "uri"} if isinstance(policy, dict) else None


def _same_names(found: Mapping[str, bytes], whom: keys.Trust) -> list[str]:
    """Hold the names that the page prints for keys against the operator's."""
    try:
        named = parse_trust(found.get(TRUST, b"").decode(), TRUST)
    except (UnicodeDecodeError, UsageError) as error:
        return [f"{TRUST}: {error}"]
    ours = {k.keyid: k for k in whom.keys}
    return [
        f"{TRUST}: calls key {k.keyid[:12]} {k.name} ({k.identity or 'no identity'}), "
        f"{whom.where} calls it {ours[k.keyid].name} ({ours[k.keyid].identity or 'no identity'}); "
        "if it was renamed since, check with the trust file of then"
        for k in named.keys
        if k.keyid in ours and (k.name, k.identity) != (ours[k.keyid].name, ours[k.keyid].identity)
    ]


def _same_forms(
    found: Mapping[str, bytes], value: Mapping[str, Any], problems: list[str]
) -> list[str]:
    """Make the page and the inventory again: whoever signed the index may not have them lie.

    Another release words them otherwise, and facts that are wrong are named already.
    """
    if problems or value["tool"] != facts.TOOL:
        return []
    again = rendering.certain(load(Dossier, value, VALUE), found)
    return [
        f"{name}: does not say what {VALUE} says"
        for name, data in again.items()
        if found.get(name) != data
    ]


def _same_version(held: shelf.Shelf, value: Mapping[str, Any], whom: keys.Trust) -> list[str]:
    asked = value.get("question", {}).get("asked", {})
    if not asked.get("alias"):
        return []
    try:
        version = facts.asked(held, held.version.name, Question(asked["alias"], asked["at"]), whom)
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


def _proves(case: CaseFile, answer: Answer, maker: keys.TrustedKey) -> list[str]:
    """Return in words what whole evidence proves."""
    uri = case.version.uri
    lines = [
        f"every file of the dossier is as {maker.name} signed it, and all evidence is about {uri}"
    ]
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
        f"{a.key.name} signed {a.value.meaning} for {a.value.stage} at "
        f"{a.value.created_at}: {a.value.reason}"
        for a in answer.approvals
    ]
    word = "meets" if answer.meets else "does not meet"
    return [*lines, f"under the policy in the dossier it {word} what {answer.asked} asks"]
