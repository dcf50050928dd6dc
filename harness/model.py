"""The values that flow through the pipeline, as frozen dataclasses without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What a verification found (design section 3)."""

    REPRODUCED = "REPRODUCED"
    DIVERGED = "DIVERGED"
    TAMPERED = "TAMPERED"
    INCOMPLETE_LINEAGE = "INCOMPLETE_LINEAGE"
    SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"
    RERUN_FAILED = "RERUN_FAILED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class Grade(StrEnum):
    """How strong a reproduction is, strongest first."""

    BITWISE = "BITWISE"
    EXACT = "EXACT"
    TOLERANCE = "TOLERANCE"
    BEHAVIOURAL = "BEHAVIOURAL"
    STATISTICAL = "STATISTICAL"

    @property
    def rank(self) -> int:
        """Return 0 for the strongest grade."""
        return list(Grade).index(self)

    def meets(self, minimum: Grade) -> bool:
        """Return whether this grade is at least as strong as `minimum`."""
        return self.rank <= minimum.rank


class Cause(StrEnum):
    """Why a valid rerun differs."""

    STABLE = "STABLE"
    FLAKY = "FLAKY"
    UNEXPLAINED = "UNEXPLAINED"


class Role(StrEnum):
    """What an output is for."""

    MODEL = "model"
    METRICS = "metrics"
    CHECKPOINT = "checkpoint"
    REPORT = "report"


class Status(StrEnum):
    """The answer of a comparator for one node of the difference tree."""

    IDENTICAL = "IDENTICAL"
    EXACT = "EXACT"
    WITHIN_TOLERANCE = "WITHIN_TOLERANCE"
    BEHAVIOURAL = "BEHAVIOURAL"
    DIFFERENT = "DIFFERENT"
    MISSING = "MISSING"
    EXTRA = "EXTRA"
    UNCOMPARABLE = "UNCOMPARABLE"


class Stage(StrEnum):
    """Where a version stands on its way (design section 10), in the order of a promotion."""

    DEVELOPMENT = "Development"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"

    @property
    def alias(self) -> str:
        """Return the alias that the stage's version carries; empty where there is none."""
        return self.lower() if self in {Stage.STAGING, Stage.PRODUCTION} else ""


@dataclass(frozen=True)
class Version:
    """One immutable registered model version."""

    registry: str
    name: str
    number: str

    @property
    def uri(self) -> str:
        """Return the address that users write: `models:/Name/3`."""
        return f"models:/{self.name}/{self.number}"


@dataclass(frozen=True)
class FileEntry:
    """One file bound to its content: POSIX path, size in bytes, sha256 as lower-case hex."""

    path: str
    size: int
    sha256: str
    role: Role = Role.MODEL


@dataclass(frozen=True)
class DataObject:
    """One data file: path in the checkout, size, md5 as DVC has it, sha256 once it was read.

    `target` is the DVC target that it belongs to; `remote` the name of the remote it comes from.
    """

    path: str
    size: int | None
    md5: str
    sha256: str | None = None
    target: str = ""
    remote: str = ""


@dataclass(frozen=True)
class CodeRef:
    """The code: clone URL, 40 or 64 hex commit, tree id, and the recipe's folder in it."""

    url: str
    commit: str
    tree: str = ""
    folder: str = "."


@dataclass(frozen=True)
class Gap:
    """Something the lineage lacks or a source no longer has: what it is, where, what to do."""

    what: str
    detail: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """Return one line for a person."""
        return f"{self.what}: {self.detail}" if self.detail else self.what


@dataclass(frozen=True)
class Package:
    """One installed distribution."""

    name: str
    version: str


@dataclass(frozen=True)
class EnvironmentRecord:
    """A built environment as the lineage keeps it; digests are sha256 hex or `sha256:` ids.

    `python` is the full interpreter version; `base` the digest that the lock is layered on
    (empty for the venv runtime); `image` the config digest computed by us; `content_digest`
    covers every installed file except what names a machine or a time.
    """

    runtime: str
    lock_path: str
    lock_sha256: str
    python: str
    base: str = ""
    image: str = ""
    content_digest: str = ""
    inventory: tuple[Package, ...] = ()


@dataclass(frozen=True)
class Gpu:
    """One accelerator as the training process saw it."""

    model: str
    sm_count: int = 0
    driver: str = ""


@dataclass(frozen=True)
class Hardware:
    """The machine that trained, as far as it can change bits."""

    arch: str = ""
    cpu_model: str = ""
    cpu_flags: tuple[str, ...] = ()
    cpu_capability: str = ""
    threads: Mapping[str, int] = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def hardware_class(self) -> tuple[Any, ...]:
        """Return what makes two machines comparable: architecture, capability, GPU and its SMs."""
        return (self.arch, self.cpu_capability, tuple((g.model, g.sm_count) for g in self.gpus))


@dataclass(frozen=True)
class Profile:
    """The determinism profile: what is pinned around and inside the training process."""

    level: str = "strict"
    seed: int = 0
    threads: int | None = 1
    isa: str = ""
    clock: str = ""


@dataclass(frozen=True)
class Lineage:
    """Everything a version was made from.

    `recipe_text` is the recipe's bytes as text, `outputs` every kept output (model, metrics,
    checkpoint, report) with paths relative to the workdir (`~/` for HOME); `artifact_digest`
    the OMS root digest of the model directory; `annotations` metrics, parameters, schema.
    """

    origin: str
    code: CodeRef
    recipe_path: str
    recipe_text: str
    data: tuple[DataObject, ...]
    environment: EnvironmentRecord
    profile: Profile
    hardware: Hardware
    outputs: tuple[FileEntry, ...]
    artifact_digest: str
    sandbox: str = "none"
    bootstrap: Mapping[str, Any] = field(default_factory=dict)
    started_at: str = ""
    finished_at: str = ""
    author: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict)
    version: Version | None = None


@dataclass(frozen=True)
class ToleranceRule:
    """One tolerance: it holds where `match` (a glob on tensor or key names) fits; first match wins.

    A value passes when |a - b| <= atol + rtol * |a|, `a` being the recorded one.
    """

    match: str = "*"
    rtol: float = 0.0
    atol: float = 0.0
    rationale: str = ""


@dataclass(frozen=True)
class Tolerance:
    """The tolerances of one output: rules in order, and keys that are set aside."""

    rules: tuple[ToleranceRule, ...] = ()
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True)
class Distances:
    """Distances of one tensor or number list; floats, counts of elements, indices row-major.

    `values` counts elements compared, `beyond` those outside the tolerance, `first` the index of
    the first differing element; `histogram` counts elements by log2 ULP bin, 0 ULP apart at [0];
    `ulp_sampled` says that ULP are of every n-th element, counted n times.
    """

    values: int = 0
    differing: int = 0
    beyond: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    rel_l2: float = 0.0
    ulp_p50: float | None = None
    ulp_p99: float | None = None
    ulp_max: int | None = None
    first: tuple[int, ...] | None = None
    rtol: float = 0.0
    atol: float = 0.0
    histogram: tuple[int, ...] = ()
    ulp_sampled: bool = False


@dataclass(frozen=True)
class SetAside:
    """A part that differed without meaning anything: what it was, and why it does not count."""

    what: str
    why: str


@dataclass(frozen=True)
class Difference:
    """One node of the difference tree that every comparator answers with and reporters walk.

    `values` counts the values compared at and below this node: a tree with 0 proves nothing.
    `recorded` and `reproduced` are short, bounded renderings of both sides.
    """

    name: str
    status: Status
    comparator: str = ""
    reason: str = ""
    values: int = 0
    recorded: str = ""
    reproduced: str = ""
    distances: Distances | None = None
    set_aside: tuple[SetAside, ...] = ()
    children: tuple[Difference, ...] = ()
    truncated: int = 0


@dataclass(frozen=True)
class Comparison:
    """One output compared: paths and digests of both sides, and its difference tree."""

    path: str
    role: Role
    recorded_sha256: str
    reproduced_sha256: str
    difference: Difference


@dataclass(frozen=True)
class RunResult:
    """One training run: how it ended and what it made.

    `unlimited` names every isolation or limit that the host could not give; `reports` is what
    the bootstrap of each process wrote; `outputs` the files kept, as in `Lineage.outputs`;
    `curves` are metric histories as (step, value) pairs by name.
    """

    exit_status: int | None
    seconds: float
    sandbox: str
    outputs: tuple[FileEntry, ...]
    hardware: Hardware
    bootstrap: Mapping[str, Any] = field(default_factory=dict)
    unlimited: tuple[str, ...] = ()
    failure: str = ""
    log_tail: str = ""
    started_at: str = ""
    finished_at: str = ""
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class StageResult:
    """One stage of the line: how it ended (`done`, `failed`, `skipped`) and how long it took."""

    name: str
    status: str
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """Outcome with grade or cause; follows from comparisons and recipe only."""

    outcome: Outcome
    grade: Grade | None = None
    cause: Cause | None = None
    reasons: tuple[str, ...] = ()
    conditional: tuple[str, ...] = ()


@dataclass(frozen=True)
class NeedRun:
    """The judge's other answer: one more run is needed, and why."""

    why: str


@dataclass(frozen=True)
class Decision:
    """What a policy makes of a verdict."""

    meets: bool
    reasons: tuple[str, ...]
    policy_digest: str
