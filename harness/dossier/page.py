"""A dossier as one self-contained page: no script, no network, prints well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from harness.dossier import aliases, checks, sides, told
from harness.dossier.model import Dossier
from harness.reporters import charts, words
from harness.reporters.html import environment

MOST_ARTIFACTS, MOST_NODES, MOST_HISTOGRAMS, MOST_ROWS = 200, 2000, 40, 500


def render(value: Dossier, people: Mapping[str, str] = told.NOBODY) -> str:
    """Return the page; the same facts always give the same page.

    Args: `people` are the printed names of the trusted keys by key id.
    """
    import jinja2

    theirs = environment()
    folders = [str(Path(__file__).parent / "templates"), *theirs.loader.searchpath]
    template = theirs.overlay(loader=jinja2.FileSystemLoader(folders)).get_template(
        "dossier.html.j2"
    )
    found = told.deciding(value)
    page: str = template.render(
        value=value,
        people=people,
        told=told,
        sides=sides,
        checks=checks,
        said=told.said,
        record=found,
        artifacts=list(_artifacts(value)),
        hidden=max(0, len(told.listed(found.get("artifacts"))) - MOST_ARTIFACTS),
        picture=aliases.draw(value),
        most=MOST_ROWS,
    )
    return page


def _artifacts(value: Dossier) -> Iterator[dict[str, Any]]:
    """Yield what the deciding record compared, the trees within what one page can hold."""
    nodes, histograms = [MOST_NODES], [MOST_HISTOGRAMS]
    rows = told.listed(told.deciding(value).get("artifacts"))[:MOST_ARTIFACTS]
    for entry in map(told.facts, rows):
        tree = told.facts(entry.get("difference"))
        yield {
            **entry,
            "differs": entry.get("recorded_sha256") != entry.get("reproduced_sha256"),
            "layers": charts.layers(tree) if tree else ("", 0),
            "difference": _printable(words.pruned(tree, nodes, histograms)) if tree else None,
        }


def _printable(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a pruned tree whose statuses, which also are names of styles, are harmless."""
    for _, node in words.leaves(tree):
        cast(dict[str, Any], node)["status"] = words.plain(node.get("status", "?"), 20)
    return tree
