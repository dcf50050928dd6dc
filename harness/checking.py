"""`harness check PATH`: would `record` accept this repository as it stands? No registry, no run."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import code, data, mlproject, recipe
from harness.errors import HarnessError, UsageError
from harness.house import House
from harness.model import Gap
from harness.progress import Progress, Quiet
from harness.record import plain
from harness.recording import RECIPE
from harness.runtimes import locks
from harness.settings import Settings

# The lock is held against the C library that the base image has.
_GLIBC = "2.36"
_UNPUSHED = "unpushed commit"


def repository(name: str) -> Path | None:
    """Return the folder of a training repository that `name` stands for; None for a model."""
    path = Path(name)
    if path.name == RECIPE and path.is_file():
        return path.parent
    return path if path.is_dir() else None


def check_repository(
    settings: Settings, path: Path, *, hook: str = "", progress: Progress | None = None
) -> dict[str, Any]:
    """Look for what would keep a version from being recorded, or from being made again.

    Before a commit (`hook` is `commit`) the state of the tree says nothing yet; before a push
    the commit may be unpushed.

    Raises: UsageError for a recipe that is missing or wrong.
    """
    house = House(settings, progress or Quiet())
    plan = _recipe(path)
    found = [
        *_environment(path, plan),
        *_training(path, plan),
        *_data(house, path, plan, hook),
        *(_tree(house, path, hook) if hook != "commit" else ()),
    ]
    return {
        "schema": 1,
        "path": str(path / RECIPE),
        "ok": not found,
        "gaps": [plain(g) for g in found],
        "exit_code": 3 if found else 0,
    }


def _recipe(path: Path) -> recipe.Recipe:
    where = path / RECIPE
    try:
        return recipe.parse(where.read_text(encoding="utf-8"), str(where))
    except OSError as error:
        raise UsageError(f"{where}: {error.strerror}", "harness init writes one") from None
    except UnicodeDecodeError:
        raise UsageError(f"{where}: not UTF-8 text", "write it as UTF-8") from None


def _environment(path: Path, plan: recipe.Recipe) -> Iterator[Gap]:
    if plan.image:
        if "@sha256:" not in plan.image and not (path / plan.image / "Dockerfile").is_file():
            detail = f"environment.image {plan.image!r} is no folder with a Dockerfile"
            yield Gap("image", detail, "name such a folder, or an image by its digest")
        return
    target = locks.Target(f"{plan.python}.0", _GLIBC, platform.machine())
    try:
        locks.read(path / plan.lock, target)
    except HarnessError as error:
        yield Gap("lock", error.message, error.hint)


def _training(path: Path, plan: recipe.Recipe) -> Iterator[Gap]:
    workdir = path / plan.workdir
    if not workdir.is_dir():
        yield Gap("workdir", f"{plan.workdir}: no such folder", "correct train.workdir")
    elif (script := _script(plan.command)) and not (workdir / script).is_file():
        yield Gap("script", f"{script}: no such file", "correct train.command")
    if plan.entry_point:
        try:
            mlproject.entry_command(path / "MLproject", plan.entry_point, plan.params)
        except HarnessError as error:
            yield Gap("entry point", error.message, error.hint)


def _script(command: tuple[str, ...]) -> str:
    """Return the file that a command such as `python train.py` runs; empty where unclear."""
    runs_python = command and Path(command[0]).name.startswith("python")
    return command[1] if runs_python and command[1:] and command[1].endswith(".py") else ""


def _data(house: House, path: Path, plan: recipe.Recipe, hook: str) -> Iterator[Gap]:
    source = house.load(data, "dvc")(house.home, house.settings.sources, origin=path)
    try:
        if plan.stages:
            source.stage_commands(path, plan.stages)
        found = source.plan(path, plan.data, plan.stages or None)
        yield from found.gaps
        # Before a push the objects may be on their way too: DVC's own hook pushes them then.
        if not hook and not found.gaps:
            yield from source.missing(path, found)
    except HarnessError as error:
        yield Gap("data", error.message, error.hint)


def _tree(house: House, path: Path, hook: str) -> Iterator[Gap]:
    state = house.load(code, "git")(house.home).describe(path)
    for name in state.dirty:
        yield Gap("not committed", name, "commit, ignore or remove it")
    yield from (g for g in state.gaps if not (hook == "push" and g.what == _UNPUSHED))
