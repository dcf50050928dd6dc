"""A record as JUnit XML: a suite per version, a case per check."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from harness.reporters import words

FAILED = {"DIFFERENT", "MISSING", "EXTRA"}


class JunitReporter:
    """What GitLab, Jenkins and others show as tests."""

    suffix = ".junit.xml"

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return the document; names are made fit for XML."""
        suite = ET.Element("testsuite", name=words.title(record))
        properties = ET.SubElement(suite, "properties")
        for key in ("id", "outcome", "grade", "cause", "lineage_digest", "created_at"):
            ET.SubElement(
                properties, "property", name=key, value=words.plain(record.get(key) or "")
            )
        for stage in record.get("stages", ()):
            case = _case(suite, f"stage.{stage.get('name', '?')}", float(stage.get("seconds", 0)))
            if stage.get("status") == "failed":
                reason = "; ".join(map(words.plain, record.get("reasons", ())))
                kind = "error" if words.outcome(record) == "ERROR" else "failure"
                ET.SubElement(case, kind, message=reason)
            elif stage.get("status") == "skipped":
                ET.SubElement(case, "skipped")
        for entry in record.get("artifacts", ()):
            _artifact(suite, entry)
        case = _case(suite, "policy")
        if not decision.get("meets"):
            ET.SubElement(case, "failure", message=words.decided(decision))
        cases = suite.findall("testcase")
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(count, str(sum(c.find(tag) is not None for c in cases)))
        suite.set("tests", str(len(cases)))
        ET.indent(suite)
        text = ET.tostring(suite, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(suite: ET.Element, name: str, seconds: float = 0.0) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", classname="harness", name=words.plain(name), time=f"{seconds:.3f}"
    )


def _artifact(suite: ET.Element, entry: Mapping[str, Any]) -> None:
    case = _case(suite, f"{entry.get('role', '?')}.{entry.get('path', '?')}")
    tree = entry.get("difference") or {}
    grade = words.plain(entry.get("grade", "?"))
    if grade in FAILED:
        detail = words.distance(entry) or words.plain(tree.get("reason", ""))
        ET.SubElement(case, "failure", message=f"{grade}: {detail}")
    elif grade == "UNCOMPARABLE":
        ET.SubElement(case, "error", message=words.plain(tree.get("reason", "")))
