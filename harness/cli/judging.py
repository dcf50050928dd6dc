"""`check`, `verify`, `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import common, plan_text, print_answer
from harness.progress import Progress
from harness.settings import Settings


@click.command()
@click.argument("model")
@click.option(
    "--hook",
    type=click.Choice(["commit", "push"]),
    help="For a PATH: run before a commit (recipe and lock only) or before a push.",
)
@common
def check(
    model: str, hook: str | None, settings: Settings, progress: Progress, as_json: bool
) -> int:
    """Say whether MODEL's lineage is complete and everything can still be had.

    MODEL may be the PATH of a training repository instead: then its recipe, lock, data and tree
    are checked, without a registry.
    """
    from harness import checking
    from harness.cli.ci import annotate

    path = checking.repository(model)
    if path is not None:
        answer = checking.check_repository(settings, path, hook=hook or "", progress=progress)
        name, good, bad = answer["path"], "nothing keeps it from being recorded", "not ready"
    else:
        from harness import app

        answer = app.check(settings, model, progress=progress)
        name = f"models:/{answer['model']}/{answer['version']}"
        good, bad = "complete, and everything can still be had", "cannot be made again as it stands"
    annotate(answer)
    return print_answer(
        answer, as_json, lambda: _check_text(f"{name}: {good if answer['ok'] else bad}", answer)
    )


def _check_text(head: str, answer: dict[str, Any]) -> str:
    lines = [head]
    for gap in answer["gaps"]:
        lines.append(f"  {gap['what']}: {gap['detail']}".rstrip(": "))
        lines += [f"    fix: {gap['fix']}"] if gap["fix"] else []
    return "\n".join(lines)


@click.command()
@click.argument("model")
@click.option("--reruns", type=click.IntRange(0, 10), help="Diagnostic reruns on a difference.")
@click.option("--profile-set", multiple=True, help="Replay otherwise, for example threads=2.")
@click.option("--resume", help="Id of an interrupted verification.")
@click.option("--plan", is_flag=True, help="Show what would be done, and do nothing.")
@common
def verify(
    model: str,
    reruns: int | None,
    profile_set: tuple[str, ...],
    resume: str | None,
    plan: bool,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Make MODEL again and judge it. MODEL: models:/Name/3, models:/Name@alias or runs:/id."""
    from harness import app
    from harness.cli.ci import annotate

    answer = app.verify(
        settings,
        model,
        reruns=reruns,
        profile_set=profile_set,
        resume=resume,
        plan=plan,
        progress=progress,
    )
    if plan:
        return print_answer(answer, as_json, lambda: plan_text(answer))
    annotate(answer)
    return print_answer(answer, as_json, lambda: _verdict_text(answer))


def _verdict_text(answer: dict[str, object]) -> str:
    from harness.reporters.text import TextReporter

    text = TextReporter().render(answer["record"], answer["decision"])  # type: ignore[arg-type]
    reports = answer["reports"]
    assert isinstance(reports, dict)
    lines = [text.rstrip(), f"report: {reports.get('html', '')}"]
    if not answer["published"]:
        lines.append("not published yet: harness sync")
    warnings = answer["warnings"]
    assert isinstance(warnings, list)
    return "\n".join([*lines, *(f"warning: {w}" for w in warnings)])


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--rtol", type=click.FloatRange(min=0), default=0.0, help="Relative tolerance.")
@click.option("--atol", type=click.FloatRange(min=0), default=0.0, help="Absolute tolerance.")
@click.option("--ignore", multiple=True, help="Glob of keys that do not count.")
@click.option("--html", type=click.Path(path_type=Path), help="Write an HTML report there.")
@common
def compare(
    a: Path,
    b: Path,
    rtol: float,
    atol: float,
    ignore: tuple[str, ...],
    html: Path | None,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Compare two files or folders: exit 0 within tolerance, 1 different, 3 uncomparable."""
    from harness import app
    from harness.files import write_atomic
    from harness.reporters import trees

    answer = app.compare(settings, a, b, rtol=rtol, atol=atol, ignore=ignore)
    if html:
        write_atomic(html, trees.html(answer["difference"], str(a), str(b)).encode())
    return print_answer(
        answer, as_json, lambda: "\n".join([trees.text(answer["difference"]), *answer["notes"]])
    )
