"""Options that commands share, and how an answer is printed."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from harness import settings
from harness.cli.watching import watcher

Command = Callable[..., Any]
SETTINGS = ("registry", "home", "runtime", "policy", "output_dir")


def common(command: Command) -> Command:
    """Give a command the options of Settings, `--json`, `--quiet` and `--verbose`.

    The command gets `settings`, `progress` and `as_json`, and returns its exit code.
    """

    @click.option("--registry", help="MLflow registry: sqlite:///… or the URL of a server.")
    @click.option("--home", type=click.Path(), help="Folder of state and caches.")
    @click.option("--runtime", type=click.Choice(["docker", "venv"]), help="Where trainings run.")
    @click.option("--policy", type=click.Path(), help="The operator's policy.toml.")
    @click.option("--output-dir", type=click.Path(), help="Where reports are written.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option("--quiet", "-q", is_flag=True, help="No progress.")
    @click.option("--verbose", "-v", is_flag=True, help="The traceback of a bug.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, **options: Any) -> Any:
        flags = {name: options.pop(name) for name in SETTINGS}
        with watcher(quiet) as progress:
            return command(*args, settings=settings.load(flags), progress=progress, **options)

    return wrapped


def print_answer(answer: Mapping[str, Any], as_json: bool, text: Callable[[], str]) -> int:
    """Print a result to stdout, as one JSON object or as text; return its exit code."""
    click.echo(json.dumps(answer, ensure_ascii=False) if as_json else shown(text()))
    return int(answer["exit_code"])


def shown(text: str) -> str:
    """Return text without what moves a cursor, colours or reorders: names are anybody's."""
    keep = {"\n", "\t"}
    return "".join(c if c.isprintable() or c in keep else "\N{REPLACEMENT CHARACTER}" for c in text)


def plan_text(answer: Mapping[str, Any]) -> str:
    """Return a plan, one step a line."""
    return "\n".join(f"would: {line}" for line in answer["plan"])
