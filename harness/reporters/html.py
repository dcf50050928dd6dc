"""A record as one self-contained page: no script, no network, prints well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.reporters import charts, words

MOST_ARTIFACTS, MOST_NODES, MOST_CURVES = 200, 2000, 6
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
    made.filters.update(plain=words.plain, number=words.number, distance=words.distance)
    made.globals.update(charts=charts, words=words, most_nodes=MOST_NODES)
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
                mark=MARKS.get(str(record["outcome"]), "?"),
                sentence=words.sentence(record),
                decided=words.decided(decision),
                remedy=words.remedy(record),
                artifacts=list(record.get("artifacts", ()))[:MOST_ARTIFACTS],
                hidden=max(0, len(record.get("artifacts", ())) - MOST_ARTIFACTS),
                pairs=words.pairs(record),
                unseeded=words.unseeded(record),
                curves=list(_curves(record))[:MOST_CURVES],
                stages=charts.stages(record.get("stages", ())),
            )
        )
        return page


def _curves(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    lineage = record.get("lineage") or {}
    recorded = (lineage.get("annotations") or {}).get("curves") or {}
    runs = record.get("runs") or [{}]
    reproduced = runs[0].get("curves") or {}
    for name, points in recorded.items():
        if name in reproduced and (picture := charts.curves(name, points, reproduced[name])):
            yield words.plain(name), picture
