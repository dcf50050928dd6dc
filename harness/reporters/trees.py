"""A difference tree by itself, for `harness compare`: text and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.reporters import words

MOST = 200


def text(tree: Mapping[str, Any]) -> str:
    """Return the tree as indented lines, equal parts left out below the first level."""
    lines = []
    for depth, node in words.leaves(tree):
        if depth > 1 and node.get("status", "") == "IDENTICAL":
            continue
        lines.append("  " * depth + _line(node))
        for aside in node.get("set_aside", ()):
            what, why = (words.plain(aside.get(key, "?")) for key in ("what", "why"))
            lines.append("  " * (depth + 1) + f"set aside {what}: {why}")
        if node.get("truncated"):
            lines.append("  " * (depth + 1) + f"… {node['truncated']} more are not shown")
    cut = len(lines) - MOST
    return "\n".join([*lines[:MOST], *([f"… {cut} more lines"] if cut > 0 else [])])


def _line(node: Mapping[str, Any]) -> str:
    shown = f"{node.get('status', '?'):<16} {words.plain(node.get('name', '?'))}"
    if detail := words.distance(node):
        return f"{shown}: {detail}"
    if node.get("recorded") or node.get("reproduced"):
        both = " | ".join(words.plain(node.get(k), 80) for k in ("recorded", "reproduced"))
        shown += f": {both}" if node.get("status", "") != "IDENTICAL" else ""
    return f"{shown}  ({words.plain(node['reason'])})" if node.get("reason") else shown


def html(tree: Mapping[str, Any], recorded: str, reproduced: str) -> str:
    """Return a self-contained page for two files or folders."""
    from harness.reporters import charts, heat
    from harness.reporters.html import environment
    from harness.reporters.html import tree as bounded

    template = environment().get_template("compare.html.j2")
    found = heat.layers(tree)
    counts, sampled = heat.histogram(tree)
    page: str = template.render(
        tree=bounded(tree),
        heat=heat,
        layers=found,
        picture=heat.picture(found),
        rows=list(heat.rows(found)),
        ulps=charts.ulps(counts),
        sampled=sampled,
        recorded=recorded,
        reproduced=reproduced,
        words=words,
    )
    return page
