"""The facts of a dossier as sentences for people; whatever is absent is said to be absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.dossier.model import Dossier, Facts
from harness.reporters import words

NONE: Facts = {}
NOBODY: Mapping[str, str] = {}
UNMOVED = "No version of this model was ever moved to a stage by a signed statement."
ABSENT = "not recorded"
_STRENGTH = {
    "BITWISE": "Strength: bit for bit, the strongest of five grades: every compared file has "
    "exactly the same bytes.",
    "EXACT": "Strength: exact, the second of five grades: every value has the same bits; only "
    "bytes without meaning differ, such as a time inside a file.",
    "TOLERANCE": "Strength: within tolerance, the third of five grades: values differ, each by no "
    "more than was declared before the run.",
    "BEHAVIOURAL": "Strength: same behaviour, the fourth of five grades: the predictions agree on "
    "the recorded probe inputs; the parameters need not.",
    "STATISTICAL": "Strength: statistical, the weakest of five grades: the metrics fall inside "
    "the interval that was fixed beforehand.",
}
_LIMITS = {
    "TOLERANCE": "It is not the same model number for number: it was accepted within bounds. "
    "The bounds and who gave which reason for them are under deviations.",
    "BEHAVIOURAL": "Agreement was tested on the recorded probe inputs only; on other inputs the "
    "two models may answer differently.",
    "STATISTICAL": "Two models with the same metrics may still decide single cases differently.",
}
_OTHERWISE = {
    "DIVERGED": "That it came out different does not show that the model is wrong: it shows that "
    "its recorded origin does not explain it.",
    "TAMPERED": "Which of the two is right, the record or what the registry has now, is not known "
    "from this alone.",
}
_UNJUDGED = "It was not judged: this speaks neither for the model nor against it."
_ALWAYS = (
    "Making a model again shows where it comes from. It does not show that the model, its data "
    "or its use are right, fair or fit for purpose.",
    "Signatures show which key signed, not that its holder looked, nor that no key was stolen.",
    "Times are those of the signers' own clocks; no independent time stamp is part of this "
    "dossier.",
    "Evidence that is newer than this dossier, or that was kept from it, cannot be in it.",
    "That it could be made again then does not show that it still can be: the code, data and "
    "packages must still be there. harness verify answers that.",
)


def said(text: object, absent: str = ABSENT, limit: int = 300) -> str:
    """Return untrusted text on one safe line, or what to say when there is none."""
    return words.plain(text, limit) if text not in (None, "", (), [], {}) else absent


def facts(value: Any) -> Facts:
    """Return a mapping, empty where the evidence has something else."""
    return value if isinstance(value, Mapping) else NONE


def listed(value: Any) -> list[Any]:
    """Return a list, empty where the evidence has something else."""
    return list(value) if isinstance(value, list | tuple) else []


def name(value: Dossier, limit: int = 120) -> str:
    """Return model and version."""
    asked = value.question
    number = words.plain(asked.get("version", "?"), 30)
    return f"{words.plain(asked.get('model', '?'), limit)} version {number}"


def question(value: Dossier) -> str:
    """Return what was asked, and the answer's first half: which version it is."""
    asked = facts(value.question.get("asked"))
    model, number = (words.plain(value.question.get(k, "?"), 120) for k in ("model", "version"))
    if not asked.get("alias"):
        return f"Version {number} of {model} was asked for by its number, not by an alias."
    alias, at = words.plain(asked["alias"], 40), words.plain(asked.get("at"), 40)
    if at:
        return (
            f"Which version of {model} carried the alias {alias} at {at} (UTC)? "
            f"By the signed moves it was version {number}."
        )
    return (
        f"Which version of {model} carries the alias {alias}? By the signed moves it was "
        f"version {number} when this dossier was made, at {words.plain(value.made_at, 40)}."
    )


def deciding(value: Dossier) -> Facts:
    """Return the record that decides; empty when no trusted verification was found."""
    found = next((facts(r) for key, r in value.records if key == value.deciding), NONE)
    return _shaped(found) if found else NONE


def _shaped(record: Facts) -> Facts:
    """Return a record whose parts are of the kind that every reader of them expects."""
    rows = {k: [r for r in listed(record.get(k)) if facts(r)] for k in ("runs", "artifacts")}
    lines = {k: listed(record.get(k)) for k in ("conditional", "reasons")}
    pairs = {k: facts(record.get(k)) for k in ("environment", "hardware")}
    both = {k: {side: facts(found) for side, found in pair.items()} for k, pair in pairs.items()}
    return {**record, **rows, **lines, **both, "verifier": facts(record.get("verifier"))}


def badge(value: Dossier) -> str:
    """Return outcome with grade or cause."""
    found = deciding(value)
    return words.verdict(found) if found else "NOT VERIFIED"


def verdict(value: Dossier) -> str:
    """Return the verdict as a sentence."""
    found = deciding(value)
    if not found:
        return (
            f"{name(value)} has no verification by a trusted key: nothing is claimed about "
            "whether it can be made again."
        )
    if found.get("outcome") == "DIVERGED":
        # A record's advice is for who repairs it; an auditor is told where to look.
        said_so = words.sentence(found).replace(" below", " in this dossier")
    else:
        said_so = words.sentence(found)
    return f"{said_so} Judged at {said(found.get('created_at'))} (UTC)."


def strength(value: Dossier) -> str:
    """Return how strong the claim is."""
    found = deciding(value)
    if found.get("outcome") != "REPRODUCED":
        return "Strength: none. This is no claim that the model can be made again."
    return _STRENGTH.get(str(found.get("grade")), "Strength: at a grade that is not known.")


def decision(value: Dossier) -> str:
    """Return what the policy makes of it, in one sentence; its reasons stand by themselves."""
    where = f"the operator's policy for {words.plain(value.stage, 40)}, where the version stands"
    if value.problems:
        return f"Its evidence is not whole, so it does NOT meet {where}."
    answer = "meets" if value.decision.get("meets") else "does NOT meet"
    return f"By the evidence in this dossier it {answer} {where}."


def reasons(value: Dossier) -> list[str]:
    """Return why the policy refuses; a refusal without a reason is said to have none."""
    found = [words.plain(r, 600) for r in listed(value.decision.get("reasons"))]
    return found or ([] if value.decision.get("meets") else ["no reason was recorded"])


def passes(value: Dossier) -> bool:
    """Return whether a page may look good: reproduced, accepted, and nothing wrong with it."""
    good = deciding(value).get("outcome") == "REPRODUCED"
    return bool(good and value.decision.get("meets") and not value.problems)


def limits(value: Dossier) -> list[str]:
    """Return in plain language what the verdict does not say."""
    found = deciding(value)
    own = []
    if value.problems:
        own.append(
            "Because something is wrong with the evidence, no statement in it is to be "
            "relied on before that is explained."
        )
    if found.get("outcome") == "REPRODUCED" and (grade := _LIMITS.get(str(found.get("grade")))):
        own.append(grade)
    if (outcome := str(found.get("outcome"))) != "REPRODUCED" and found:
        own.append(_OTHERWISE.get(outcome, _UNJUDGED))
    if found.get("conditional"):
        own.append("The comparison is conditional: see the mismatches of environment and hardware.")
    if value.lineage.get("origin") == "adopted":
        own.append("The lineage was adopted: attached after the training, not observed during it.")
    if len(value.records) > 1:
        own.append("One of several verifications decides; the others are in the history.")
    return [*own, *_ALWAYS]


def identity(value: Dossier) -> list[tuple[str, str]]:
    """Return the identity of the version, as (what, value)."""
    asked, made = value.question, value.lineage
    return [
        ("model", said(asked.get("model"))),
        ("version", said(asked.get("version"))),
        ("registry", said(asked.get("registry"))),
        ("stage by the signed moves", said(value.stage)),
        ("intended use (as stated by who asked)", said(value.intended_use, "not stated", 2000)),
        ("owner (as stated by who asked)", said(value.owner, "not stated")),
        ("risk tier (as stated by who asked)", said(value.risk_tier, "not stated")),
        ("retention class", "not stated: the operator's records say how long this must be kept"),
        ("origin of the lineage", said(made.get("origin"))),
        ("lineage sha256", said(value.lineage_digest)),
        ("model sha256 (OMS root digest)", said(made.get("artifact_digest"))),
        ("head of the records", said(value.records[-1][0] if value.records else "", "no record")),
        ("dossier made at (UTC)", said(value.made_at)),
        ("made by", said(value.tool)),
    ]


def policy(value: Dossier) -> list[tuple[str, str]]:
    """Return which policy decided, as (what, value)."""
    return [
        ("policy", said(value.policy.get("uri"))),
        ("policy sha256", said(value.policy.get("digest"))),
    ]


def prepared(value: Dossier) -> list[tuple[str, str]]:
    """Return who trained and recorded the version."""
    return [
        ("training author", said(value.lineage.get("author"))),
        ("ended at (UTC)", said(value.lineage.get("finished_at"))),
        ("meaning", "authorship: this is how the version was made"),
        ("lineage sha256", said(value.lineage_digest)),
    ]


def verified(value: Dossier, people: Mapping[str, str] = NOBODY) -> list[tuple[str, str]]:
    """Return who verified: the deciding record's signer; `people` are names by key id."""
    found = deciding(value)
    who = facts(found.get("verifier"))
    return [
        ("printed name", person(who.get("keyid"), people)),
        ("signed at (UTC)", said(found.get("created_at"))),
        ("meaning", "verification: this is what making it again ended with"),
        ("with", f"{said(who.get('tool'))}, host {said(who.get('host'))}"),
        ("key id", said(who.get("keyid"))),
        ("record sha256", said(value.deciding)),
        ("record before it", said(found.get("previous_record_digest"), "none: its key's first")),
    ]


def signed(statement: Facts) -> list[tuple[str, str]]:
    """Return everything that an electronic signature must show, as (what, value)."""
    rows = [
        ("printed name", said(statement.get("printed_name"))),
        ("identity", said(statement.get("identity"))),
        ("signed at (UTC)", said(statement.get("created_at"))),
        ("meaning", said(statement.get("meaning"), "waiver: this finding is set aside")),
        ("reason", said(statement.get("reason"), "none was given", 2000)),
        ("key id", said(statement.get("keyid"))),
        ("statement sha256", said(statement.get("digest"))),
    ]
    if "record_digest" in statement:
        rows.append(("record relied on, sha256", said(statement["record_digest"], "none")))
    if "policy_digest" in statement:
        rows.append(("policy relied on, sha256", said(statement["policy_digest"], "none")))
    return rows


def person(keyid: object, people: Mapping[str, str]) -> str:
    """Return the printed name of a key's holder."""
    return said(people.get(str(keyid)), "in the operator's trust file, under the key id")


def nobody(value: Dossier) -> list[str]:
    """Return which decision nobody signed, in words."""
    made = {a.get("decision") for a in value.approvals}
    told = (("approved", "No approval was recorded."), ("rejected", "No rejection was recorded."))
    return [line for decision, line in told if decision not in made]


def verification(
    value: Dossier, digest: str, record: Facts, people: Mapping[str, str] = NOBODY
) -> tuple[str, str, str, str]:
    """Return one row of the history: time, verdict, verifier and digest."""
    keyid = facts(record.get("verifier")).get("keyid")
    decides = " (decides)" if digest == value.deciding else ""
    who = said(people.get(str(keyid)), f"key {said(keyid, limit=12)}")
    return said(record.get("created_at")), words.verdict(record) + decides, who, said(digest)


def move(found: Facts) -> tuple[str, str, str, str, str]:
    """Return one row of the alias history: time, move, versions, signer and reason."""
    alias = f", alias {said(found.get('alias'))}" if found.get("alias") else ""
    identity = said(found.get("identity"), "identity not recorded")
    return (
        said(found.get("created_at")),
        f"{said(found.get('kind'))} to {said(found.get('stage'))}{alias}",
        f"{said(found.get('version'))}, {said(found.get('previous_version'), 'nothing')}",
        f"{said(found.get('printed_name'))}, {identity}",
        said(found.get("reason"), "none was given", 1000),
    )
