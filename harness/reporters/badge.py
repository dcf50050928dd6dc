"""A record as a badge: a static SVG that says in words what was found, and whether it still holds.

The age is derived when the badge is drawn: a badge that lies about may be older than it says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from harness.reporters import words

_GRADES = {
    "BITWISE": "reproduced bit-for-bit",
    "EXACT": "reproduced exactly",
    "TOLERANCE": "reproduced within tolerance",
    "BEHAVIOURAL": "same behaviour",
}
_NOT = {"DIVERGED", "TAMPERED"}
# Dark enough for white text at 4.5:1 (WCAG AA); the words say the same as the colour.
_GREEN, _AMBER, _RED, _GREY = "#1a7f37", "#8a5a00", "#b42318", "#57606a"
_DAY = 86400
_HEIGHT, _PAD = 20, 6
_MOST = 60


class BadgeReporter:
    """What a model card or a README shows."""

    suffix = ".badge.svg"

    def render(
        self,
        record: Mapping[str, Any],
        decision: Mapping[str, Any],
        *,
        max_age: float | None = None,
        now: datetime | None = None,
    ) -> str:
        """Return the SVG; with `max_age` (seconds, the policy's) an older verdict is stale.

        Without it `decision` may carry one as `max_age`.
        """
        limit = decision.get("max_age") if max_age is None else max_age
        text, colour = message(record, decision, limit, now or datetime.now(UTC))
        return _svg(words.plain(words.title(record), _MOST), text, colour)


def message(
    record: Mapping[str, Any],
    decision: Mapping[str, Any],
    max_age: float | None,
    now: datetime,
) -> tuple[str, str]:
    """Return the words and the colour of a badge."""
    found = words.outcome(record)
    if found in _NOT:
        return "not reproduced", _RED
    text = _GRADES.get(str(record.get("grade"))) if found == "REPRODUCED" else None
    if text is None:
        return "inconclusive", _GREY
    if max_age is not None and (days := _stale(record, max_age, now)):
        return days, _AMBER
    if record.get("conditional"):
        text += ", conditional"
    if not decision.get("meets"):
        return f"{text}, refused by policy", _AMBER
    return text, _AMBER if record.get("conditional") else _GREEN


def _stale(record: Mapping[str, Any], max_age: float, now: datetime) -> str:
    """Return `stale 34 d` for a verdict older than that; one without a time is stale as well."""
    try:
        age = (now - datetime.fromisoformat(str(record.get("created_at")))).total_seconds()
    except (ValueError, TypeError):
        return "stale"
    return f"stale {int(age // _DAY)} d" if age > max_age else ""


def _width(character: str) -> float:
    """Return about how wide a character is at 11 px; `textLength` makes up for the rest."""
    if unicodedata.east_asian_width(character) in "WF":
        return 11.0
    if character in "ijlf.,:;'|/ -()[]rt!I":
        return 4.3
    return 9.5 if character in "mwMW@%" else 7.3 if character.isupper() else 6.6


def _svg(label: str, text: str, colour: str) -> str:
    widths = [round(sum(map(_width, part))) + 2 * _PAD for part in (label, text)]
    whole, left = sum(widths), widths[0]
    title = escape(f"{label}: {text}")

    def part(x: int, width: int, shown: str) -> str:
        inner = width - 2 * _PAD
        return f'<text x="{x + _PAD}" y="14" textLength="{inner}">{escape(shown)}</text>'

    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{_HEIGHT}" '
        f'role="img" aria-label="{title}">\n'
        f"<title>{title}</title>\n"
        f'<rect width="{left}" height="{_HEIGHT}" fill="#24292f"/>\n'
        f'<rect x="{left}" width="{widths[1]}" height="{_HEIGHT}" fill="{colour}"/>\n'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">\n'
        f"{part(0, left, label)}\n{part(left, widths[1], text)}\n</g>\n</svg>\n"
    )
