"""`demo`, `doctor`, `init`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import common, print_answer
from harness.progress import Progress
from harness.settings import Settings


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="An empty folder to leave it in.")
@common
def demo(keep: Path | None, settings: Settings, progress: Progress, as_json: bool) -> int:
    """Record, reproduce, tamper, change data, unpin: four verdicts on real input."""
    from harness.demo import demo as play

    answer = play(settings, keep, progress=progress)

    def text() -> str:
        lines = [f"runtime {answer['runtime']}, sandbox {answer['sandbox']}", ""]
        for row in answer["verdicts"]:
            mark = "✓" if row["found"] == row["expected"] else "✗"
            lines.append(f"{mark} {row['found']:<22} {row['title']}")
        return "\n".join([*lines, "", f"report: {answer['report']}"])

    return print_answer(answer, as_json, text)


@click.command()
@common
def doctor(settings: Settings, progress: Progress, as_json: bool) -> int:
    """Say what this machine can do, each line with its fix."""
    from harness.doctor import doctor as examine

    answer = examine(settings)

    def text() -> str:
        lines = []
        for row in answer["lines"]:
            lines.append(f"{'✓' if row['ok'] else '✗'} {row['name']}: {row['detail']}")
            if row["fix"]:
                lines.append(f"    fix: {row['fix']}")
        return "\n".join(lines)

    return print_answer(answer, as_json, text)


@click.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".")
@common
def init(path: Path, settings: Settings, progress: Progress, as_json: bool) -> int:
    """Write recipe.toml and a lock from what the repository at PATH has."""
    from harness.starting import init as begin

    answer = begin(path)

    def text() -> str:
        lines = [f"wrote {name}" for name in answer["written"]]
        return "\n".join([*lines, *(f"to fill in: {what}" for what in answer["missing"])])

    return print_answer(answer, as_json, text)
