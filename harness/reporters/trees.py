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
        if depth > 1 and node["status"] == "IDENTICAL":
            continue
        lines.append("  " * depth + _line(node))
        for aside in node.get("set_aside", ()):
            lines.append(
                "  " * (depth + 1) + f"set aside {words.plain(aside['what'])}: {aside['why']}"
            )
        if node.get("truncated"):
            lines.append("  " * (depth + 1) + f"… {node['truncated']} more are not shown")
    cut = len(lines) - MOST
    return "\n".join([*lines[:MOST], *([f"… {cut} more lines"] if cut > 0 else [])])


def _line(node: Mapping[str, Any]) -> str:
    shown = f"{node['status']:<16} {words.plain(node['name'])}"
    if detail := words.distance(node):
        return f"{shown}: {detail}"
    if node.get("recorded") or node.get("reproduced"):
        both = f"{words.plain(node['recorded'], 80)} | {words.plain(node['reproduced'], 80)}"
        shown += f": {both}" if node["status"] != "IDENTICAL" else ""
    return f"{shown}  ({words.plain(node['reason'])})" if node.get("reason") else shown


def html(tree: Mapping[str, Any], recorded: str, reproduced: str) -> str:
    """Return a self-contained page for two files or folders."""
    from harness.reporters.html import environment

    template = environment().get_template("compare.html.j2")
    page: str = template.render(tree=tree, recorded=recorded, reproduced=reproduced, words=words)
    return page
