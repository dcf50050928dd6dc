"""What was recorded beside what was made again: rows for the two columns of a dossier."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.dossier.model import Dossier, Facts
from harness.dossier.told import NOBODY, deciding, facts, listed, said
from harness.reporters import words

MOST_ASIDE = 50


@dataclass(frozen=True)
class Row:
    """One fact on both sides; `differs` marks what was compared and is not equal."""

    what: str
    recorded: str
    reproduced: str
    differs: bool = False


_ENVIRONMENT = {
    "runtime": "runtime",
    "python": "Python",
    "lock_path": "package lock",
    "lock_sha256": "package lock sha256",
    "base": "base image",
    "image": "image",
    "content_digest": "installed files sha256",
}
_HARDWARE = {
    "arch": "architecture",
    "cpu_model": "CPU",
    "cpu_capability": "CPU capability in force",
}


def both(value: Dossier, people: Mapping[str, str] = NOBODY) -> list[Row]:
    """Return the recorded and the reproduced side; a side that never was says so."""
    made, found = value.lineage, deciding(value)
    runs = [facts(r) for r in listed(found.get("runs"))]
    run = runs[0] if runs else {}
    gone = "no run was made" if found else "no verification"
    return [
        Row("done by", said(made.get("author")), _verifier(found, people)),
        Row(
            "started (UTC)",
            said(made.get("started_at")),
            said(run.get("started_at"), _none(run, gone)),
        ),
        Row(
            "ended (UTC)",
            said(made.get("finished_at")),
            said(run.get("finished_at"), _none(run, gone)),
        ),
        Row(
            "exit status",
            _ended(made),
            _exit(run, gone),
        ),
        Row("runs", "1" if made else "no lineage", str(len(runs)) if runs else gone),
        Row("sandbox", said(made.get("sandbox")), said(run.get("sandbox"), _none(run, gone))),
        Row("pinned by the bootstrap", _pinned(made), _pinned(run) if run else gone),
        Row("end of the log", "not part of a lineage", _log(run, gone)),
        *_pairs(found, made, "environment", _ENVIRONMENT, gone),
        Row("packages installed", *_counts(found, made, gone)),
        *_pairs(found, made, "hardware", _HARDWARE, gone),
        Row("accelerators", *_gpus(found, made, gone)),
    ]


def _ended(made: Facts) -> str:
    if made.get("origin") == "recorded":
        return "0: only a training that succeeds is recorded"
    return "not observed: the lineage was attached later" if made else "no lineage"


def _none(run: Facts, gone: str) -> str:
    return "not recorded" if run else gone


def _verifier(found: Facts, people: Mapping[str, str]) -> str:
    who = facts(found.get("verifier"))
    if not who:
        return "no verification"
    name = said(people.get(str(who.get("keyid"))), "the holder")
    return f"{name} of key {said(who.get('keyid'), limit=13)}, on host {said(who.get('host'))}"


def _exit(run: Facts, gone: str) -> str:
    if not run:
        return gone
    status = run.get("exit_status")
    ended = said(None if status is None else str(status))
    return f"{ended}: {said(run['failure'])}" if run.get("failure") else ended


def _log(run: Facts, gone: str) -> str:
    return "in the record" if run.get("log_tail") else _none(run, gone)


def _pinned(side: Facts) -> str:
    if not side:
        return "no lineage"
    report = facts(side.get("bootstrap"))
    if report.get("pinned"):
        return "yes"
    why = said(report.get("why"), "no report of the training process")
    return f"no: {why.removeprefix('not pinned: ')}"


def _sides(found: Facts, made: Facts, part: str) -> tuple[Facts, Facts]:
    pair = facts(found.get(part))
    return facts(pair.get("recorded") or made.get(part)), facts(pair.get("reproduced"))


def _pairs(found: Facts, made: Facts, part: str, names: dict[str, str], gone: str) -> Iterator[Row]:
    was, now = _sides(found, made, part)
    for key, title in names.items():
        a = said(was.get(key), "not recorded" if was else "no lineage")
        b = said(now.get(key), "not recorded" if now else gone)
        yield Row(title, a, b, bool(now) and was.get(key) != now.get(key))


def _counts(found: Facts, made: Facts, gone: str) -> tuple[str, str, bool]:
    was, now = (_packages(side) for side in _sides(found, made, "environment"))
    if now:
        return f"{len(was)}", f"{len(now)}", was != now
    return (
        (f"{len(was)}" if was else "not recorded"),
        (gone if not found else "not recorded"),
        False,
    )


def _packages(side: Facts) -> dict[str, str]:
    rows = [facts(p) for p in listed(side.get("inventory"))]
    return {words.plain(p.get("name"), 120): words.plain(p.get("version"), 80) for p in rows}


def _gpus(found: Facts, made: Facts, gone: str) -> tuple[str, str, bool]:
    was, now = _sides(found, made, "hardware")
    a, b = (_gpu(side) for side in (was, now))
    return a if was else "no lineage", b if now else gone, bool(now) and a != b


def _gpu(side: Facts) -> str:
    rows = [facts(g) for g in listed(side.get("gpus"))]
    found = (f"{said(g.get('model'))}, driver {said(g.get('driver'))}" for g in rows)
    return "; ".join(found) or "none"


def inventory(value: Dossier) -> list[tuple[str, str, str, bool]]:
    """Return (package, recorded, reproduced, differs) of every package, differing ones first."""
    was, now = (_packages(side) for side in _sides(deciding(value), value.lineage, "environment"))
    rows = [
        (n, was.get(n, "(none)"), now.get(n, "(none)" if now else "not made again"), bool(now))
        for n in sorted({**was, **now})
    ]
    return sorted(
        ((n, a, b, made and a != b) for n, a, b, made in rows), key=lambda row: not row[3]
    )


def mismatches(value: Dossier) -> list[tuple[str, str, str]]:
    """Return (what, recorded, reproduced) of environment and hardware where they differ."""
    found = deciding(value)
    if not facts(facts(found.get("environment")).get("reproduced")):
        return []
    return [(what, a, b) for what, a, b, differs in words.pairs(found) if differs]


def code(value: Dossier) -> list[tuple[str, str]]:
    """Return what is known of the code."""
    made, found = value.lineage, facts(value.lineage.get("code"))
    profile, recipe = facts(made.get("profile")), _recipe(value)
    train = facts(recipe.get("train"))
    command = train.get("command") or train.get("stages") or train.get("entry_point")
    return [
        ("repository", said(found.get("url"))),
        ("commit", said(found.get("commit"))),
        ("tree", said(found.get("tree"))),
        ("folder", said(found.get("folder"))),
        ("recipe", said(made.get("recipe_path"))),
        ("command", said(" ".join(map(str, command)) if isinstance(command, list) else command)),
        ("determinism level", said(profile.get("level"))),
        ("seed", said(None if profile.get("seed") is None else str(profile.get("seed")))),
        ("threads", said(profile.get("threads"), "not pinned")),
    ]


def data(value: Dossier) -> list[dict[str, str]]:
    """Return every data file with size, digests and where it comes from."""
    rows = [facts(d) for d in listed(value.lineage.get("data"))]
    return [
        {
            "path": said(d.get("path")),
            "size": said(d.get("size"), "size not recorded", 30),
            "sha256": said(d.get("sha256"), "never read"),
            "md5": said(d.get("md5")),
            "target": said(d.get("target"), "not named"),
            "remote": said(d.get("remote"), "default"),
        }
        for d in rows
    ]


def numbers(value: Dossier) -> list[tuple[str, str]]:
    """Return the metrics and parameters that were recorded, as (what, value)."""
    notes = facts(value.lineage.get("annotations"))
    found = []
    for part, title in (("metrics", "metric"), ("params", "parameter")):
        for key, number in sorted(facts(notes.get(part)).items(), key=lambda row: str(row[0])):
            found.append((f"{title} {said(key, limit=120)}", said(number)))
    return found


def uncompared(value: Dossier) -> list[tuple[str, str]]:
    """Return (what, sha256) of every recorded output that the deciding record did not compare."""
    done = {str(facts(a).get("path")) for a in listed(deciding(value).get("artifacts"))}
    rows = [facts(o) for o in listed(value.lineage.get("outputs"))]
    return [
        (f"{said(o.get('path'))} ({said(o.get('role'))})", said(o.get("sha256")))
        for o in rows
        if str(o.get("path")) not in done
    ]


def _recipe(value: Dossier) -> Facts:
    try:
        return tomllib.loads(str(value.lineage.get("recipe_text", "")))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def tolerances(value: Dossier) -> list[str]:
    """Return every declared tolerance with its reason, as the recorded recipe has them."""
    found = []
    for output in (facts(o) for o in listed(_recipe(value).get("output"))):
        rules = [facts(output.get("tolerance")), *map(facts, listed(output.get("tolerances")))]
        found += [_rule(said(output.get("path")), rule) for rule in rules if rule]
    return found


def _rule(path: str, rule: Facts) -> str:
    ignored = ", ".join(map(str, listed(rule.get("ignore"))))
    return (
        f"{path}, {said(rule.get('match', '*'))}: rtol {said(str(rule.get('rtol', 0)))}, "
        f"atol {said(str(rule.get('atol', 0)))}, ignored: {said(ignored, 'nothing')}; "
        f"reason: {said(rule.get('rationale'), 'none was given')}"
    )


def aside(value: Dossier) -> list[str]:
    """Return what differed in the compared files and was set aside as without meaning."""
    found = []
    for artifact in (facts(a) for a in listed(deciding(value).get("artifacts"))):
        for _, node in words.leaves(facts(artifact.get("difference"))):
            found += [
                f"{said(artifact.get('path'))}: {said(facts(s).get('what'))}: "
                f"{said(facts(s).get('why'))}"
                for s in listed(node.get("set_aside"))
            ]
    more = len(found) - MOST_ASIDE
    return [*found[:MOST_ASIDE], *([f"{more} more are in the record"] if more > 0 else [])]


def deviations(value: Dossier) -> list[tuple[str, list[str]]]:
    """Return every group of departures from the plain case, each maybe empty."""
    found = deciding(value)
    runs = [facts(r) for r in listed(found.get("runs"))]
    free = [said(u) for run in runs[:1] for u in listed(run.get("unlimited"))]
    if any(run.get("sandbox") == "none" for run in runs):
        free.insert(0, "the training ran without a sandbox")
    conditional: list[Any] = listed(found.get("conditional"))
    return [
        ("Conditions of the comparison", [said(c) for c in conditional]),
        ("Tolerances that were declared", tolerances(value)),
        ("Set aside as without meaning", aside(value)),
        ("Generators left unseeded", words.unseeded(found) if found else []),
        ("Isolation or limits that the host could not give", free),
    ]


def no_mismatch(value: Dossier) -> str:
    """Return what to say when no mismatch is known."""
    if not listed(deciding(value).get("artifacts")):
        return "Nothing was made again, so nothing could be compared."
    return "None was found."


def distance(artifact: Facts) -> str:
    """Return the worst distance of a compared file in one phrase."""
    if found := words.distance(artifact):
        return found
    same = artifact.get("recorded_sha256") == artifact.get("reproduced_sha256")
    return "none: the bytes are the same" if same else "no number was measured: see the differences"
