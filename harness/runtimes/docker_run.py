"""One training job in a container: copy in, run the commands, collect what is kept."""

from __future__ import annotations

import json
import os
import stat
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.files import matches
from harness.runtimes import base
from harness.runtimes.base import Job, JobResult, Sink
from harness.runtimes.docker_base import Stream
from harness.runtimes.docker_box import UID, WRITABLE, Box
from harness.runtimes.joblog import Log

# One pipe for both streams: an engine keeps no order between two, and the last line is the error.
MERGED = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&1')
MAX_FILES = 1_000_000  # the checkout and its data are among them
# Inside the container: ends what the job left running, then lists what it wrote and its limits.
SURVEY = """
import json,os,signal,stat,sys
try: os.kill(-1,signal.SIGKILL)
except OSError: pass
found,full,flood=[],False,False
for root in sys.argv[2:]:
    v=os.statvfs(root); full=full or not v.f_bavail or not v.f_favail
    todo=[root]
    while todo:
        try: entries=list(os.scandir(todo.pop()))
        except OSError: continue
        for e in entries:
            try: s=e.stat(follow_symlinks=False)
            except OSError: continue
            if stat.S_ISDIR(s.st_mode): todo.append(e.path)
            else: found.append([os.fsencode(e.path).hex(),s.st_mode,s.st_size])
        if len(found)>int(sys.argv[1]): found,todo,flood=[],[],True
def count(key,*paths):
    for path in paths:
        try:
            for line in open('/sys/fs/cgroup/'+path):
                if line.split()[0]==key: return int(line.split()[1])
        except OSError: pass
    return 0
print(json.dumps({'found':found,'full':full,'flood':flood,
 'memory':count('oom_kill','memory/memory.oom_control','memory.events'),
 'pids':count('max','pids/pids.events','pids.events')}))
"""
# Inside the container: streams the files that are named, and nothing that a link points to.
SEND = """
import os,stat,sys,tarfile
tar=tarfile.open(fileobj=sys.stdout.buffer,mode='w|',format=tarfile.PAX_FORMAT)
for name in sys.argv[1:]:
    path=bytes.fromhex(name)
    f=os.fdopen(os.open(path,os.O_RDONLY|os.O_NOFOLLOW|os.O_NONBLOCK),'rb')
    s=os.fstat(f.fileno())
    if stat.S_ISREG(s.st_mode):
        t=tarfile.TarInfo(name); t.size=s.st_size; tar.addfile(t,f)
tar.close()
"""


@dataclass(frozen=True)
class Survey:
    """What the job left: files as (path, mode, size), and which limits it ran into."""

    found: tuple[tuple[str, int, int], ...]
    full: bool
    flood: bool
    memory: bool
    pids: bool


def run_job(box: Box, job: Job, sink: Sink) -> JobResult:
    """Run a job in a started box."""
    box.upload(job.source, base.WORK, UID)
    box.upload(job.bootstrap, base.BOOTSTRAP, 0)
    workdir = os.path.normpath(f"{base.WORK}/{job.workdir}")
    if not (job.source / job.workdir).is_dir():
        list(box.tool("import os,sys; os.makedirs(sys.argv[1],exist_ok=True)", workdir).output())
    started = time.monotonic()
    with Log(job.destination / "job.log", sink) as log:
        status, timed_out = _commands(box, job, workdir, log)
    seconds = time.monotonic() - started
    survey = None if timed_out else _survey(box)
    refused = _collect(box, job, workdir, survey) if survey else ()
    failure = "timeout" if timed_out else _failure(box, status, survey)
    return JobResult(status, seconds, log.path, "docker", (), failure, refused)


def _environment(job: Job) -> Mapping[str, str]:
    """Return the job's variables: PATH is the image's, and the user has a name without an entry."""
    ours = {"HOME": base.HOME, "TMPDIR": "/tmp", "USER": "harness", "LOGNAME": "harness"}
    given = {name: value for name, value in job.env.items() if name != "PATH"}
    extra = [p for p in given.get("PYTHONPATH", "").split(":") if p and p != base.BOOTSTRAP]
    path = ":".join([base.BOOTSTRAP, *extra])
    return {**ours, **given, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _commands(box: Box, job: Job, workdir: str, log: Log) -> tuple[int | None, bool]:
    """Run the commands until one fails; return the last status and whether time ran out."""
    late = threading.Event()

    def expire() -> None:
        late.set()
        box.kill()

    timer = threading.Timer(job.limits.timeout, expire)
    timer.daemon = True
    timer.start()
    env = _environment(job)
    status: int | None = 0
    try:
        for command in job.commands:
            execution = box.execute([*MERGED, *command], workdir=workdir, env=env)
            for data in execution.output():
                log.write(data)
            status = execution.status()
            if status != 0 or late.is_set():
                break
    finally:
        timer.cancel()
    return (None, True) if late.is_set() else (status, False)


def _survey(box: Box) -> Survey | None:
    """Return what the job left, or nothing when the container can no longer answer."""
    import docker.errors

    try:
        raw = b"".join(box.tool(SURVEY, str(MAX_FILES), *WRITABLE).stdout())
        answer = json.loads(raw)
    except (docker.errors.APIError, OSError, ValueError):
        return None
    found = tuple((bytes.fromhex(p).decode(errors="surrogateescape"), m, s)
                  for p, m, s in answer["found"])  # fmt: skip
    return Survey(found, answer["full"], answer["flood"], answer["memory"] > 0, answer["pids"] > 0)


def _failure(box: Box, status: int | None, survey: Survey | None) -> str:
    if survey is None:
        return "memory" if box.state().get("OOMKilled") else "processes"
    if survey.flood:
        return "too many files"
    if status == 0:
        return ""
    if survey.memory:
        return "memory"
    if survey.full:
        return "output_size"
    return "processes" if survey.pids else ""


def _collect(box: Box, job: Job, workdir: str, survey: Survey) -> tuple[str, ...]:
    """Bring what the recipe keeps; return the outputs that were refused, each with its reason."""
    wanted: dict[str, Path] = {}
    refused = []
    left = job.limits.output_size
    for path, mode, size in survey.found:
        kept = _kept(path, workdir, job.collect)
        if kept is None:
            continue
        shown, target = kept
        if not stat.S_ISREG(mode):
            refused.append(f"{shown}: not a regular file")
        elif size > left:
            refused.append(f"{shown}: beyond the output limit")
        else:
            left -= size
            wanted[path] = job.destination / target
    for part in _parts(sorted(wanted), 500):
        _receive(box, part, wanted, job.limits.output_size)
    return tuple(sorted(refused))


def _kept(path: str, workdir: str, patterns: Sequence[str]) -> tuple[str, str] | None:
    """Return how a kept file is called and where it goes below the destination."""
    for root, name, prefix, all_of_it in (
        (base.REPORTS, "reports", "reports/", True),
        (base.TRACKING, "mlflow", "mlflow/", True),
        (workdir, "work", "", False),
        (base.HOME, "home", "~/", False),
    ):
        if path.startswith(f"{root}/"):
            inside = path[len(root) + 1 :]
            if all_of_it or any(matches(prefix + inside, p) for p in patterns):
                return prefix + inside, f"{name}/{inside}"
    return None


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[n : n + size] for n in range(0, len(items), size))


def _receive(box: Box, paths: Sequence[str], wanted: Mapping[str, Path], limit: int) -> None:
    """Write the named files; nothing that was not asked for, nothing but regular files."""
    asked = {os.fsencode(p).hex(): wanted[p] for p in paths}
    stream: Any = Stream(box.tool(SEND, *asked).stdout())
    left = limit
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            target = asked.pop(member.name, None)
            content = tar.extractfile(member) if target and member.isreg() else None
            left -= member.size
            if target is None or content is None or left < 0:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while chunk := content.read(1 << 20):
                    file.write(chunk)
