"""Models that only their own library can load, compared by what they predict in the sandbox.

One job per side: a malicious registered model never shares a process with the retrained one.
A pickle is loaded there only when it imports nothing beyond the packages that models are made
of, and both sides import the same: code inside a model could answer what it pleases.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness import determinism
from harness.comparators import predictions
from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.catboost import CatBoost
from harness.comparators.document import clip
from harness.comparators.lightgbm import LightGbm
from harness.comparators.pickle import IMPORTS, PickleComparator, unsafe_names
from harness.comparators.predictions import Arrays
from harness.comparators.skops import SkopsComparator
from harness.comparators.xgboost import XgBoost
from harness.executor import Parts, Workspace
from harness.model import Comparison, Difference, Profile, Role, Status, Tolerance
from harness.recipe import Recipe
from harness.runtimes import predict as script
from harness.runtimes.base import REPORTS, Environment, Job, Limits

ID = "predictions"
HEAD = 64 << 10
TIMEOUT = 600.0
OUTPUT = 1 << 30
KINDS = (
    ("lightgbm", LightGbm),
    ("xgboost", XgBoost),
    ("catboost", CatBoost),
    ("skops", SkopsComparator),
    ("pickle", PickleComparator),
)
OPEN = {Status.DIFFERENT, Status.UNCOMPARABLE}


class Predictor:
    """Predicts with both sides of an artifact on the recipe's probe inputs."""

    def __init__(
        self,
        parts: Parts,
        workspace: Workspace,
        environment: Environment,
        recipe: Recipe,
        profile: Profile,
        recorded: Path,
        tolerance: Callable[[str], Tolerance],
    ) -> None:
        self._parts, self._environment, self._recipe = parts, environment, recipe
        self._source = workspace.source / workspace.code.folder
        self._profile = replace(profile, level="strict", threads=1, clock="")
        self._recorded, self._tolerance = recorded, tolerance
        self._known: dict[str, Arrays] = {}

    def wanted(self, comparisons: tuple[Comparison, ...], folder: Path) -> bool:
        """Return whether any of the artifacts is for the probe to decide."""
        return any(self._kind(c, folder) for c in comparisons)

    def settle(self, comparisons: tuple[Comparison, ...], folder: Path) -> tuple[Comparison, ...]:
        """Return the comparisons, those that the probe decides with what was seen there."""
        return tuple(
            replace(c, difference=_told(c.difference, self._seen(c, kind, folder)))
            if (kind := self._kind(c, folder))
            else c
            for c in comparisons
        )

    def _kind(self, comparison: Comparison, folder: Path) -> str:
        """Return what would load both files; empty for whatever is not ours to predict with."""
        if not self._recipe.probe or comparison.role != Role.MODEL:
            return ""
        if comparison.difference.status not in OPEN:
            return ""
        sides = [_model(root, comparison.path) for root in (self._recorded, folder)]
        if not all(p.is_file() and not p.is_symlink() for p in sides):
            return ""
        looks = [_sniff(p) for p in sides]
        return next((k for k, c in KINDS if all(c().recognises(s) for s in looks)), "")

    def _seen(self, comparison: Comparison, kind: str, folder: Path) -> Difference:
        path = comparison.path
        try:
            rows = self._rows()
            if kind == "pickle":
                _harmless(_model(self._recorded, path), _model(folder, path))
            if path not in self._known:
                place = folder.parent / "predict-recorded"
                self._known[path] = self._predict(self._recorded, path, kind, place, rows)
            place = folder.parent / f"predict-{folder.name}"
            mine = self._predict(folder, path, kind, place, rows)
        except CannotCompare as error:
            return Difference("behaviour", Status.UNCOMPARABLE, ID, error.message)
        source = f"{rows} recorded probe rows by {', '.join(sorted(mine))}"
        rule = predictions.rule_of(self._tolerance(path))
        return predictions.judged(self._known[path], mine, rule, source, ID)

    def _rows(self) -> int:
        """Return how many rows the probe has. Raises: CannotCompare for none."""
        probe = self._source / self._recipe.probe
        if probe.is_symlink() or not probe.is_file():
            raise CannotCompare(f"probe inputs {self._recipe.probe}: no such file in the checkout")
        arrays = predictions.read(probe)
        counts = {a.shape[0] if a.ndim else 0 for a in arrays.values()}
        if len(counts) != 1 or not (rows := counts.pop()):
            raise CannotCompare(
                f"probe inputs {self._recipe.probe}: at least one row, and as many in every array"
            )
        return int(rows)

    def _predict(self, side: Path, path: str, kind: str, place: Path, rows: int) -> Arrays:
        """Run the job of one side. Raises: CannotCompare when it made no usable predictions."""
        shutil.rmtree(place, ignore_errors=True)
        source = place / "source"
        source.mkdir(parents=True)
        suffix = Path(path).suffix
        name = "subject" + (suffix if re.fullmatch(r"\.\w{1,12}", suffix) else "")
        shutil.copyfile(_model(side, path), source / name)
        shutil.copyfile(self._source / self._recipe.probe, source / script.PROBE)
        shutil.copyfile(str(script.__file__), source / "predict.py")
        job = self._job(source, place, ("python", "predict.py", name, kind))
        result = self._parts.runtime.run(self._environment, job, self._parts.progress.log)
        which = "the registered model" if side == self._recorded else "the retrained model"
        if result.failure or result.exit_status != 0:
            why = result.failure or f"exit status {result.exit_status}"
            raise CannotCompare(f"{which} cannot predict: {why}{_last(result.log)}")
        out = place / "out" / "work" / script.OUT
        if not out.is_file():
            raise CannotCompare(f"{which} cannot predict: it wrote no {script.OUT}")
        return _checked(predictions.read(out), rows, which)

    def _job(self, source: Path, place: Path, command: tuple[str, ...]) -> Job:
        limits = self._recipe
        return Job(
            f"{place.parent.name}-{place.name}",
            source,
            ".",
            (command,),
            determinism.environment(self._profile, REPORTS),
            determinism.bootstrap_path(),
            (script.OUT,),
            place / "out",
            Limits(
                limits.cpus,
                limits.memory,
                min(limits.output_size, OUTPUT),
                limits.pids,
                timeout=min(limits.timeout, TIMEOUT),
            ),
        )


def _model(root: Path, path: str) -> Path:
    return root / "model" / path


def _sniff(path: Path) -> Sniff:
    with path.open("rb") as file:
        return Sniff(path, path.stat().st_size, file.read(HEAD))


def _harmless(recorded: Path, reproduced: Path) -> None:
    """Raise CannotCompare unless both pickles import the same names, all of known packages."""
    try:
        one, two = (
            set(PickleComparator().parse(p, Context()).content[IMPORTS])
            for p in (recorded, reproduced)
        )
    except Exception as error:  # hostile bytes: parsers raise what they please
        raise CannotCompare(f"not loaded: its imports cannot be read ({error})") from error
    if unsafe := unsafe_names(one | two):
        raise CannotCompare(f"not loaded: it would import {', '.join(unsafe[:5])}")
    if one != two:
        other = ", ".join(sorted(one ^ two)[:5])
        raise CannotCompare(f"not loaded: only one of the two would import {other}")


def _checked(arrays: Arrays, rows: int, which: str) -> Arrays:
    if not arrays or not arrays.keys() <= set(script.METHODS):
        raise CannotCompare(f"{which} made no predictions that we asked for")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not array.size:
            raise CannotCompare(f"{which}: {name} has no numbers")
        if array.shape[:1] != (rows,):
            shape = list(array.shape)
            raise CannotCompare(f"{which}: {name} has shape {shape} for {rows} probe rows")
    return arrays


def _last(log: Path) -> str:
    """Return the last line of a job's log, for the reason."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return f" ({clip(lines[-1])})" if lines else ""


def _told(found: Difference, seen: Difference) -> Difference:
    """Return the artifact's tree with its behaviour, which alone decides when it agrees."""
    if seen.status == Status.BEHAVIOURAL:
        why = f"content differs ({found.reason}), predictions agree: {seen.reason}"
        return replace(
            seen, name=found.name, comparator=found.comparator, reason=why,
            set_aside=found.set_aside,
        )  # fmt: skip
    reason = "; ".join(r for r in (found.reason, f"behaviour: {seen.reason}") if r)
    return replace(found, reason=reason, children=(*found.children, seen))
