"""One training job on this machine: copy in, run, watch, collect, clean up."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.runtimes import bubblewrap, limits
from harness.runtimes.base import BOOTSTRAP, ENV, HOME, WORK, Job, JobResult, Sink
from harness.runtimes.bubblewrap import UID
from harness.runtimes.collect import Collector, make_writable, scan
from harness.runtimes.joblog import Log
from harness.runtimes.room import WATCHED, room

POLL = 0.2
FULL = 1 << 20


def run_job(env_tree: Path, python: Path, job: Job, sink: Sink, sandboxed: bool) -> JobResult:
    """Run a job in an assembled environment, sandboxed by bubblewrap or not at all."""
    job.destination.mkdir(parents=True, exist_ok=True)
    with room(job.destination, job.source, job.limits.output_size) as (root, unlimited):
        rooms = bubblewrap.rooms(root, job.bootstrap)
        _fill(root, job)
        alone = os.geteuid() == 0 and (sandboxed or _reaches(python, env_tree, root))
        if alone:
            _hand_over(root)
        elif not sandboxed:
            unlimited.append("user (the job runs as ours)")
        group = limits.Group(job.run_id, job.limits)
        missing = list(group.unlimited)
        try:
            log = job.destination / "job.log"
            begun = time.monotonic()
            with Log(log, sink) as writer:
                runner = _Runner(job, group, writer, root, [*missing, *unlimited], sandboxed, alone)
                status, failure = runner.all(env_tree, python, rooms)
            seconds = time.monotonic() - begun
            failure = failure or (_why(group, root, missing) if status else "")
        finally:
            group.remove()
        refused = _collect(root, job)
    gaps = [*unlimited, *missing, *([] if sandboxed else _UNSANDBOXED)]
    sandbox = "bubblewrap" if sandboxed else "none"
    return JobResult(status, seconds, log, sandbox, tuple(gaps), failure, refused)


_UNSANDBOXED = ["network", "file system (no sandbox)", "fixed paths"]


def _why(group: limits.Group, root: Path, missing: list[str]) -> str:
    if hit := group.hit():
        return hit
    state = os.statvfs(root)
    return "output_size" if state.f_bavail * state.f_frsize < FULL else ""


def _fill(root: Path, job: Job) -> None:
    shutil.copytree(job.source, root / "work", symlinks=True)
    for name in ("home", "reports", "mlflow"):
        (root / name).mkdir()
    (root / "work" / job.workdir).mkdir(parents=True, exist_ok=True)


def _hand_over(root: Path) -> None:
    for path in scan(root):
        os.chown(path, UID, UID, follow_symlinks=False)


def _reaches(python: Path, env_tree: Path, root: Path) -> bool:
    """Return whether a user of the job's own can start the interpreter and see its folders."""
    script = "import os,sys; [os.listdir(p) for p in sys.argv[1:]]"
    places = [str(env_tree), str(root / "work")]
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", script, *places],
            user=UID, group=UID, extra_groups=[], cwd="/", capture_output=True, check=False,
        )  # fmt: skip
    except OSError:
        return False
    return done.returncode == 0


class _Runner:
    """Runs the commands of a job one after the other, within one time limit."""

    def __init__(
        self,
        job: Job,
        group: limits.Group,
        log: Log,
        root: Path,
        missing: list[str],
        sandboxed: bool,
        alone: bool,
    ) -> None:
        self._job, self._group, self._log = job, group, log
        self._root, self._missing, self._sandboxed = root, [*missing], sandboxed
        self._alone = alone
        self._end = time.monotonic() + job.limits.timeout

    def all(self, env_tree: Path, python: Path, rooms: dict[str, Path]) -> tuple[int | None, str]:
        """Run until a command fails; return its status, and the limit that ended it."""
        workdir = os.path.normpath(f"{WORK}/{self._job.workdir}")
        names: Mapping[str, str] = {}
        prefix: list[str] = []
        if self._sandboxed:
            prefix = bubblewrap.command(env_tree, python, rooms, workdir, self._job.limits.gpus)
        else:
            names = {**{k: str(v) for k, v in rooms.items()}, ENV: str(env_tree)}
            workdir = _mapped(workdir, names)
        env = {k: _mapped(v, names) for k, v in environment(self._job).items()}
        if self._sandboxed:
            # Set only once the job is its own user inside: LD_PRELOAD in a recipe must not reach
            # bubblewrap, which is us, outside.
            prefix += ["/usr/bin/env", "-i", *(f"{k}={v}" for k, v in env.items())]
            env = {"PATH": "/usr/bin:/bin"}
        for command in self._job.commands:
            status, failure = self._one([*prefix, *command], env, workdir)
            if status != 0 or failure:
                return status, failure
        return 0, ""

    def _one(self, argv: list[str], env: Mapping[str, str], workdir: str) -> tuple[int | None, str]:
        if not self._sandboxed and (found := shutil.which(argv[0], path=env["PATH"])):
            argv = [found, *argv[1:]]
        try:
            process = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=None if self._sandboxed else workdir,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._child(),
            )
        except OSError as error:
            self._log.write(f"{argv[0]}: {error.strerror}\n".encode())
            return 127, ""
        try:
            failure = self._watch(process)
        finally:
            self._stop(process)
        return (None if failure else process.returncode), failure

    def _child(self) -> Callable[[], None]:
        apply = limits.rlimits(self._job.limits, self._missing, self._alone)
        become = self._alone and not self._sandboxed

        def prepare() -> None:
            self._group.enter()
            apply()
            if become:
                os.setgroups([])
                os.setgid(UID)
                os.setuid(UID)

        return prepare

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while True:
                if time.monotonic() > self._end:
                    return "timeout"
                for key, _ in ready.select(POLL):
                    if not (data := os.read(key.fd, 1 << 16)):
                        return self._drain(process)
                    self._log.write(data)
                if process.poll() is not None and not ready.select(0):
                    return ""
                if WATCHED in self._missing and self._too_large():
                    return "output_size"

    def _drain(self, process: subprocess.Popen[bytes]) -> str:
        try:
            process.wait(max(0.1, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            return "timeout"
        return ""

    def _too_large(self) -> bool:
        total = 0
        for path in scan(self._root):
            with contextlib.suppress(OSError):
                total += path.lstat().st_size
        return total > self._job.limits.output_size

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """End the command with everything that it started, also when we are interrupted."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        self._group.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _mapped(value: str, names: Mapping[str, str]) -> str:
    for inside, outside in names.items():
        value = value.replace(inside, outside)
    return value


def environment(job: Job) -> dict[str, str]:
    """Return the whole environment of a job: nothing of ours is in it but what is named here."""
    extra = [p for p in job.env.get("PYTHONPATH", "").split(":") if p and p != BOOTSTRAP]
    return {
        "HOME": HOME,
        "TMPDIR": "/tmp",
        "USER": "harness",
        "LOGNAME": "harness",
        **job.env,
        "PATH": f"{ENV}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": ":".join([BOOTSTRAP, *extra]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _collect(root: Path, job: Job) -> tuple[str, ...]:
    make_writable(root)
    collector = Collector(job)
    work = (root / "work").resolve()
    workdir = Path(os.path.normpath(work / job.workdir))
    if workdir.resolve() == workdir:
        collector.take(workdir, "work", job.collect)
    else:
        collector.refused.append(f"{job.workdir}: the workdir became a link")
    collector.take(root / "home", "home", job.collect, "~/")
    refused = list(collector.refused)
    collector.take(root / "reports", "reports", None)
    collector.take(root / "mlflow", "mlflow", None)
    return tuple(refused)
