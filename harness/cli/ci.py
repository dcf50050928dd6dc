"""What a CI service is told beside stdout: a step summary, outputs, one annotation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_MESSAGE, ":": "%3A", ",": "%2C"}


def escaped(text: str, table: Mapping[str, str] = _PROPERTY) -> str:
    """Return text for a workflow command; a message has fewer escapes than a property.

    Source: GitHub's workflow command reference.
    """
    return "".join(table.get(c, c) for c in text)


def annotate(answer: Mapping[str, Any]) -> None:
    """Write the step summary and outputs where the service asks for them, and one annotation."""
    try:
        _files(answer)
    except OSError as error:
        # A verdict was reached: no summary file of the service may take its exit code away.
        click.echo(f"note: no summary for the CI service: {error}", err=True)
    _annotation(answer)


def _files(answer: Mapping[str, Any]) -> None:
    record = answer["record"]
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        from harness.reporters.markdown import MarkdownReporter

        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(MarkdownReporter().render(record, answer["decision"]))
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a", encoding="utf-8") as file:
            file.write(f"outcome={answer['outcome']}\n")
            file.write(f"record-digest={answer['record_digest']}\n")


def _annotation(answer: Mapping[str, Any]) -> None:
    record = answer["record"]
    if os.environ.get("GITHUB_ACTIONS") and answer["exit_code"]:
        reasons = "; ".join([*record["reasons"], *answer["decision"]["reasons"]])[:500]
        title = f"{record['model']}/{record['version']}: {answer['outcome']}"
        click.echo(f"::error title={escaped(title)}::{escaped(reasons, _MESSAGE)}", err=True)
