"""The recording line: clean commit -> trained model -> registered version with its lineage."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import curves, determinism, executor, recipe
from harness.attestations import dsse, keys, statements
from harness.attestations.keys import PrivateKey
from harness.collected import logged_params
from harness.errors import IncompleteLineage, SourceUnavailable, UsageError
from harness.executor import Parts, Workspace
from harness.files import digest as file_digest
from harness.files import entries, root_digest, walk, write_atomic
from harness.lineages import LINEAGE, tags
from harness.model import (
    CodeRef,
    EnvironmentRecord,
    Gap,
    Hardware,
    Lineage,
    Profile,
    Role,
    RunResult,
    Version,
)
from harness.progress import timed
from harness.record import canonical, digest, load
from harness.registries.base import NewVersion, Registry
from harness.runtimes.base import EnvironmentSpec

RECIPE = "recipe.toml"


@dataclass(frozen=True)
class Recorded:
    """A registered version and the digest of its signed lineage."""

    version: Version
    lineage: Lineage
    lineage_digest: str


class Recorder:
    """Makes versions with lineage: by training them, or by adopting what was trained elsewhere."""

    def __init__(self, parts: Parts, key: PrivateKey, home: Path) -> None:
        self.parts, self.key, self.home = parts, key, home

    def record(self, path: Path, model: str, profile_set: tuple[str, ...] = ()) -> Recorded:
        """Train the recipe of a clean commit and register what it made.

        Raises: IncompleteLineage for a tree that is dirty or not to be had by others;
        RerunFailed when the training fails; UsageError for a bad recipe.
        """
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = self.home / "runs" / name
        with self._stage("code"):
            ref, author = self.clean(path)
        with self._stage("checkout"):
            text = recipe_at(self.parts, ref, folder / "look")
            plan = recipe.parse(text, RECIPE)
            workspace = executor.prepare(self.parts, ref, plan, folder / "workspace")
        with self._stage("rebuild"):
            environment = executor.build(self.parts, workspace, plan)
        profile = determinism.override(plan.profile, profile_set)
        with self._stage("train"):
            run = executor.train(
                self.parts, workspace, environment, plan, profile, folder / "run-1"
            )
        with self._stage("register"):
            lineage = _lineage(workspace, text, environment.record, profile, run, author)
            lineage = dataclasses.replace(
                lineage, annotations=_annotations(plan, run, folder / "run-1")
            )
            return self._register(model, lineage, folder / "run-1", name)

    def clean(self, path: Path) -> tuple[CodeRef, str]:
        """Return the commit of a clean working copy, and its author.

        Raises: IncompleteLineage naming the files that are not committed, or what others miss.
        """
        state = self.parts.code.describe(path)
        if state.dirty:
            listed = ", ".join(state.dirty[:10]) + (" …" if len(state.dirty) > 10 else "")
            raise IncompleteLineage(
                f"the tree is dirty: {listed}",
                tuple(f"not committed: {name}" for name in state.dirty),
                "commit, ignore or remove these files, then record again",
            )
        if state.gaps:
            raise IncompleteLineage(
                "; ".join(map(str, state.gaps)),
                tuple(map(str, state.gaps)),
                state.gaps[0].fix,
            )
        return state.ref, state.author

    def _stage(self, name: str) -> Any:
        return timed(self.parts.progress, name)

    def _register(self, model: str, lineage: Lineage, run: Path, name: str) -> Recorded:
        notes = lineage.annotations
        version = self.parts.registry.register(
            NewVersion(
                model,
                run / "model",
                run / "other" if (run / "other").is_dir() else None,
                notes.get("metrics", {}),
                notes.get("params", {}),
                {},
            )
        )
        # From here a version exists; its lineage waits on disk until the registry has it.
        pending = self.home / "pending" / f"{name}.json"
        write_atomic(pending, canonical(dataclasses.replace(lineage, version=version)))
        return attach(pending, self.parts.registry, self.key)

    def adopt(self, version: Version, ref: CodeRef, text: str, profile: Profile | None) -> Recorded:
        """Attach lineage to a version that was trained elsewhere; says `adopted`.

        Raises: IncompleteLineage when the registry noted another commit than `ref`.
        """
        plan = recipe.parse(text, "the adopted recipe")
        noted = str(self.parts.registry.info(version).recorded.get("git_commit") or "")
        if noted and noted != ref.commit:
            raise IncompleteLineage(
                f"the registry noted commit {noted}, not {ref.commit}",
                hint="adopt with the commit that the training ran at",
            )
        name = f"adopt-{secrets.token_hex(6)}"
        folder = self.home / "runs" / name
        code = self.parts.code.checkout(ref, folder / "source")
        root = folder / "source" / code.folder
        lock = root / plan.lock
        if not lock.is_file():
            raise IncompleteLineage(
                f"{plan.lock} is not in the repository at {ref.commit[:12]}",
                hint="name the lock in the recipe's [environment]",
            )
        _, data = executor.data_plan(self.parts, folder / "source", code.folder, plan)
        if data.gaps:
            names = tuple(map(str, data.gaps))
            raise IncompleteLineage("; ".join(names), names, data.gaps[0].fix)
        model = self.parts.registry.download(version, folder / "model")
        outputs = entries(model, walk(model), Role.MODEL)
        environment = EnvironmentRecord("unknown", plan.lock, file_digest(lock)[0], "", "", "", "")
        now = keys.now()
        lineage = Lineage(
            "adopted",
            code,
            RECIPE,
            text,
            data.objects,
            environment,
            profile or Profile("off", 0, None),
            Hardware(),
            outputs,
            root_digest(outputs),
            sandbox="",
            started_at=now,
            finished_at=now,
            version=version,
        )
        pending = self.home / "pending" / f"{name}.json"
        write_atomic(pending, canonical(lineage))
        return attach(pending, self.parts.registry, self.key)


def attach(pending: Path, registry: Registry, key: PrivateKey) -> Recorded:
    """Sign a lineage that waits on disk and store it with its version."""
    lineage = load(Lineage, pending.read_bytes(), str(pending))
    assert lineage.version is not None
    envelope = dsse.sign(statements.provenance(lineage), key)
    registry.put_documents(
        lineage.version,
        "lineage",
        {LINEAGE: envelope, "lineage.sigstore.json": dsse.bundle(envelope)},
        tags(lineage, digest(envelope)),
    )
    pending.unlink()
    return Recorded(lineage.version, lineage, digest(envelope))


def recipe_at(parts: Parts, ref: CodeRef, folder: Path) -> str:
    """Return the text of the recipe at a commit.

    Raises: UsageError when the commit has none.
    """
    parts.code.checkout(ref, folder)
    path = folder / ref.folder / RECIPE
    if not path.is_file() or path.is_symlink():
        raise UsageError(
            f"{RECIPE}: not in {ref.folder!r} at commit {ref.commit[:12]}",
            "harness init writes one; commit it",
        )
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise UsageError(f"{RECIPE}: not UTF-8: {error}", "save it as UTF-8") from None


def gaps(parts: Parts, lineage: Lineage, folder: Path) -> tuple[Gap, ...]:
    """Return everything of a lineage that can no longer be had; no data, no compute."""
    if found := parts.code.missing(lineage.code):
        return found
    try:
        code = parts.code.checkout(lineage.code, folder)
    except SourceUnavailable as error:
        return tuple(Gap("code", reason, error.hint) for reason in error.reasons)
    plan = recipe.parse(lineage.recipe_text, lineage.recipe_path)
    base, data = executor.data_plan(parts, folder, code.folder, plan)
    root = folder / code.folder
    spec = EnvironmentSpec(root, plan.lock, plan.python, plan.base, plan.image)
    return (*data.gaps, *parts.data.missing(base, data), *parts.runtime.missing(spec))


def _lineage(
    workspace: Workspace,
    text: str,
    environment: EnvironmentRecord,
    profile: Profile,
    run: RunResult,
    author: str,
) -> Lineage:
    return Lineage(
        "recorded",
        workspace.code,
        RECIPE,
        text,
        workspace.data,
        environment,
        profile,
        run.hardware,
        run.outputs,
        root_digest(o for o in run.outputs if o.role == Role.MODEL),
        run.sandbox,
        run.bootstrap,
        run.started_at,
        run.finished_at,
        author,
    )


def _annotations(plan: recipe.Recipe, run: RunResult, folder: Path) -> Mapping[str, Any]:
    params = {f"param.{k}": str(v) for k, v in plan.params.items()}
    words = list(plan.command)
    for name, value in zip(words, [*words[1:], "--"], strict=False):
        if name.startswith("--"):
            key, _, given = name.removeprefix("--").partition("=")
            params[key] = given or ("true" if value.startswith("--") else value)
    params |= logged_params(folder / "collected" / "mlflow")
    params |= {"seed": str(plan.profile.seed), "determinism": plan.profile.level}
    return {
        "metrics": dict(curves.metrics(folder, run.outputs)),
        "params": params,
        "curves": dict(run.curves),
    }


def pending(home: Path) -> tuple[Path, ...]:
    """Return the lineages that wait on disk for their version, oldest first."""
    return tuple(sorted((home / "pending").glob("*.json")))
