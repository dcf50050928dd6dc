"""A record as one self-contained page: no script, no network, prints well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.reporters import charts, words

MOST_ARTIFACTS, MOST_NODES, MOST_HISTOGRAMS, MOST_CURVES = 200, 2000, 40, 6
MARKS = {"REPRODUCED": "✓", "DIVERGED": "≠", "TAMPERED": "!", "ERROR": "⟳"}


@cache
def environment() -> Any:
    """Return the template environment; everything is escaped unless we drew it."""
    import jinja2

    folder = Path(__file__).parent / "templates"
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        plain=words.plain, lines=words.lines, number=words.number, distance=words.distance
    )
    made.globals.update(charts=charts)
    return made


class HtmlReporter:
    """What an auditor opens."""

    suffix = ".html"

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return the page."""
        page: str = (
            environment()
            .get_template("record.html.j2")
            .render(
                record=record,
                decision=decision,
                title=words.title(record),
                verdict=words.verdict(record),
                mark=_mark(record, decision),
                sentence=words.sentence(record),
                decided=words.decided(decision),
                remedy=words.remedy(record),
                artifacts=list(_artifacts(record)),
                hidden=max(0, len(record.get("artifacts", ())) - MOST_ARTIFACTS),
                pairs=words.pairs(record),
                unseeded=words.unseeded(record),
                curves=list(_curves(record))[:MOST_CURVES],
                stages=charts.stages(record.get("stages", ())),
            )
        )
        return page


def _mark(record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    """Return the sign of the verdict: a tick only for what also meets the policy."""
    found = words.outcome(record)
    return "!" if found == "REPRODUCED" and not decision.get("meets") else MARKS.get(found, "?")


def _artifacts(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the artifacts that are shown, their trees within what one page can hold."""
    nodes, histograms = [MOST_NODES], [MOST_HISTOGRAMS]
    for entry in (record.get("artifacts") or ())[:MOST_ARTIFACTS]:
        tree = entry.get("difference")
        whole = charts.layers(tree) if tree else ("", 0)
        yield {
            **entry,
            "difference": words.pruned(tree, nodes, histograms) if tree else None,
            "layers": whole,
        }


def tree(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a difference tree within what one page can hold."""
    return words.pruned(node, [MOST_NODES], [MOST_HISTOGRAMS])


def _curves(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    lineage = record.get("lineage") or {}
    recorded = (lineage.get("annotations") or {}).get("curves") or {}
    runs = record.get("runs") or [{}]
    reproduced = runs[0].get("curves") or {}
    for name, points in recorded.items():
        if name in reproduced and (picture := charts.curves(name, points, reproduced[name])):
            yield words.plain(name), picture
