"""A verdict in words: the sentence that every report begins with, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Record = Mapping[str, Any]

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
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def title(record: Record) -> str:
    """Return the version's name."""
    return plain(f"{record.get('model', '?')}/{record.get('version', '?')}")


def verdict(record: Record) -> str:
    """Return outcome with grade or cause."""
    detail = record.get("grade") or record.get("cause")
    return f"{record['outcome']} {detail}" if detail else str(record["outcome"])


def sentence(record: Record) -> str:
    """Return the verdict as one sentence."""
    name, outcome = title(record), record["outcome"]
    condition = " The comparison is conditional." if record.get("conditional") else ""
    if outcome == "REPRODUCED":
        return f"{name} was made again {_GRADES.get(record['grade'], '')}.{condition}"
    if outcome == "DIVERGED":
        return f"{name} came out different: {_CAUSES.get(record['cause'], '')}.{condition}"
    return f"{name} {_OUTCOMES.get(outcome, outcome)}."


def remedy(record: Record) -> str:
    """Return what to do next; empty for a reproduction."""
    return _REMEDIES.get(record.get("cause") or record["outcome"], "")


def decided(decision: Mapping[str, Any]) -> str:
    """Return what the policy makes of it."""
    if decision.get("meets"):
        return "It meets the policy."
    return "It does not meet the policy: " + "; ".join(map(plain, decision.get("reasons", ())))


def leaves(node: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (depth, node) of a difference tree."""
    yield depth, node
    for child in node.get("children", ()):
        yield from leaves(child, depth + 1)


def number(value: Any) -> str:
    """Return a number in short form; words stay words."""
    return f"{value:.3g}" if isinstance(value, float) else plain(value, 40)


def distance(node: Mapping[str, Any]) -> str:
    """Return the distances of a node in one phrase."""
    d = node.get("distances")
    if not d:
        return ""
    first = f", first at {list(d['first'])}" if d.get("first") else ""
    bound = f" (bound rtol {number(d['rtol'])}, atol {number(d['atol'])})"
    return (
        f"{d['differing']} of {d['values']} values differ, {d['beyond']} beyond{bound}; "
        f"max abs {number(d['max_abs'])}, max rel {number(d['max_rel'])}, "
        f"rel L2 {number(d['rel_l2'])}{first}"
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


def pairs(record: Record) -> list[tuple[str, str, str]]:
    """Return (what, recorded, reproduced) of environment and hardware, differing rows first."""
    rows = []
    for part in ("environment", "hardware"):
        both = record.get(part) or {}
        was, now = both.get("recorded") or {}, both.get("reproduced") or {}
        for key in [k for k in {**was, **now} if k not in {"inventory", "cpu_flags"}]:
            a, b = _short(was.get(key)), _short(now.get(key))
            if a or b:
                rows.append((f"{part}: {key.replace('_', ' ')}", a, b))
    return sorted(rows, key=lambda r: r[1] == r[2])


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return plain(", ".join(f"{k}={v}" for k, v in value.items()), 400)
    if isinstance(value, list):
        return plain(", ".join(_short(v) for v in value), 400)
    return "" if value is None else plain(value, 400)
