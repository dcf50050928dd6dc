"""The verification line: registry version -> lineage -> rerun -> comparisons -> verdict."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import comparing, determinism, evidence, executor, policy, recipe
from harness.attestations import keys
from harness.errors import (
    InfrastructureError,
    RerunFailed,
    SourceUnavailable,
    Unverifiable,
    UsageError,
)
from harness.evidence import Finished, Signing
from harness.executor import Parts, Workspace
from harness.files import digest as file_digest
from harness.files import write_atomic
from harness.judge import Case, judge
from harness.lineages import check_intact, read_lineage
from harness.model import (
    Comparison,
    EnvironmentRecord,
    Lineage,
    NeedRun,
    Outcome,
    Profile,
    Role,
    RunResult,
    StageResult,
    Verdict,
    Version,
)
from harness.predicting import Predictor
from harness.record import canonical, digest, load, plain
from harness.reporters.base import Reporter
from harness.runtimes.base import Environment


@dataclass(frozen=True)
class Options:
    """What the caller asks of one verification.

    `profile_set` are overrides such as `threads=2`; `resume` is the id of an interrupted run.
    """

    reruns: int
    profile_set: tuple[str, ...] = ()
    resume: str = ""


@dataclass
class Draft:
    """What one verification has found so far; the record is made of it however the line ends."""

    id: str
    folder: Path
    lineage: Lineage | None = None
    lineage_digest: str = ""
    environment: EnvironmentRecord | None = None
    runs: list[RunResult | None] = field(default_factory=list)
    against: list[tuple[Comparison, ...] | None] = field(default_factory=list)
    between: list[tuple[Comparison, ...] | None] = field(default_factory=list)
    conditional: tuple[str, ...] = ()
    stages: list[StageResult] = field(default_factory=list)
    history: evidence.History | None = None


class Line:
    """One verification of one version; each stage takes a value and returns the next."""

    def __init__(
        self,
        parts: Parts,
        signing: Signing,
        rules: policy.Policy,
        reporters: Mapping[str, Reporter],
        runs: Path,
    ) -> None:
        self.parts, self.signing, self.rules = parts, signing, rules
        self.reporters, self.runs = reporters, runs

    def verify(self, version: Version, options: Options) -> Finished:
        """Verify a version to its record on disk; publishing is the caller's last step.

        Raises: UsageError when the version or an option is wrong; every other end is a record.
        """
        name = options.resume or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        draft = Draft(name, self.runs / name)
        if options.resume and not (draft.folder / "version.json").exists():
            raise UsageError(f"no run {name} to resume", f"the runs are in {self.runs}")
        self._claim(draft, version)
        try:
            verdict = self._line(draft, version, options)
        except Unverifiable as error:
            verdict = Verdict(Outcome(error.outcome), reasons=error.reasons)
        except (InfrastructureError, OSError, MemoryError) as error:
            where = draft.stages[-1].name if draft.stages else "start"
            verdict = Verdict(Outcome.ERROR, reasons=(f"{where}: {error}",))
        return self._record(draft, version, verdict)

    def _claim(self, draft: Draft, version: Version) -> None:
        mark = draft.folder / "version.json"
        mine = canonical(version)
        if mark.exists() and mark.read_bytes() != mine:
            raise UsageError(f"run {draft.id} is of another version", "give its own version")
        write_atomic(mark, mine)

    @contextmanager
    def _stage(self, draft: Draft, name: str) -> Iterator[None]:
        self.parts.progress.stage(name)
        begun, status = time.monotonic(), "failed"
        try:
            yield
            status = "done"
        finally:
            taken = round(time.monotonic() - begun, 3)
            draft.stages.append(StageResult(name, status, taken))
            self.parts.progress.done(name, taken, status)

    def _line(self, draft: Draft, version: Version, options: Options) -> Verdict:
        with self._stage(draft, "resolve"):
            lineage = self._resolve(draft, version)
            plan = recipe.parse(lineage.recipe_text, lineage.recipe_path)
            profile = determinism.override(lineage.profile, options.profile_set)
        with self._stage(draft, "intact"):
            recorded = self._intact(draft, version, lineage)
        with self._stage(draft, "checkout"):
            workspace = executor.prepare(self.parts, lineage.code, plan, draft.folder / "workspace")
            _same_data(lineage, workspace)
        with self._stage(draft, "rebuild"):
            environment = executor.build(self.parts, workspace, plan)
            draft.environment = environment.record
            _same_environment(lineage.environment, environment.record)
        return self._judge(
            draft,
            version,
            options,
            lineage,
            lambda folder: executor.train(
                self.parts, workspace, environment, plan, profile, folder
            ),
            plan,
            recorded,
            workspace,
            environment,
            profile,
        )

    def _resolve(self, draft: Draft, version: Version) -> Lineage:
        documents = self.parts.registry.documents(version, "lineage")
        tags = self.parts.registry.info(version).tags
        draft.lineage, draft.lineage_digest = read_lineage(
            documents, tags, version, self.signing.trust
        )
        return draft.lineage

    def _intact(self, draft: Draft, version: Version, lineage: Lineage) -> Path:
        """Download the registered artifacts and hold them against the signed manifest."""
        folder = draft.folder / "recorded"
        for name, fetch in (
            ("model", self.parts.registry.download),
            ("other", self.parts.registry.download_outputs),
        ):
            got = fetch(version, folder / name)
            if got != folder / name and got.exists():
                got.rename(folder / name)
        check_intact(folder, lineage)
        return folder

    def _judge(
        self,
        draft: Draft,
        version: Version,
        options: Options,
        lineage: Lineage,
        train: Callable[[Path], RunResult],
        plan: recipe.Recipe,
        recorded: Path,
        workspace: Workspace,
        environment: Environment,
        profile: Profile,
    ) -> Verdict:
        root = workspace.source / workspace.code.folder
        compare = comparing.Comparer(plan, recorded, lineage.outputs, root)
        predict = Predictor(
            self.parts, workspace, environment, plan, profile, recorded, compare.tolerance
        )
        while True:
            self._run(draft, train, compare, predict)
            first = draft.runs[0]
            assert first is not None
            draft.conditional = _conditions(lineage, first, environment.record, options)
            with self._stage(draft, "judge"):
                history = self._history(draft, version)
                verdict = judge(
                    Case(
                        tuple(draft.against),
                        tuple(draft.between),
                        _copied(first, workspace),
                        _other_class(lineage, first),
                        draft.conditional,
                        options.reruns,
                        evidence.earlier(history, draft.lineage_digest),
                    )
                )
            if isinstance(verdict, Verdict):
                return verdict
            assert isinstance(verdict, NeedRun)
            self.parts.progress.note(f"one more run: {verdict.why}")

    def _run(
        self,
        draft: Draft,
        train: Callable[[Path], RunResult],
        compare: comparing.Comparer,
        predict: Predictor,
    ) -> None:
        number = len(draft.runs) + 1
        folder = draft.folder / f"run-{number}"
        try:
            with self._stage(draft, "retrain" if number == 1 else f"retrain {number}"):
                run = _resumed(folder) or _trained(train, folder)
        except RerunFailed:
            if number == 1:
                raise
            # A failed diagnostic rerun leaves the difference unexplained; it is no new outcome.
            draft.runs.append(None)
            draft.against.append(None)
            draft.between.append(None)
            return
        draft.runs.append(run)
        with self._stage(draft, "compare" if number == 1 else f"compare {number}"):
            found = compare.with_recorded(folder, run.outputs)
            if number > 1:
                first = draft.runs[0]
                assert first is not None
                draft.between.append(
                    compare.two_runs(draft.folder / "run-1", first.outputs, folder, run.outputs)
                )
        if predict.wanted(found, folder):
            with self._stage(draft, "predict" if number == 1 else f"predict {number}"):
                found = predict.settle(found, folder)
        draft.against.append(found)

    def _history(self, draft: Draft, version: Version) -> evidence.History:
        """Return the trusted records of the version, read once: we hold its lock."""
        if draft.history is None:
            draft.history = evidence.trusted_records(version, self.parts.registry, self.signing)
        return draft.history

    def _record(self, draft: Draft, version: Version, verdict: Verdict) -> Finished:
        done = [r for r in draft.runs if r is not None]
        lineage = draft.lineage
        comparisons = next((a for a in draft.against if a is not None), ())
        body: dict[str, Any] = {
            "id": draft.id,
            "stages": draft.stages,
            "lineage": lineage or {},
            "lineage_digest": draft.lineage_digest or digest(b""),
            "environment": {
                "recorded": lineage.environment if lineage else {},
                "reproduced": draft.environment or {},
            },
            "runs": done,
            "artifacts": [evidence.artifact(c) for c in comparisons],
            "hardware": {
                "recorded": lineage.hardware if lineage else {},
                "reproduced": done[0].hardware if done else {},
            },
            "policy": {"uri": self.rules.uri, "digest": self.rules.digest},
            "comparators": comparing.in_force(),
            "created_at": keys.now(),
        }
        try:
            history = self._history(draft, version)
        except InfrastructureError:
            # The registry went away: chain to what this machine knows, publish with sync.
            history = evidence.local_records(version, self.signing)
        previous = evidence.previous(history, self.signing.key.keyid)
        record = evidence.finish(body, verdict, version, self.signing, previous)
        plain_record = plain(record)
        decision = policy.decide(self.rules, plain_record)
        return evidence.save(plain_record, decision, lineage, version, self.signing, self.reporters)


def _same_data(lineage: Lineage, workspace: Workspace) -> None:
    # An adopted lineage never read its data: there the md5 is all that was recorded.
    read = all(d.sha256 for d in lineage.data)
    recorded = {d.path: d.sha256 if read else d.md5 for d in lineage.data}
    brought = {d.path: d.sha256 if read else d.md5 for d in workspace.data}
    wrong = tuple(
        f"{path}: no longer has its recorded digest"
        for path in sorted(recorded.keys() | brought.keys())
        if recorded.get(path) != brought.get(path)
    )
    if wrong:
        raise SourceUnavailable("; ".join(wrong), wrong)


def _same_environment(recorded: EnvironmentRecord, rebuilt: EnvironmentRecord) -> None:
    """Stop before any training when the lock, or what was installed from it, is not the same."""
    wrong = []
    if recorded.lock_sha256 != rebuilt.lock_sha256:
        wrong.append(f"{recorded.lock_path}: no longer has its recorded sha256")
    if recorded.inventory:
        was = {p.name: p.version for p in recorded.inventory}
        now = {p.name: p.version for p in rebuilt.inventory}
        wrong += [
            f"package {n}: {was.get(n, 'absent')} recorded, {now.get(n, 'absent')} rebuilt"
            for n in sorted(was.keys() | now.keys())
            if was.get(n) != now.get(n)
        ]
    same_place = (recorded.runtime, recorded.python, recorded.base) == (
        rebuilt.runtime,
        rebuilt.python,
        rebuilt.base,
    )
    if same_place and not wrong and recorded.content_digest not in {"", rebuilt.content_digest}:
        wrong.append("the installed files are not the recorded ones, from the same lock")
    if wrong:
        raise SourceUnavailable("; ".join(wrong), tuple(wrong))


def _conditions(
    lineage: Lineage, run: RunResult, environment: EnvironmentRecord, options: Options
) -> tuple[str, ...]:
    """Return what differs around the training, overrides first."""
    lines = [f"profile: {change} was set for this replay" for change in options.profile_set]
    lines += determinism.differences(lineage.hardware, run.hardware)
    was = lineage.environment
    for name, a, b in (
        ("runtime", was.runtime, environment.runtime),
        ("interpreter", was.python, environment.python),
        ("base image", was.base, environment.base),
        ("sandbox", lineage.sandbox, run.sandbox),
    ):
        if a and a != b:
            lines.append(f"{name}: {a} recorded, {b or 'none'} now")
    return tuple(lines)


def _other_class(lineage: Lineage, run: RunResult) -> str:
    if not lineage.hardware.arch:
        return ""
    a, b = lineage.hardware.hardware_class, run.hardware.hardware_class
    return "" if a == b else f"{a} recorded, {b} now"


def _copied(run: RunResult, workspace: Workspace) -> tuple[str, ...]:
    origin = {sha: path for path, sha in workspace.inputs.items()}
    return tuple(
        f"{o.path} has the content of {origin[o.sha256]}"
        for o in run.outputs
        if o.role == Role.MODEL and o.size and o.sha256 in origin
    )


def _trained(train: Callable[[Path], RunResult], folder: Path) -> RunResult:
    run = train(folder)
    write_atomic(folder / "run.json", canonical(run))
    return run


def _resumed(folder: Path) -> RunResult | None:
    """Return a finished run of an interrupted verification, if its files are still what it made."""
    mark = folder / "run.json"
    if not mark.exists():
        return None
    run = load(RunResult, mark.read_bytes(), str(mark))
    for output in run.outputs:
        path = executor.locate(folder, output)
        if not path.is_file() or file_digest(path)[0] != output.sha256:
            return None
    return run
