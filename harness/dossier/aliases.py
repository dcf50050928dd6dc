"""The alias history as a picture: one lane per alias, one bar per version that had it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from harness.dossier.model import Dossier, Facts
from harness.reporters import words

WIDTH, LEFT, LANE, TOP, MOST = 760, 96, 40, 24, 60
LANES = ("production", "staging")


@dataclass(frozen=True)
class Span:
    """One version's time under one alias; times as seconds, `open` while it still has it."""

    alias: str
    version: str
    start: float
    end: float
    open: bool
    kind: str


def seconds(text: object) -> float | None:
    """Return a time as seconds; None for what is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None


def spans(moves: Sequence[Facts], until: float) -> list[Span]:
    """Return who had which alias from when to when, as the signed moves give it."""
    held: dict[str, Span] = {}
    done: list[Span] = []

    def close(alias: str, when: float) -> None:
        was = held.pop(alias, None)
        if was:
            done.append(Span(was.alias, was.version, was.start, when, False, was.kind))

    for move in moves:
        if (when := seconds(move.get("created_at"))) is None:
            continue
        version, alias = str(move.get("version")), str(move.get("alias") or "")
        # One version stands at one stage: a step to Production leaves Staging empty.
        for other in [a for a, s in held.items() if s.version == version or a == alias]:
            close(other, when)
        if alias:
            held[alias] = Span(alias, version, when, until, True, str(move.get("kind")))
    return [*done, *(Span(s.alias, s.version, s.start, until, True, s.kind) for s in held.values())]


def draw(value: Dossier) -> str:
    """Return the picture; empty when no move has a time that can be drawn."""
    asked = value.question.get("asked")
    at = seconds(asked.get("at")) if isinstance(asked, dict) else None
    shown = value.moves[-MOST:]
    times = [t for m in shown if (t := seconds(m.get("created_at"))) is not None]
    if not times:
        return ""
    end = max([*times, seconds(value.made_at) or 0.0])
    start = min([*times, *([at] if at else [])])
    scale = (WIDTH - LEFT - 16) / ((end - start) or 1.0)

    def x(when: float) -> float:
        return LEFT + (min(max(when, start), end) - start) * scale

    lanes = [*LANES, *sorted({str(m.get("alias")) for m in shown} - {*LANES, "", "None"})][:6]
    own = str(value.question.get("version"))
    body = "".join(_lane(words.plain(lane, 14), row) for row, lane in enumerate(lanes))
    for span in spans(shown, end):
        if span.alias in lanes:
            body += _bar(span, x(span.start), x(span.end), lanes.index(span.alias), own)
    body += _marks(x, at, start, end, len(lanes))
    return (
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {TOP + LANE * len(lanes) + 28}" role="img" '
        f'aria-label="which version had which alias, over time" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _lane(title: str, row: int) -> str:
    y = TOP + row * LANE
    return (
        f'<text x="0" y="{y + 20}">{escape(title)}</text>'
        f'<line class="lane" x1="{LEFT}" x2="{WIDTH - 16}" y1="{y + 34}" y2="{y + 34}"/>'
    )


def _bar(span: Span, left: float, right: float, row: int, own: str) -> str:
    """Return one span; this dossier's version is filled, any other is an outline."""
    y, width = TOP + row * LANE, max(right - left, 3.0)
    kind = "own" if span.version == own else "other"
    mark = {"rollback": " ↩", "break-glass": " !"}.get(span.kind, "")
    label = escape(words.plain(f"v{span.version}", 12) + mark) if width > 26 else ""
    told = f"version {words.plain(span.version, 40)}: {words.plain(span.kind, 20)}"
    told += ", still held when this dossier was made" if span.open else ""
    return (
        f'<g class="{kind}"><title>{escape(told)}</title>'
        f'<rect x="{left:.1f}" y="{y + 4}" width="{width:.1f}" height="26"/>'
        f'<text x="{left + 5:.1f}" y="{y + 21}">{label}</text></g>'
    )


def _marks(
    x: Callable[[float], float], at: float | None, start: float, end: float, lanes: int
) -> str:
    """Return the ends of the axis, and the asked time as a dashed line."""
    bottom = TOP + LANE * lanes
    body = f'<text x="{LEFT}" y="{bottom + 20}">{_day(start)}</text>'
    body += f'<text x="{WIDTH - 16}" y="{bottom + 20}" text-anchor="end">{_day(end)}</text>'
    if at is None:
        return body
    where = x(at)
    side = "end" if where > WIDTH / 2 else "start"
    body += f'<line class="asked" x1="{where:.1f}" x2="{where:.1f}" y1="14" y2="{bottom}"/>'
    return body + f'<text x="{where:.1f}" y="11" text-anchor="{side}">asked: {_day(at)}</text>'


def _day(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M UTC")
