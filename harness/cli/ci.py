"""What a CI service is told beside stdout: a step summary, outputs, JUnit, one annotation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

JUNIT = "HARNESS_JUNIT"
_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_MESSAGE, ":": "%3A", ",": "%2C"}


def escaped(text: str, table: Mapping[str, str] = _PROPERTY) -> str:
    """Return text for a workflow command; a message has fewer escapes than a property.

    Source: GitHub's workflow command reference.
    """
    return "".join(table.get(c, c) for c in text)


def annotate(answer: Mapping[str, Any]) -> None:
    """Write the files that the service asks for, and one annotation.

    `answer` is what `verify`, `gate` or `check` answered.
    """
    _files(lambda: _markdown(answer), lambda: _junit(answer), _outputs(answer))
    if os.environ.get("GITHUB_ACTIONS"):
        _annotation(answer)


def failed(message: str, exit_code: int) -> None:
    """Tell of an end without any answer, such as a registry that cannot be reached."""
    title, message = f"harness: exit code {exit_code}, no verdict", " ".join(message.split())

    def summary() -> str:
        from harness.reporters import markdown

        return f"### {markdown.escaped(title)}\n\n{markdown.escaped(message)}\n"

    def junit() -> str:
        from harness.reporters.checks import Check
        from harness.reporters.junit import document

        return document("harness", {}, [Check("verdict", "error", f"{title}: {message}")])

    _files(summary, junit, {})
    if os.environ.get("GITHUB_ACTIONS"):
        _say("error", title, message)


def _files(
    summary: Callable[[], str], junit: Callable[[], str], outputs: Mapping[str, str]
) -> None:
    """Write what the service's variables ask for, each only where it does."""
    try:
        if path := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(summary())
        if path := os.environ.get("GITHUB_OUTPUT"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.writelines(f"{key}={value}\n" for key, value in outputs.items())
        if path := os.environ.get(JUNIT):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            # Whole, and in place of an earlier one: a stale verdict must not be shown.
            Path(path).write_text(junit(), encoding="utf-8")
    except OSError as error:
        # A verdict was reached: no file of the service may take its exit code away.
        click.echo(f"note: no summary for the CI service: {error}", err=True)


def _outputs(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the outputs of the step: each on one line, whatever a name holds."""
    from harness.reporters import words

    found = {
        "outcome": answer.get("outcome") or "",
        "record-digest": answer.get("record_digest") or "",
        "report": (answer.get("reports") or {}).get("html", ""),
    }
    return {key: words.plain(value, 4096) for key, value in found.items()}


def _markdown(answer: Mapping[str, Any]) -> str:
    if "record" in answer:
        from harness.reporters.markdown import MarkdownReporter

        return MarkdownReporter().render(answer["record"], answer["decision"])
    from harness.reporters import answers

    return answers.markdown(answer)


def _junit(answer: Mapping[str, Any]) -> str:
    from harness.reporters import answers, junit

    if "record" in answer:
        return junit.JunitReporter().render(answer["record"], answer["decision"])
    keys = ("to", "outcome", "grade", "record_digest", "exit_code")
    properties = {key: answer.get(key) for key in keys}
    return junit.document(answers.title(answer), properties, answers.checks(answer))


def _annotation(answer: Mapping[str, Any]) -> None:
    """Say the worst once: an error for what is shut, a warning for what a waiver lets through."""
    from harness.reporters import answers

    if "record" in answer:
        record = answer["record"]
        title = f"{record['model']}/{record['version']}: {answer['outcome']}"
        against, waived = [*record["reasons"], *answer["decision"]["reasons"]], []
    else:
        title = answers.headline(answer)
        against, waived = answers.reasons(answer), answers.waivers(answer)
    if answer["exit_code"]:
        _say("error", title, "; ".join(against) or title)
    elif waived:
        _say("warning", title, "; ".join(waived))


def _say(kind: str, title: str, message: str) -> None:
    from harness.reporters import words

    shown = escaped(words.plain(title))
    click.echo(f"::{kind} title={shown}::{escaped(words.plain(message, 500), _MESSAGE)}", err=True)
