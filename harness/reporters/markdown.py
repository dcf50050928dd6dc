"""A record as Markdown for a CI step summary; every name in it is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.reporters import words

LIMIT = 1 << 20
MOST = 50


def escaped(text: object) -> str:
    """Return untrusted text that Markdown and HTML take as text, mentions included."""
    shown = words.plain(text)
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = re.sub(r"([\\`*_{}\[\]()#+\-.!|~])", r"\\\1", shown)
    return shown.replace("@", "@\N{ZERO WIDTH SPACE}")


class MarkdownReporter:
    """What GitHub and GitLab show on a job's page."""

    suffix = ".md"

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return at most one MiB, headings from the third level."""
        text = "\n".join(_lines(record, decision)) + "\n"
        if len(text.encode()) > LIMIT:
            text = text.encode()[: LIMIT - 100].decode(errors="ignore") + "\n\n(cut at 1 MiB)\n"
        return text


def _lines(record: Mapping[str, Any], decision: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {escaped(words.verdict(record))}: {escaped(words.title(record))}\n"
    yield escaped(words.sentence(record)) + "\n"
    yield escaped(words.decided(decision)) + "\n"
    yield from _listed("Conditions", record.get("conditional", ()))
    yield from _listed("Reasons", record.get("reasons", ()))
    if remedy := words.remedy(record):
        yield f"**Next:** {escaped(remedy)}\n"
    artifacts = record.get("artifacts", ())
    if artifacts:
        yield "<details><summary>Artifacts</summary>\n"
        yield "| artifact | role | grade | distances |\n|---|---|---|---|"
        for entry in artifacts[:MOST]:
            cells = (*(entry.get(k, "?") for k in ("path", "role", "grade")), words.distance(entry))
            yield "| " + " | ".join(map(escaped, cells)) + " |"
        if len(artifacts) > MOST:
            yield f"\n{len(artifacts) - MOST} more are not shown."
        yield "\n</details>\n"
    yield from _listed("Unseeded generators", words.unseeded(record)[:MOST])


def _listed(what: str, items: Any) -> Iterator[str]:
    if items:
        yield f"**{what}**\n"
        yield from (f"- {escaped(item)}" for item in items[:MOST])
        if len(items) > MOST:
            yield f"- … and {len(items) - MOST} more"
        yield ""
