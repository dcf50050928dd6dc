"""A record, or the answer of a gate, as JUnit XML: a suite per version, a case per check."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any

from harness.reporters import words
from harness.reporters.checks import Check, checks

_TAGS = {"failed": "failure", "error": "error", "skipped": "skipped"}


class JunitReporter:
    """What GitLab, Jenkins and others show as tests."""

    suffix = ".junit.xml"

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return the document; names are made fit for XML."""
        keys = ("id", "outcome", "grade", "cause", "lineage_digest", "created_at")
        properties = {key: record.get(key) for key in keys}
        return document(words.title(record), properties, checks(record, decision))


def document(title: str, properties: Mapping[str, Any], cases: Iterable[Check]) -> str:
    """Return a suite of checks as JUnit XML."""
    suite = ET.Element("testsuite", name=words.plain(title))
    listed = ET.SubElement(suite, "properties")
    for key, value in properties.items():
        ET.SubElement(listed, "property", name=key, value=words.plain(value or ""))
    counts = dict.fromkeys(_TAGS, 0)
    total = 0
    for check in cases:
        total += 1
        case = ET.SubElement(
            suite,
            "testcase",
            classname="harness",
            name=words.plain(check.name),
            time=f"{check.seconds:.3f}",
        )
        if tag := _TAGS.get(check.status):
            counts[check.status] += 1
            ET.SubElement(case, tag, message=words.plain(check.reason, 1000))
    for status, name in (("failed", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(name, str(counts[status]))
    suite.set("tests", str(total))
    ET.indent(suite)
    text = ET.tostring(suite, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
