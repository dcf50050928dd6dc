"""How far every layer is apart, in model order: a heat map, and the same rows as a table.

Lightness says how far on a log scale, the hue whether the tolerance holds (blue) or not (orange):
both pairs can be told apart by every kind of colour vision, and each cell says its number too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from harness.reporters import words

Node = Mapping[str, Any]
TENSOR = re.compile(r"[A-Za-z]\w* ?\[[\d, ]*\]")
DIGITS = re.compile(r"(\d+)")
BLUES, ORANGES = ((222, 235, 247), (8, 48, 107)), ((254, 230, 206), (127, 39, 4))
MOST_ROWS, MOST_CELLS, PER_LINE = 80, 3000, 60
WIDTH, NAMES, CELL, ROW = 900, 330, 96, 22
LONGEST, LETTERS = 300, 48
# column -> key of the distances, and the powers of ten (of two for ULP) that the scale spans
COLUMNS = {
    "differing": ("share", -8.0, 0.0),
    "relative L2": ("rel_l2", -16.0, 0.0),
    "max abs": ("max_abs", -12.0, 2.0),
    "ULP median": ("ulp_p50", 0.0, 9.0),
    "ULP p99": ("ulp_p99", 0.0, 9.0),
}


@dataclass(frozen=True)
class Layer:
    """One tensor on both sides: its path in the tree, how it compared, and its distances."""

    name: str
    status: str
    distances: Mapping[str, Any]
    shown: str = ""

    @property
    def differs(self) -> bool:
        """Return whether the tolerance does not hold, or there is nothing to hold it against."""
        return self.status in words.DIFFERING

    def number(self, key: str) -> float | None:
        """Return one distance as a number, None where there is none."""
        if key == "share":
            total = self.distances.get("values") or 0
            return float(self.distances.get("differing", 0)) / total if total else None
        try:
            return float(self.distances[key])  # records write what is not finite as a text
        except (KeyError, TypeError, ValueError):
            return None


def layers(tree: Node) -> list[Layer]:
    """Return every tensor of a difference tree, in model order."""
    found: list[Layer] = []
    waiting: list[tuple[str, Node]] = [("", tree)]
    while waiting:
        path, node = waiting.pop()
        children = node.get("children") or ()
        if not children and _is_tensor(node):
            found.append(_layer(path or words.plain(node.get("name", "?")), node))
        waiting += [(_below(path, child), child) for child in reversed(_ordered(children))]
    return found


def _is_tensor(node: Node) -> bool:
    distances = node.get("distances") or {}
    texts = (str(node.get(key, "")) for key in ("recorded", "reproduced"))
    return distances.get("values", 0) > 1 or any(TENSOR.fullmatch(text) for text in texts)


def _layer(name: str, node: Node) -> Layer:
    both = [words.plain(node.get(key), 40) for key in ("recorded", "reproduced")]
    shown = " | ".join(t or "(none)" for t in both) if any(both) else ""
    status = words.plain(node.get("status", "?"), 20)
    return Layer(name, status, node.get("distances") or {}, shown)


def _below(path: str, child: Node) -> str:
    name = words.plain(child.get("name", "?"), 80)
    return f"{path}.{name}"[-LONGEST:] if path else name


def _ordered(children: Sequence[Node]) -> list[Node]:
    """Return children in their order; names that are only sorted as text, sorted as people do."""
    names = [str(c.get("name", "")) for c in children if c.get("status") != "EXTRA"]
    if len(names) < 3 or names != sorted(names):
        return list(children)
    return sorted(children, key=lambda c: _natural(str(c.get("name", ""))))


def _natural(name: str) -> list[tuple[int, str]]:
    parts = DIGITS.split(name)
    return [(int(p[:18]), "") if n % 2 else (-1, p) for n, p in enumerate(parts)]


def picture(found: Sequence[Layer]) -> str:
    """Return the heat map; of many layers the farthest, below an overview of all of them."""
    if len(found) < 2:
        return ""
    shown = farthest(found)
    named = zip(shown, labels([layer.name for layer in shown]), strict=True)
    body = "".join(_row(layer, label, 24 + n * ROW) for n, (layer, label) in enumerate(named))
    head = "".join(
        _text(NAMES + n * CELL + CELL / 2, 14, name, 'text-anchor="middle" font-weight="600"')
        for n, name in enumerate(COLUMNS)
    )
    label = f"distances of {len(shown)} layers in model order; the table below has the same numbers"
    whole = _svg(24 + len(shown) * ROW + 4, head + body, label)
    return (overview(found) if len(shown) < len(found) else "") + whole


def labels(names: Sequence[str]) -> list[str]:
    """Return names that are too long without the folders and endings that all of them share."""
    if max(map(len, names), default=0) <= LETTERS:
        return list(names)
    first, last = _shared(names), _shared([name[::-1] for name in names])
    return [name[first : len(name) - last] or name for name in names]


def _shared(names: Sequence[str]) -> int:
    """Return how many letters of whole parts all names begin with."""
    same = 0
    for at, letters in enumerate(zip(*names, strict=False), 1):
        if len(set(letters)) > 1:
            break
        same = at if letters[0] in "./" else same
    return same


def farthest(found: Sequence[Layer]) -> list[Layer]:
    """Return the layers that are shown one by one, in model order.

    Of many, equal ones are left to the overview as long as there is another to show.
    """
    ranked = sorted(range(len(found)), key=lambda n: _rank(found[n]), reverse=True)
    if len(found) > MOST_ROWS:
        ranked = [n for n in ranked if found[n].status != "IDENTICAL"] or ranked
    return [found[n] for n in sorted(ranked[:MOST_ROWS])]


def _rank(layer: Layer) -> tuple[bool, bool, float]:
    far = layer.number("rel_l2") or 0.0
    return layer.differs, not layer.distances and layer.differs, math.inf if far != far else far


def overview(found: Sequence[Layer]) -> str:
    """Return one small cell per layer, read like a text: the first layer at the top left."""
    size = (WIDTH - 10) / PER_LINE
    body = ""
    for n, layer in enumerate(found[:MOST_CELLS]):
        y, x = divmod(n, PER_LINE)
        fill, ink, text = _cell(layer, "rel_l2")
        mark = "≠" if layer.differs else ""
        title = f"{n + 1}. {layer.name}: {text or layer.status.lower()}"
        body += (
            f'<rect x="{x * size:.1f}" y="{y * size:.1f}" width="{size - 1:.1f}" '
            f'height="{size - 1:.1f}" fill="{fill}" stroke="#d0d7de" stroke-width=".5">'
            f"<title>{escape(title)}</title></rect>"
        )
        body += _text((x + 0.5) * size, (y + 0.7) * size, mark, f'{MIDDLE} fill="{ink}"')
    lines = -(-min(len(found), MOST_CELLS) // PER_LINE)
    return _svg(lines * size + 6, body, f"relative L2 of all {len(found)} layers in model order")


MIDDLE, EDGE = 'text-anchor="middle"', 'stroke="#d0d7de"'


def _row(layer: Layer, label: str, y: float) -> str:
    name = _text(0, y + 15, _shortened(label, LETTERS), "")
    if layer.differs and not layer.distances:
        said = _shortened(f"{layer.status}  {layer.shown}".strip(), 78)
        box = _rect(NAMES, y, CELL * len(COLUMNS), "#ffffff", 'stroke="#7f2704" stroke-width="1.5"')
        return _titled(layer, name + box + _text(NAMES + 8, y + 15, said, 'fill="#7f2704"'))
    cells = ""
    for n, (key, _, _) in enumerate(COLUMNS.values()):
        fill, ink, text = _cell(layer, key)
        x = NAMES + n * CELL
        cells += _rect(x, y, CELL, fill) + _text(
            x + CELL / 2, y + 15, text, f'{MIDDLE} fill="{ink}"'
        )
    mark = _text(NAMES + CELL * len(COLUMNS) + 6, y + 15, "≠ beyond" if layer.differs else "", "")
    return _titled(layer, name + cells + mark)


def _titled(layer: Layer, body: str) -> str:
    return f"<g><title>{escape(f'{layer.name}: {layer.status}')}</title>{body}</g>"


def _cell(layer: Layer, key: str) -> tuple[str, str, str]:
    """Return fill, text colour and text of one distance."""
    value = layer.number(key)
    if not layer.distances:
        return ("#ffffff", "#57606a", "=") if not layer.differs else ("#ffffff", "#7f2704", "")
    if value is None:
        return "#ffffff", "#57606a", "-"
    if not value or value < 0:
        return "#ffffff", "#57606a", "0"
    low, high = next((a, b) for k, a, b in COLUMNS.values() if k == key)
    size = (math.log10(value) - low) / (high - low) if math.isfinite(value) else 1.0
    size = min(1.0, max(0.0, size))
    light, dark = ORANGES if layer.differs else BLUES
    mixed = (round(a + (b - a) * size) for a, b in zip(light, dark, strict=True))
    red, green, blue = mixed
    ink = "#ffffff" if size > 0.45 else "#1b1f24"
    return f"#{red:02x}{green:02x}{blue:02x}", ink, _said(value, key)


def _said(value: float, key: str) -> str:
    """Return a distance in few letters."""
    if key == "share":
        return f"{value:.2%}" if value >= 5e-5 else "< 0.01%"
    return f"{value:.0f}" if 1 <= value < 10_000 and key.startswith("ulp") else f"{value:.2g}"


def _shortened(text: str, limit: int) -> str:
    """Return text that fits; the end of a layer's name says more than its beginning."""
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]


def _rect(x: float, y: float, width: float, fill: str, more: str = "") -> str:
    return (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{width - 2:.1f}" height="{ROW - 2}" '
        f'fill="{fill}" {more or EDGE}/>'
    )


def _text(x: float, y: float, text: str, more: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>' if text else ""


def _svg(height: float, body: str, label: str) -> str:
    return (
        f'<svg class="heat" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def legend() -> str:
    """Return what the colours mean, as a picture of its own."""
    body = ""
    for start, (colours, what) in enumerate(
        ((BLUES, "within the tolerance"), (ORANGES, "≠ beyond it"))
    ):
        x = start * 362
        for n in range(7):
            mixed = [round(a + (b - a) * n / 6) for a, b in zip(*colours, strict=True)]
            fill = "#{:02x}{:02x}{:02x}".format(*mixed)
            body += f'<rect x="{x + n * 20}" y="2" width="20" height="14" fill="{fill}"/>'
        body += _text(x + 146, 14, f"darker is farther, {what}", "")
    body += _text(750, 14, "= the same bits", "")
    return _svg(20, body, "blue: within the tolerance, orange: beyond it; darker is farther apart")


def rows(found: Sequence[Layer]) -> Iterator[tuple[Layer, list[str]]]:
    """Yield each layer that is shown with its distances as text, for the table."""
    for layer in farthest(found):
        values = (layer.number(key) for key, _, _ in COLUMNS.values())
        yield layer, ["" if v is None else f"{v:.3g}" for v in values]


def histogram(tree: Node) -> tuple[list[int], bool]:
    """Return the values of all layers by distance in ULP, and whether some were sampled."""
    total: list[int] = []
    sampled = False
    for _, node in words.leaves(tree):
        found = node.get("distances") or {}
        bins = found.get("histogram") or ()
        total += [0] * (len(bins) - len(total))
        for n, count in enumerate(bins):
            total[n] += int(count)
        sampled = sampled or bool(found.get("ulp_sampled"))
    return total, sampled
