"""A record for a terminal: the verdict first, then why, then where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.reporters import words

MOST = 5


class TextReporter:
    """Plain text."""

    suffix = ".txt"

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return at most forty lines."""
        return "\n".join(_lines(record, decision)) + "\n"


def _lines(record: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[str]:
    yield f"{words.verdict(record)}  {words.title(record)}"
    yield words.sentence(record)
    yield words.decided(decision)
    yield from _listed("under these conditions", record.get("conditional", ()))
    yield from _listed("why", record.get("reasons", ()))
    if remedy := words.remedy(record):
        yield f"next: {remedy}"
    artifacts = record.get("artifacts", ())
    if artifacts:
        yield "artifacts:"
    for entry in artifacts[:MOST]:
        yield f"  {words.plain(entry.get('grade', '?')):<12} {_named(entry)}"
        if detail := words.distance(entry):
            yield f"               {detail}"
    if len(artifacts) > MOST:
        yield f"  … and {len(artifacts) - MOST} more"
    yield from _listed("unseeded generators", words.unseeded(record))
    times = ", ".join(map(_timed, record.get("stages", ())))
    yield f"stages: {times}"


def _named(entry: Mapping[str, Any]) -> str:
    return f"{words.plain(entry.get('path', '?'), 60)} ({words.plain(entry.get('role', '?'))})"


def _timed(stage: Mapping[str, Any]) -> str:
    return f"{words.plain(stage.get('name', '?'))} {float(stage.get('seconds', 0)):.1f} s"


def _listed(what: str, items: Any) -> Iterator[str]:
    if items:
        yield f"{what}:"
        yield from (f"  - {words.plain(item)}" for item in items[:MOST])
        if len(items) > MOST:
            yield f"  … and {len(items) - MOST} more"
