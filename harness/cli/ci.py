"""What a CI service is told beside stdout: a step summary, outputs, one annotation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

_ESCAPES = {"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"}


def escaped(text: str) -> str:
    """Return text for a workflow command. Source: GitHub's workflow command reference."""
    return "".join(_ESCAPES.get(c, c) for c in text)


def annotate(answer: Mapping[str, Any]) -> None:
    """Write the step summary and outputs where the service asks for them, and one annotation."""
    record = answer["record"]
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        from harness.reporters.markdown import MarkdownReporter

        with Path(summary).open("a") as file:
            file.write(MarkdownReporter().render(record, answer["decision"]))
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a") as file:
            file.write(f"outcome={answer['outcome']}\n")
            file.write(f"record-digest={answer['record_digest']}\n")
    if os.environ.get("GITHUB_ACTIONS") and answer["exit_code"]:
        reasons = "; ".join([*record["reasons"], *answer["decision"]["reasons"]])[:500]
        title = f"{record['model']}/{record['version']}: {answer['outcome']}"
        click.echo(f"::error title={escaped(title)}::{escaped(reasons)}", err=True)
