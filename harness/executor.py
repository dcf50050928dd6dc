"""From a commit to a trained model: the part that recording and verifying share."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from harness import determinism, files
from harness.code.base import CodeSource
from harness.collected import logged_model
from harness.curves import histories
from harness.data.base import DataPlan, DataSource
from harness.errors import Inconclusive, RerunFailed, SourceUnavailable
from harness.mlproject import entry_command
from harness.model import CodeRef, DataObject, FileEntry, Profile, Role, RunResult
from harness.progress import Progress
from harness.recipe import Recipe
from harness.registries.base import Registry
from harness.runtimes.base import (
    REPORTS,
    TRACKING,
    Environment,
    EnvironmentSpec,
    Job,
    JobResult,
    Limits,
    Runtime,
)

LOG_TAIL = 4000


@dataclass(frozen=True)
class Parts:
    """The adapters that one line is made of, composed by `app`."""

    registry: Registry
    code: CodeSource
    data: DataSource
    runtime: Runtime
    progress: Progress


@dataclass(frozen=True)
class Workspace:
    """A commit and its data on disk, without anything that the training is to make.

    `source` is the root of the tree; `inputs` the sha256 of every file in it, by path.
    """

    source: Path
    code: CodeRef
    data: tuple[DataObject, ...]
    commands: tuple[tuple[str, ...], ...]
    inputs: Mapping[str, str]

    @property
    def folder(self) -> PurePosixPath:
        """Return the recipe's folder within the tree."""
        return PurePosixPath(self.code.folder)


def prepare(parts: Parts, ref: CodeRef, recipe: Recipe, folder: Path) -> Workspace:
    """Bring code and data into an empty folder and take out what the training makes.

    Raises: SourceUnavailable, IncompleteLineage (design section 3).
    """
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "source"
    code = parts.code.checkout(ref, source)
    root = source / code.folder
    base, plan = data_plan(parts, source, code.folder, recipe)
    if plan.gaps:
        names = tuple(map(str, plan.gaps))
        raise SourceUnavailable(
            "the data cannot be brought: " + "; ".join(names), names, plan.gaps[0].fix
        )
    data = parts.data.fetch(base, plan)
    _empty_outputs(root, recipe)
    _remove(base, plan.made)
    inputs = {f.path: f.sha256 for f in files.entries(source, files.walk(source), Role.REPORT)}
    return Workspace(source, code, data, _commands(parts, root, recipe), inputs)


def data_plan(parts: Parts, source: Path, folder: str, recipe: Recipe) -> tuple[Path, DataPlan]:
    """Return what the commit tracks, and the folder that its paths are relative to.

    A recipe in a sub-folder uses the data repository around it, with targets of its own.
    """
    root = source / folder
    own = recipe.stages or None
    if folder == "." or (root / ".dvc").is_dir():
        return root, parts.data.plan(root, recipe.data, own)
    targets = None if recipe.data is None else tuple(f"{folder}/{t}" for t in recipe.data)
    return source, parts.data.plan(source, targets, own)


def _commands(parts: Parts, root: Path, recipe: Recipe) -> tuple[tuple[str, ...], ...]:
    if recipe.command:
        return (recipe.command,)
    if recipe.stages:
        return parts.data.stage_commands(root, recipe.stages)
    return (entry_command(root / "MLproject", recipe.entry_point, recipe.params),)


def _empty_outputs(root: Path, recipe: Recipe) -> None:
    """Remove stale outputs, so that none of them can pass for a result."""
    workdir = root / recipe.workdir
    for path in list(files.walk(workdir)) if workdir.is_dir() else ():
        if any(files.matches(path, output.path) for output in recipe.outputs):
            (workdir / path).unlink()


def _remove(base: Path, made: Iterable[str]) -> None:
    for path in made:
        target = base / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def build(parts: Parts, workspace: Workspace, recipe: Recipe) -> Environment:
    """Build the locked environment of a workspace, or take it from the cache."""
    spec = EnvironmentSpec(
        workspace.source / workspace.code.folder,
        recipe.lock,
        recipe.python,
        recipe.base,
        recipe.image,
    )
    return parts.runtime.build(spec, parts.progress.log)


def train(
    parts: Parts,
    workspace: Workspace,
    environment: Environment,
    recipe: Recipe,
    profile: Profile,
    folder: Path,
) -> RunResult:
    """Run the training once in `folder`; its outputs end in `folder`/model and /other.

    Raises: RerunFailed when it failed, timed out, or made no model output.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = _now()
    job = _job(workspace, recipe, profile, folder)
    result = parts.runtime.run(environment, job, parts.progress.log)
    tail = _tail(result.log)
    if result.failure or result.exit_status != 0:
        raise RerunFailed(*_failure(result, tail))
    outputs = _sort(folder, recipe)
    if not any(o.role == Role.MODEL for o in outputs):
        refused = [f"not kept: {r}" for r in result.refused]
        raise RerunFailed(
            "; ".join(["the training made no model output", *refused[:5]]),
            ("the training made no model output", *refused, *tail.splitlines()[-5:]),
            _no_model(recipe),
        )
    summary = determinism.read(folder / "collected" / "reports")
    return RunResult(
        result.exit_status,
        result.seconds,
        result.sandbox,
        outputs,
        determinism.fingerprint(summary),
        summary,
        result.unlimited,
        log_tail=tail,
        started_at=started,
        finished_at=_now(),
        curves=histories(folder, outputs),
    )


def _no_model(recipe: Recipe) -> str:
    wanted = [o.path for o in recipe.outputs if o.role == Role.MODEL]
    if wanted:
        return f"check what the script writes against [[output]] path: {', '.join(wanted)}"
    return 'add [[output]] with path = "FILE" and role = "model" to the recipe, or log to MLflow'


def _job(workspace: Workspace, recipe: Recipe, profile: Profile, folder: Path) -> Job:
    env = {
        **determinism.environment(profile, REPORTS),
        "MLFLOW_TRACKING_URI": f"file://{TRACKING}",
        # The file store is read here without MLflow; from 3.17 on it has to be asked for.
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        **recipe.env,
    }
    return Job(
        folder.parent.name + "-" + folder.name,
        workspace.source,
        str(workspace.folder / recipe.workdir),
        workspace.commands,
        env,
        determinism.bootstrap_path(),
        tuple(o.path for o in recipe.outputs),
        folder / "collected",
        Limits(
            recipe.cpus,
            recipe.memory,
            recipe.output_size,
            recipe.pids,
            recipe.gpus,
            recipe.timeout,
        ),
    )


def _failure(result: JobResult, tail: str) -> tuple[str, tuple[str, ...], str]:
    what = result.failure or f"exit status {result.exit_status}"
    lines = tuple(tail.splitlines()[-10:])
    return (
        f"the training failed: {what}" + "".join(f"\n    {line}" for line in lines[-5:]),
        (what, *lines),
        f"read the whole log: {result.log}",
    )


def _sort(folder: Path, recipe: Recipe) -> tuple[FileEntry, ...]:
    """Lay the collected files out as a version has them, and hash them."""
    collected = folder / "collected"
    roles: dict[str, Role] = {}
    found: dict[str, Path] = {}
    for prefix, root in (("", collected / "work"), ("~/", collected / "home")):
        for path in files.walk(root) if root.is_dir() else ():
            name = prefix + path
            role = next((o.role for o in recipe.outputs if files.matches(name, o.path)), None)
            if role is not None:
                roles[name], found[name] = role, root / path
    if Role.MODEL not in roles.values():
        logged = logged_model(collected / "mlflow", recipe.logged_model)
        for path in files.walk(logged) if logged else ():
            if path in found:
                raise Inconclusive(f"output {path} is also a file of the logged model")
            roles[path], found[path] = Role.MODEL, logged / path  # type: ignore[operator]
    for name, source in found.items():
        target = folder / _side(roles[name]) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
    return tuple(
        entry
        for role in Role
        for entry in files.entries(
            folder / _side(role), (n for n, r in roles.items() if r == role), role
        )
    )


def _side(role: Role) -> str:
    return "model" if role == Role.MODEL else "other"


def locate(folder: Path, entry: FileEntry) -> Path:
    """Return where an output of a run, or of a downloaded version, lies below `folder`."""
    return folder / _side(entry.role) / entry.path


def _tail(log: Path) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        return file.read().decode(errors="replace")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
