"""Pictures as inline SVG: curves with their residual, distances by layer, ULPs, stage times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from harness.reporters import words

WIDTH, HEIGHT, LEFT, ROW = 640, 200, 52, 20
Points = Sequence[Sequence[float]]


def _svg(height: float, body: str, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def curves(name: str, recorded: Points, reproduced: Points) -> str:
    """Return both histories over each other, and below them how far they are apart.

    The recorded one is a broad line, the reproduced one a thin dashed one, so that they can be
    told apart without colour; the first step that differs is marked.
    """
    values = [float(p[1]) for p in (*recorded, *reproduced)]
    good = [v for v in values if math.isfinite(v)]
    steps = [float(p[0]) for p in (*recorded, *reproduced)]
    if not good or len(recorded) < 2:
        return ""
    low, high = min(good), max(good)
    box = (min(steps), max(steps), low, high if high > low else low + 1)
    body = _path(recorded, box, "recorded") + _path(reproduced, box, "reproduced")
    body += _text(2, 14, f"{high:.4g}") + _text(2, HEIGHT - 4, f"{low:.4g}")
    body += _residual(recorded, reproduced, box)
    return _svg(HEIGHT + 104, body, f"history of {words.plain(name, 60)}, recorded and reproduced")


def _place(step: float, value: float, box: tuple[float, ...]) -> tuple[float, float]:
    first, last, low, high = box
    x = LEFT + (WIDTH - LEFT - 8) * (step - first) / ((last - first) or 1)
    return x, 8 + (HEIGHT - 16) * (1 - (value - low) / (high - low))


def _path(points: Points, box: tuple[float, ...], kind: str) -> str:
    placed = [_place(float(s), float(v), box) for s, v in points if math.isfinite(float(v))]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return f'<polyline class="{kind}" points="{line}"/>'


def _residual(recorded: Points, reproduced: Points, box: tuple[float, ...]) -> str:
    other = {float(s): float(v) for s, v in reproduced}
    shared = [(float(s), float(v), other[float(s)]) for s, v in recorded if float(s) in other]
    differing = [(s, abs(a - b)) for s, a, b in shared if a != b and not (a != a and b != b)]
    top = HEIGHT + 20
    if not differing:
        lone = len(recorded) + len(other) - 2 * len(shared)
        said = "none at any shared step" if shared else "not known: no step in common"
        said += f"; {lone} steps are on one side only" if lone else ""
        return _text(LEFT, top + 40, said)
    logs = [math.log10(g) for _, g in differing if math.isfinite(g)] or [0.0]
    low, high = min(logs), max(max(logs), min(logs) + 1)
    body = _text(LEFT, top + 76, "difference by step, log scale")
    for step, gap in differing:
        x, _ = _place(step, box[2], box)
        size = (math.log10(gap) - low) / (high - low) if math.isfinite(gap) else 1.0
        body += f'<rect class="gap" x="{x - 1:.1f}" y="{top + 56 - 44 * size:.1f}" width="3" '
        body += f'height="{4 + 44 * size:.1f}"><title>step {step:g}: {gap:.3g}</title></rect>'
    x, _ = _place(differing[0][0], box[2], box)
    body += f'<line class="first" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{top + 60}"/>'
    return body + _text(min(x + 4, WIDTH - 150), top + 4, f"first at step {differing[0][0]:g}")


def layers(tree: Mapping[str, Any], most: int = 60) -> tuple[str, int]:
    """Return relative L2 by layer in model order as bars, and how many layers are not shown."""
    rows = [
        n
        for _, n in words.leaves(tree)
        if n.get("distances") or n.get("recorded") or n.get("reproduced")
    ]
    rows = [n for n in rows if not n.get("children")]
    shown = rows[:most]
    if len(shown) < 2 or not any(
        n.get("distances") or n.get("status") in words.DIFFERING for n in shown
    ):
        return "", 0
    body = ""
    for index, node in enumerate(shown):
        found = node.get("distances") or {}
        size = float(found.get("rel_l2", 0))
        y = index * ROW
        body += _text(0, y + 14, words.plain(node.get("name", "?"), 34))
        differs = node.get("status") in words.DIFFERING
        width = 300.0 if differs and not found else _log_width(size)
        kind = "gap" if differs and not found else "bar"
        body += f'<rect class="{kind}" x="260" y="{y + 4}" width="{width:.1f}" height="12"/>'
        # Without distances (another shape, no number) only the status says whether it is equal.
        said = words.plain(node.get("status", "?"), 20).lower() if differs else "equal"
        label = f"{size:.2g}" if found else said
        body += _text(266 + width, y + 14, label)
    picture = _svg(len(shown) * ROW + 4, body, "relative L2 distance by layer, log scale")
    return picture, len(rows) - len(shown)


def _log_width(size: float) -> float:
    """Return 0 for equal, then from 1e-16 to 1 on a log scale."""
    if not size:
        return 0.0
    if not math.isfinite(size):
        return 300.0
    return max(3.0, 300 * min(1.0, (math.log10(size) + 16) / 16))


def ulps(histogram: Sequence[int]) -> str:
    """Return the ULP histogram: bin 0 apart, then powers of two; the counts' log as height."""
    if not any(histogram):
        return ""
    top = math.log10(max(histogram) + 1)
    width = min(24.0, (WIDTH - LEFT) / len(histogram))
    body = ""
    for index, count in enumerate(histogram):
        height = 100 * math.log10(count + 1) / top
        x = LEFT + index * width + (6 if index else 0)
        body += f'<rect class="bar" x="{x:.1f}" y="{110 - height:.1f}" width="{width - 2:.1f}" '
        body += f'height="{height:.1f}"><title>{count} values</title></rect>'
        if index % 4 == 0 or index == 1:
            body += _text(x, 124, "0" if not index else f"2^{index - 1}")
    return _svg(130, body, "values by distance in ULP")


def stages(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return where the time went, as a waterfall."""
    total = sum(float(r.get("seconds", 0)) for r in rows) or 1.0
    at, body = 0.0, ""
    for index, row in enumerate(rows):
        taken = float(row.get("seconds", 0))
        x, width = 130 + 400 * at / total, max(2.0, 400 * taken / total)
        y = index * ROW
        kind = "bar" if row.get("status") == "done" else "gap"
        body += _text(0, y + 14, words.plain(row.get("name", "?"), 20))
        body += f'<rect class="{kind}" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="12"/>'
        failed = (
            "" if row.get("status") == "done" else f" {words.plain(row.get('status', '?'), 12)}"
        )
        body += _text(x + width + 6, y + 14, f"{taken:.2f} s{failed}")
        at += taken
    return _svg(len(rows) * ROW + 4, body, "time by stage")
