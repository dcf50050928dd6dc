"""`report`, `history`, `sync`."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import common, print_answer
from harness.progress import Progress
from harness.settings import Settings

FORMATS = click.Choice(["text", "json", "html", "junit", "markdown", "badge"])


@click.command()
@click.argument("record")
@click.option("--format", "formats", type=FORMATS, multiple=True, default=("text",))
@common
def report(
    record: str,
    formats: tuple[str, ...],
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Render RECORD (a record.json, its digest or run id) again; files go to --output-dir."""
    from harness import app

    answer = app.report(settings, record, formats)

    def text() -> str:
        shown = [answer["texts"]["text"].rstrip()] if "text" in formats else []
        return "\n".join([*shown, *(f"{n}: {p}" for n, p in answer["paths"].items())])

    return print_answer(answer, as_json, text)


@click.command()
@click.argument("model")
@common
def history(model: str, settings: Settings, progress: Progress, as_json: bool) -> int:
    """List the trusted verdicts of MODEL (a name, or one version) over time."""
    from harness import app

    answer = app.history(settings, model)

    def text() -> str:
        if not answer["rows"]:
            return f"{answer['model']}: no trusted verdict yet"
        return "\n".join(_row(answer["model"], row) for row in answer["rows"])

    return print_answer(answer, as_json, text)


def _row(model: str, row: dict[str, Any]) -> str:
    detail = row["grade"] or row["cause"] or ""
    note = " (conditional)" if row["conditional"] else ""
    name = f"{model}/{row['version']}"
    verdict = f"{row['outcome']} {detail}{note}"
    return f"{row['verified_at']}  {name:<24} {verdict}  {row['record_digest'][:12]}"


@click.command()
@common
def sync(settings: Settings, progress: Progress, as_json: bool) -> int:
    """Publish what an interrupted or offline run left behind."""
    from harness import app

    answer = app.sync(settings, progress=progress)

    def text() -> str:
        lines = [f"published {name}" for name in answer["published"]]
        lines += [f"waits: {f['what']}: {f['why']}" for f in answer["failed"]]
        return "\n".join(lines) or "nothing waits"

    return print_answer(answer, as_json, text)
