"""The bootstrap's report files -> one bounded summary of what was pinned and what was not."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_FILES = 512
_BYTES = 1 << 20
_LISTED = 100
_TEXT = 300

NOT_PINNED = "not pinned"


def read(folder: Path) -> dict[str, Any]:
    """Return the summary of all processes; without a single report it says `not pinned`.

    The files are the training's to forge: they are read with limits and never trusted to
    raise a grade; they only explain a difference, or a missing pin.
    """
    paths = sorted(_candidates(folder))
    reports = [r for r in map(_load, paths[:_FILES]) if r is not None]
    if not reports:
        return {"pinned": False, "why": f"{NOT_PINNED}: no process wrote a report", "processes": 0}
    reports.sort(key=_order)
    first = reports[0]
    summary: dict[str, Any] = {
        "pinned": False,
        "why": "",
        "level": _text(first.get("level")),
        "seed": _int(first.get("seed")),
        "python": _text(first.get("python")),
        "processes": len(reports),
        "unread": max(0, len(paths) - len(reports)),
        "unfinished": sum(r.get("complete") is not True for r in reports),
        "unreported": _unreported(reports),
        "set": _strings(reports, "set"),
        "failures": _strings(reports, "failed"),
        "unseeded": _uses(reports, "unseeded", "generator"),
        "nondeterministic": _uses(reports, "nondeterministic", "op"),
        **_machine(reports),
    }
    levels = {_text(r.get("level")) for r in reports}
    summary["why"] = _why(summary, levels)
    summary["pinned"] = not summary["why"]
    return summary


def _why(summary: Mapping[str, Any], levels: set[str]) -> str:
    """Return why the training cannot be called pinned, or an empty string."""
    if not levels <= {"seeds", "strict", "entropy"}:
        return f"{NOT_PINNED}: determinism level off"
    if summary["unreported"]:
        return f"{NOT_PINNED}: a child process wrote no report: {summary['unreported'][0]}"
    if summary["unread"]:
        return f"{NOT_PINNED}: {summary['unread']} process reports could not be read"
    if summary["failures"]:
        return f"{NOT_PINNED}: {summary['failures'][0]}"
    return ""


def _candidates(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if e.name.endswith(".json")]
    except OSError:
        return []


def _load(path: Path) -> dict[str, Any] | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as source:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            body = source.read(_BYTES + 1)
        report = json.loads(body) if len(body) <= _BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and report.get("schema") == 1 else None


def _order(report: Mapping[str, Any]) -> tuple[int, str]:
    place = _text(report.get("process"))
    return (place.count("."), place)


def _unreported(reports: list[dict[str, Any]]) -> list[str]:
    """Return the Python children that were started and never wrote: `-I`, `-E`, `-S`."""
    known = {_text(r.get("process")) for r in reports}
    return [
        _text(command)
        for report in reports
        for place, command in _items(report.get("children"))
        if place not in known
    ][:_LISTED]


def _strings(reports: list[dict[str, Any]], key: str) -> list[str]:
    lists = (r.get(key) for r in reports)
    found = (_text(x) for items in lists if isinstance(items, list) for x in items[:_LISTED])
    return list(dict.fromkeys(found))[:_LISTED]


def _uses(reports: list[dict[str, Any]], key: str, label: str) -> list[dict[str, Any]]:
    """Merge one table of findings over all processes; the first place found is kept."""
    merged: dict[str, dict[str, Any]] = {}
    for report in reports:
        for name, entry in _items(report.get(key)):
            if not isinstance(entry, dict):
                continue
            one = merged.setdefault(
                _text(name),
                {
                    label: _text(name),
                    "count": 0,
                    "where": _text(entry.get("where")),
                    "pinned": entry.get("pinned") is True,
                },
            )
            one["count"] += _int(entry.get("count"))
            one["where"] = one["where"] or _text(entry.get("where"))
            one["pinned"] = one["pinned"] and entry.get("pinned") is True
    return list(merged.values())[:_LISTED]


def _machine(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the processes ran on; the first that knows a fact is believed."""
    threads: dict[str, int] = {}
    libraries: dict[str, str] = {}
    for report in reports:
        for name, count in _items(report.get("threads")):
            threads.setdefault(_text(name), _int(count))
        for table in ("libraries", "stack"):
            for name, version in _items(report.get(table)):
                libraries.setdefault(_text(name), _text(version))
    capabilities = (_text(r.get("capability")) for r in reports)
    cards = (r.get("gpus") for r in reports)
    return {
        "threads": threads,
        "libraries": libraries,
        "capability": next((c for c in capabilities if c), ""),
        "gpus": next((_gpus(c) for c in cards if isinstance(c, list) and c), []),
        "blas": _strings(reports, "blas")[:8],
    }


def _gpus(cards: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "model": _text(card.get("model")),
            "sm_count": _int(card.get("sm_count")),
            "driver": _text(card.get("driver")),
        }
        for card in cards[:64]
        if isinstance(card, dict)
    ]


def _items(table: Any) -> Iterable[tuple[str, Any]]:
    return list(table.items())[:_LISTED] if isinstance(table, dict) else ()


def _text(value: Any) -> str:
    """Return printable, bounded text: it ends in terminals and in reports."""
    if not isinstance(value, str):
        return ""
    return "".join(c if c.isprintable() else "?" for c in value[:_TEXT])


def _int(value: Any) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return max(-(2**53), min(2**53, value)) if whole else 0
