"""A record as a list of checks: what JUnit calls a case and pytest a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.reporters import words

FAILED = {"DIFFERENT", "MISSING", "EXTRA"}
STAGES = ("resolve", "intact", "checkout", "rebuild", "retrain", "compare", "judge")


@dataclass(frozen=True)
class Check:
    """One check: `status` is `passed`, `failed`, `error` (could not be judged) or `skipped`.

    `reason` says why it did not pass, from the record.
    """

    name: str
    status: str = "passed"
    reason: str = ""
    seconds: float = 0.0


def checks(record: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[Check]:
    """Yield the stages, every artifact, and what the policy makes of it, in this order."""
    stages = list(_stages(record))
    yield from stages
    artifacts = record.get("artifacts") or ()
    yield from map(_artifact, artifacts)
    if not artifacts:
        stopped = any(c.status in {"failed", "error"} for c in stages)
        yield Check("artifacts", "skipped" if stopped else "failed", "nothing was compared")
    meets = bool(decision.get("meets"))
    yield Check("policy", "passed" if meets else "failed", "" if meets else words.decided(decision))


def _stages(record: Mapping[str, Any]) -> Iterator[Check]:
    reason = "; ".join(map(words.plain, record.get("reasons", ())))
    bad = "error" if words.outcome(record) == "ERROR" else "failed"
    if bad == "error":
        reason = f"infrastructure, says nothing about the model: {reason}"
    seen: dict[str, int] = {}
    failed = False
    for stage in record.get("stages", ()):
        name, status = words.plain(stage.get("name", "?")), stage.get("status")
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:  # judged again after one more run
            name = f"{name} {seen[name]}"
        failed |= status == "failed"
        found = {"failed": bad, "skipped": "skipped"}.get(str(status), "passed")
        why = {"failed": reason, "skipped": "skipped"}.get(str(status), "")
        yield Check(f"stage.{name}", found, why, float(stage.get("seconds", 0)))
    if bad == "error" and not failed:
        yield Check("stage.start", bad, reason)
    for name in STAGES:
        if name not in seen:
            yield Check(f"stage.{name}", "skipped", "not reached")


def _artifact(entry: Mapping[str, Any]) -> Check:
    name = words.plain(f"{entry.get('role', '?')}.{entry.get('path', '?')}")
    grade = words.plain(entry.get("grade", "?"))
    reason = words.plain((entry.get("difference") or {}).get("reason", ""))
    if grade in FAILED:
        return Check(name, "failed", f"{grade}: {words.distance(entry) or reason}")
    return Check(name, "error", reason) if grade == "UNCOMPARABLE" else Check(name)
