"""The venv runtime: the locked packages on this machine's interpreter, in bubblewrap."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from harness import files
from harness.errors import InfrastructureError, SourceUnavailable, UsageError
from harness.model import EnvironmentRecord, Gap, Package
from harness.runtimes import jobs, limits, locks, packages, room
from harness.runtimes.base import Availability, Environment, EnvironmentSpec, Job, JobResult, Sink
from harness.runtimes.bubblewrap import BWRAP, usable

FORMAT = 1
_ASK = "import platform,sys;print(platform.python_version());print(sys.executable)"


_LACKING = {
    "memory": "memory is limited for each process, not for the job",
    "pids": "the number of processes is limited only when run as root",
    "cpu": "the CPUs of a job are not limited",
}


@dataclass(frozen=True)
class Interpreter:
    """An interpreter of this machine: real path and full version."""

    path: str
    version: str


class VenvRuntime:
    """Where one training job runs when there is no engine: this machine, in bubblewrap."""

    name = "venv"

    def __init__(self, home: Path, allow_unsandboxed: bool = True) -> None:
        self.home, self.allow_unsandboxed = home, allow_unsandboxed

    def available(self) -> Availability:
        """Return whether jobs can run here, sandboxed or, where that is allowed, not."""
        why = usable()
        lacking = tuple(f"no control group here: {_LACKING[w]}" for w in limits.Group.lacking())
        if not why:
            return Availability(True, "bubblewrap", warnings=lacking)
        fix = "install bubblewrap (Debian: apt-get install bubblewrap)"
        if self.allow_unsandboxed:
            warning = f"trainings run UNSANDBOXED: {why}"
            return Availability(True, "no sandbox", fix, (warning, *lacking))
        return Availability(False, f"the policy asks for a sandbox, and {why}", fix)

    def missing(self, spec: EnvironmentSpec) -> tuple[Gap, ...]:
        """Return what of the environment can no longer be had; downloads no package."""
        try:
            python = interpreter(spec.python)
            locked = locks.read(spec.checkout / spec.lock, _target(python))
        except SourceUnavailable as error:
            return (Gap("interpreter", error.message, error.hint),)
        return packages.missing(locked, _target(python), self.home)

    def build(self, spec: EnvironmentSpec, sink: Sink) -> Environment:
        """Build the environment, or take it from the cache."""
        if spec.image:
            raise UsageError(
                "the recipe's environment is an image; the venv runtime has none",
                "use --runtime docker",
            )
        python = interpreter(spec.python)
        lock = spec.checkout / spec.lock
        locked = locks.read(lock, _target(python))
        lock_digest = files.digest(lock)[0]
        key = hashlib.sha256(f"{FORMAT} {lock_digest} {python}".encode()).hexdigest()
        place = self.home / "envs" / key
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.parent / f".{key}.lock"):
            mark = place / "record.json"
            if mark.exists() and (place / "env/bin/python").exists():
                return Environment(_recall(mark, spec.lock), str(place / "env"), cached=True)
            wheels = packages.fetch(locked, _target(python), self.home, sink)
            sink(f"installing {len(wheels)} packages")
            record = EnvironmentRecord("venv", spec.lock, lock_digest, python.version)
            return self._assemble(record, wheels, python, place)

    def _assemble(
        self,
        record: EnvironmentRecord,
        wheels: tuple[Path, ...],
        python: Interpreter,
        place: Path,
    ) -> Environment:
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            made = Path(folder, "made")
            packages.assemble(wheels, python.path, python.version, made / "env", self.home)
            record = replace(
                record,
                content_digest=packages.content_digest(made / "env"),
                inventory=packages.inventory(made / "env"),
            )
            files.write_atomic(made / "record.json", json.dumps(asdict(record)).encode())
            shutil.rmtree(place, ignore_errors=True)
            made.rename(place)
        return Environment(record, str(place / "env"))

    def run(self, environment: Environment, job: Job, sink: Sink) -> JobResult:
        """Run one job to its end and collect its outputs; a failing job is a result."""
        sandboxed = not usable()
        if not sandboxed and not self.allow_unsandboxed:
            raise UsageError("the policy asks for a sandbox", f"install {BWRAP}")
        link = Path(environment.handle, "bin", "python")
        if not link.exists():
            msg = "the environment, or the interpreter it was built on, is gone"
            raise InfrastructureError(msg, "run again: the environment is built anew")
        python = link.readlink()
        try:
            return jobs.run_job(Path(environment.handle), python, job, sink, sandboxed)
        except OSError as error:
            msg = f"this machine failed while running the job: {error}"
            raise InfrastructureError(msg, "look at free disk space, then try again") from error

    def reap(self) -> None:
        """Remove what an earlier, killed harness left behind."""
        limits.reap()
        room.reap()
        with contextlib.suppress(OSError):
            for path in (self.home / "envs").glob("tmp*"):
                shutil.rmtree(path, ignore_errors=True)


def _recall(mark: Path, lock_path: str) -> EnvironmentRecord:
    raw = json.loads(mark.read_bytes())
    inventory = tuple(Package(**p) for p in raw.pop("inventory"))
    return EnvironmentRecord(**{**raw, "lock_path": lock_path}, inventory=inventory)


def _target(python: Interpreter) -> locks.Target:
    glibc = platform.libc_ver()[1] or "2.17"
    return locks.Target(python.version, glibc, platform.machine())


def interpreter(wanted: str) -> Interpreter:
    """Return an interpreter of this machine of the version `3.11`, or `3.11.7`.

    Raises: SourceUnavailable when there is none.
    """
    minor = ".".join(wanted.split(".")[:2])
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [sys.executable] if own == minor else []
    candidates += [p for name in (f"python{minor}", "python3") if (p := shutil.which(name))]
    for candidate in candidates:
        done = subprocess.run(
            [candidate, "-I", "-c", _ASK], capture_output=True, text=True, check=False
        )
        version, _, path = done.stdout.strip().partition("\n")
        if done.returncode == 0 and f"{version}.".startswith(f"{wanted}."):
            return Interpreter(os.path.realpath(path), version)
    raise SourceUnavailable(
        f"no Python {wanted} on this machine",
        hint=f"install Python {wanted}, or use --runtime docker",
    )
