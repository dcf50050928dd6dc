"""A record for a terminal: the verdict first, then why, then where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.reporters import words

MOST = 12


class TextReporter:
    """Plain text."""

    suffix = ".txt"

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return at most some forty lines."""
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
        yield f"  {entry['grade']:<12} {words.plain(entry['path'], 60)} ({entry['role']})"
        if detail := words.distance(entry):
            yield f"               {detail}"
    if len(artifacts) > MOST:
        yield f"  … and {len(artifacts) - MOST} more"
    yield from _listed("unseeded generators", words.unseeded(record)[:MOST])
    times = ", ".join(f"{s['name']} {s['seconds']:.1f} s" for s in record.get("stages", ()))
    yield f"stages: {times}"


def _listed(what: str, items: Any) -> Iterator[str]:
    if items:
        yield f"{what}:"
        yield from (f"  - {words.plain(item)}" for item in items[:MOST])
        if len(items) > MOST:
            yield f"  … and {len(items) - MOST} more"
