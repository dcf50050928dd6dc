"""The seam of the runtimes: build the locked environment, run one sandboxed job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.model import EnvironmentRecord, Gap

# Fixed paths inside every sandbox, so that no artifact can tell two runtimes apart by its path.
WORK = "/harness/work"
HOME = "/harness/home"
ENV = "/harness/env"
BOOTSTRAP = "/harness/bootstrap"
REPORTS = "/harness/reports"
TRACKING = "/harness/mlflow"

Sink = Callable[[str], None]


@dataclass(frozen=True)
class EnvironmentSpec:
    """What to build: the lock in the checkout, the interpreter (`3.11`), and the base below it.

    `base` is a registry digest, an engine image id, or the path of an OCI archive in the
    checkout; empty means the operator's. `image` replaces lock and base by a complete
    environment: a folder with a Dockerfile in the checkout, or `name@sha256:…`.
    """

    checkout: Path
    lock: str
    python: str
    base: str = ""
    image: str = ""


@dataclass(frozen=True)
class Environment:
    """A built environment: what is recorded of it, and the adapter's own handle to it."""

    record: EnvironmentRecord
    handle: str
    cached: bool = False


@dataclass(frozen=True)
class Limits:
    """Limits of one job: CPUs, bytes, processes, seconds; `gpus` is passed to the engine."""

    cpus: float = 2.0
    memory: int = 8 << 30
    output_size: int = 10 << 30
    pids: int = 512
    gpus: int = 0
    timeout: float = 7200.0


@dataclass(frozen=True)
class Job:
    """One training job.

    `source` (checkout with data, read-only) is copied to WORK; `commands` run in WORK/workdir
    one after the other until one fails. `collect` are globs of what is kept, relative to workdir
    or to HOME as `~/…`; matches are copied to `destination`/work and `destination`/home with
    no symlink followed, REPORTS to `destination`/reports and TRACKING to `destination`/mlflow.
    """

    run_id: str
    source: Path
    workdir: str
    commands: tuple[tuple[str, ...], ...]
    env: Mapping[str, str]
    bootstrap: Path
    collect: tuple[str, ...]
    destination: Path
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class JobResult:
    """How a job ended. `failure` is empty or a reason: `timeout`, `memory`, `output_size`, …

    `log` holds stdout and stderr, bounded; `sandbox` is `docker`, `bubblewrap` or `none`;
    `unlimited` names every isolation or limit that the host could not give; `refused` every
    output that was not kept because it was a link, a device or too large.
    """

    exit_status: int | None
    seconds: float
    log: Path
    sandbox: str
    unlimited: tuple[str, ...] = ()
    failure: str = ""
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Availability:
    """Whether this machine can use a runtime, what is missing, and how to get it."""

    ok: bool
    detail: str
    fix: str = ""
    warnings: tuple[str, ...] = ()


class Runtime(Protocol):
    """Where one training job runs."""

    name: str

    def available(self) -> Availability:
        """Return whether the runtime can be used here; cheap."""
        ...

    def missing(self, spec: EnvironmentSpec) -> tuple[Gap, ...]:
        """Return what of the environment can no longer be had; downloads no package."""
        ...

    def build(self, spec: EnvironmentSpec, sink: Sink) -> Environment:
        """Build the environment, or take it from the cache; only the fetch step has network.

        Raises: SourceUnavailable (package, hash or base gone), IncompleteLineage (lock without
        hashes, sdist only), UsageError (lock that cannot be read).
        """
        ...

    def run(self, environment: Environment, job: Job, sink: Sink) -> JobResult:
        """Run one job to its end and collect its outputs; a failing job is a result."""
        ...

    def reap(self) -> None:
        """Remove what an earlier, killed harness left behind."""
        ...
