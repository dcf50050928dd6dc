"""`audit`: the evidence of one version as a dossier that stands on its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import casefile, evidence, facts, policy, shelf, stages
from harness.attestations import files, keys
from harness.attestations.governance import TIME
from harness.casefile import CaseFile
from harness.dossier import archive, rendering
from harness.dossier.index import INDEX, SIGNED, index
from harness.errors import UsageError
from harness.facts import POLICY, TRUST, VALUE, Question, Subject
from harness.house import House
from harness.offline import ROLES
from harness.progress import Progress, Quiet, timed
from harness.reading import Source
from harness.record import canonical, digest, plain
from harness.settings import Settings

SCHEMA = 1
QUIET = Quiet()


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
    version = facts.asked(registry, model, question, signing.trust)
    target = output or settings.output_dir / f"dossier-{version.name}-{version.number}"
    archive.free(target)
    if verify:
        from harness import app

        app.verify(settings, version.uri, progress=progress)
    with timed(progress, "collect"):
        waiting, seen = evidence.waiting(version, signing), stages.seen(house.home, version)
        case = casefile.read(registry, version, signing.trust, waiting, seen)
        found, problems = _collect(house, registry, case, question, subject or Subject())
    with timed(progress, "write"):
        signed = {**found, INDEX: index(found)}
        signed[SIGNED] = files.sign_file(INDEX, signed[INDEX], signing.key, kind=files.DOSSIER)
        archive.write(target, signed)
    answer = facts.decided(case, house.policy(), keys.now())
    return {
        "schema": SCHEMA,
        "model": version.name,
        "version": version.number,
        "dossier": str(target),
        "files": len(signed),
        "index_digest": digest(signed[INDEX]),
        "meets": answer.meets,
        "findings": [{"code": f.code, "detail": f.detail} for f in answer.findings],
        "problems": list(problems),
        "warnings": list(_unaccepted(signing)),
        "exit_code": 5 if problems else 0,
    }


def _unaccepted(signing: evidence.Signing) -> Iterator[str]:
    """Yield why `audit-verify` would refuse what our key signs, by the trust file in force."""
    keyid, trust = signing.key.keyid, signing.trust
    mine = next((k for k in trust.keys if k.keyid == keyid), None)
    if mine is None:
        yield f"key {keyid[:12]} signed this and is not in {trust.where}: audit-verify refuses it"
    elif all(refused := [mine.refusal(role, keys.now()) for role in ROLES]):
        yield f"{refused[0]}: audit-verify refuses what it signed"


def _moment(text: str) -> str:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise UsageError(f"--at {text!r}: not a time with its zone", "write 2026-09-01T12:00Z")
    if when > datetime.now(UTC):
        raise UsageError(f"--at {text!r}: that time has not come", "leave --at out for now")
    return when.astimezone(UTC).strftime(TIME)


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
    problems = facts.problems_of(taken, case, house.signing().trust)
    value = facts.compose(case, rules, keys.now(), question, subject, problems)
    taken[VALUE] = canonical(value)
    for record in case.records:
        decision = plain(policy.decide(rules, record.value))
        for reporter in house.reporters().values():
            text = reporter.render(record.value, decision)
            taken[f"reports/{record.digest[:32]}{reporter.suffix}"] = text.encode()
    return {**taken, **rendering.render(value, taken)}, problems
