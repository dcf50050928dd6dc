"""A verdict in words: the sentence that every report begins with, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Record = Mapping[str, Any]
DIFFERING = {"DIFFERENT", "MISSING", "EXTRA", "UNCOMPARABLE"}
MOST_CHILDREN, MOST_DEPTH, MOST_PACKAGES = 200, 30, 40

_GRADES = {
    "BITWISE": "bit for bit",
    "EXACT": "with exactly the same content (what differs in its bytes carries no meaning)",
    "TOLERANCE": "within the declared tolerances",
    "BEHAVIOURAL": "with the same predictions on the probe inputs",
    "STATISTICAL": "statistically",
}
_CAUSES = {
    "STABLE": "the reruns agree with each other: look at what changed in code, data or environment",
    "FLAKY": "the runs do not agree with each other: the training is not deterministic as recorded",
    "UNEXPLAINED": "without a second rerun the cause is not known",
}
_OUTCOMES = {
    "TAMPERED": "no longer is what was recorded",
    "INCOMPLETE_LINEAGE": "cannot be made again: its lineage is incomplete",
    "SOURCE_UNAVAILABLE": "cannot be made again: a source is gone or has changed",
    "RERUN_FAILED": "could not be trained again: the training failed",
    "INCONCLUSIVE": "was trained again, but nothing can be concluded",
    "ERROR": "was not judged: our own or the machine's fault, try again",
}
_REMEDIES = {
    "STABLE": "compare the environment and hardware below with the recorded ones, then the lineage",
    "FLAKY": "pin what the training left unseeded (see below), record again at level strict",
    "UNEXPLAINED": "verify again with --reruns 1",
    "TAMPERED": "do not use this version; restore the artifact from a trusted copy",
    "INCOMPLETE_LINEAGE": "record the version again from a clean commit, or adopt it",
    "SOURCE_UNAVAILABLE": "restore the source that is named below",
    "RERUN_FAILED": "read the log's tail below",
    "INCONCLUSIVE": "see the reasons below",
    "ERROR": "run the same command again",
}


def plain(text: object, limit: int = 300) -> str:
    """Return untrusted text on one line, printable and bounded."""
    whole = "" if text is None else str(text)
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in whole)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def lines(text: object) -> str:
    """Return untrusted text of several lines without what could hide or reorder a part of it."""
    return "\n".join(plain(line, 2000) for line in str(text).expandtabs().splitlines())


def title(record: Record) -> str:
    """Return the version's name."""
    return plain(f"{record.get('model', '?')}/{record.get('version', '?')}")


def outcome(record: Record) -> str:
    """Return the outcome; a record without one was never judged."""
    return plain(record.get("outcome") or "UNKNOWN", 40)


def verdict(record: Record) -> str:
    """Return outcome with grade or cause."""
    detail = record.get("grade") or record.get("cause")
    return f"{outcome(record)} {plain(detail, 40)}" if detail else outcome(record)


def sentence(record: Record) -> str:
    """Return the verdict as one sentence."""
    name, found = title(record), outcome(record)
    condition = " The comparison is conditional." if record.get("conditional") else ""
    if found == "REPRODUCED":
        how = _GRADES.get(str(record.get("grade")), "at a grade that is not recorded")
        return f"{name} was made again {how}.{condition}"
    if found == "DIVERGED":
        why = _CAUSES.get(str(record.get("cause")), "the cause is not recorded")
        return f"{name} came out different: {why}.{condition}"
    return f"{name} {_OUTCOMES.get(found, 'has no known outcome')}."


def remedy(record: Record) -> str:
    """Return what to do next; empty for a reproduction."""
    return _REMEDIES.get(str(record.get("cause") or outcome(record)), "")


def decided(decision: Mapping[str, Any]) -> str:
    """Return what the policy makes of it."""
    if decision.get("meets"):
        return "It meets the policy."
    return "It does not meet the policy: " + "; ".join(map(plain, decision.get("reasons", ())))


def leaves(node: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (depth, node) of a difference tree, however deep it is."""
    waiting = [(0, node)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        waiting += [(depth + 1, child) for child in reversed(node.get("children") or ())]


def pruned(
    node: Mapping[str, Any], nodes: list[int], histograms: list[int], depth: int = 0
) -> dict[str, Any]:
    """Return a tree that a page can hold: one-element budgets of nodes and of histograms.

    `unshown` counts the children that are left out at each node.
    """
    kept, children = dict(node), node.get("children") or ()
    nodes[0] -= 1
    if (node.get("distances") or {}).get("histogram"):
        histograms[0] -= 1
        if histograms[0] < 0:
            kept["distances"] = {**node["distances"], "histogram": ()}
    shown = []
    for child in children[:MOST_CHILDREN] if depth < MOST_DEPTH else ():
        if nodes[0] <= 0:
            break
        shown.append(pruned(child, nodes, histograms, depth + 1))
    return {**kept, "children": shown, "unshown": len(children) - len(shown)}


def number(value: Any) -> str:
    """Return a number in short form; words stay words."""
    return f"{value:.3g}" if isinstance(value, float) else plain(value, 40)


def distance(node: Mapping[str, Any]) -> str:
    """Return the distances of a node in one phrase."""
    d = node.get("distances")
    if not d:
        return ""

    def get(key: str) -> str:
        return number(d.get(key, "?"))

    first = f", first at {list(d['first'])}" if d.get("first") else ""
    bound = f" (bound rtol {get('rtol')}, atol {get('atol')})"
    return (
        f"{get('differing')} of {get('values')} values differ, {get('beyond')} beyond{bound}; "
        f"max abs {get('max_abs')}, max rel {get('max_rel')}, rel L2 {get('rel_l2')}{first}"
    )


def unseeded(record: Record) -> list[str]:
    """Return the generators that the training used without a seed, with place and count."""
    found = []
    for run in record.get("runs", ())[:1]:
        for use in (run.get("bootstrap") or {}).get("unseeded", ()):
            state = "pinned from outside" if use.get("pinned") else "NOT pinned"
            place = f" at {use['where']}" if use.get("where") else ""
            found.append(plain(f"{use.get('generator')}{place}: {use.get('count')} uses, {state}"))
    return found


def pairs(record: Record) -> list[tuple[str, str, str, bool]]:
    """Return (what, recorded, reproduced, differs) of environment and hardware, differing first.

    Whole values are compared, and shortened only to be shown. A side of which nothing is known,
    as when a source was gone before anything was rebuilt, does not differ.
    """
    rows = []
    for part in ("environment", "hardware"):
        both = record.get(part) or {}
        was, now = dict(both.get("recorded") or {}), dict(both.get("reproduced") or {})
        known = bool(was and now)
        rows += _packages(was.pop("inventory", None), now.pop("inventory", None))
        rows += _flags(was.pop("cpu_flags", None), now.pop("cpu_flags", None))
        for key in {**was, **now}:
            a, b = was.get(key), now.get(key)
            if _short(a) or _short(b):
                name = plain(f"{part}: {key.replace('_', ' ')}")
                rows.append((name, _short(a), _short(b), known and a != b))
    return sorted(rows, key=lambda r: not r[3])


def _packages(was: Any, now: Any) -> list[tuple[str, str, str, bool]]:
    if was is None or now is None:
        return []
    a, b = ({p.get("name"): p.get("version") for p in side} for side in (was, now))
    names = sorted((k for k in {**a, **b} if a.get(k) != b.get(k)), key=str)
    rows = [
        (plain(f"package {n}"), _short(a.get(n, "(none)")), _short(b.get(n, "(none)")), True)
        for n in names[:MOST_PACKAGES]
    ]
    more = len(names) - MOST_PACKAGES
    return [*rows, *([("packages", f"{more} more differ", "", True)] if more > 0 else [])]


def _flags(was: Any, now: Any) -> list[tuple[str, str, str, bool]]:
    if was is None or now is None or set(was) == set(now):
        return []
    only = [_short(sorted(set(one) - set(two))) for one, two in ((was, now), (now, was))]
    return [("hardware: cpu flags on one side only", only[0], only[1], True)]


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return plain(", ".join(f"{k}={v}" for k, v in value.items()), 400)
    if isinstance(value, list):
        return plain(", ".join(_short(v) for v in value), 400)
    return "" if value is None else plain(value, 400)
