"""`record`, `adopt`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import common, plan_text, print_answer
from harness.progress import Progress
from harness.settings import Settings

LEVELS = click.Choice(["off", "seeds", "strict", "entropy"])


@click.command()
@click.option("--model", required=True, help="Name of the registered model.")
@click.argument("path", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".")
@click.option("--level", type=LEVELS, help="Another determinism level than the recipe's.")
@click.option("--plan", is_flag=True, help="Show what would be done, and do nothing.")
@common
def record(
    model: str,
    path: Path,
    level: str | None,
    plan: bool,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Train the recipe at PATH from its clean commit; register the version with its lineage."""
    from harness import app

    answer = app.record(settings, path, model, level=level, plan=plan, progress=progress)
    if plan:
        return print_answer(answer, as_json, lambda: plan_text(answer))
    return print_answer(answer, as_json, lambda: f"{answer['uri']} recorded, with its lineage")


@click.command()
@click.argument("model")
@click.option("--repo", required=True, help="URL or folder of the repository.")
@click.option("--commit", required=True, help="The full commit id that was trained.")
@click.option("--recipe", required=True, type=click.Path(path_type=Path), help="A recipe.toml.")
@click.option("--profile", type=LEVELS, help="Replay at this level (default: off, as unknown).")
@common
def adopt(
    model: str,
    repo: str,
    commit: str,
    recipe: Path,
    profile: str | None,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Attach lineage to MODEL, a version that was trained elsewhere."""
    from harness import app

    answer = app.adopt(
        settings,
        model,
        repo=repo,
        commit=commit,
        recipe=recipe,
        profile=profile,
        progress=progress,
    )
    return print_answer(answer, as_json, lambda: f"{answer['uri']} adopted, with its lineage")
