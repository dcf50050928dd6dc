"""The venv runtime by itself: its caches, its refusals, and what a killed harness leaves."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import IncompleteLineage, InfrastructureError, SourceUnavailable, UsageError
from harness.runtimes import venv as venv_module
from harness.runtimes.base import EnvironmentSpec, Job, Limits
from harness.runtimes.venv import VenvRuntime

pytestmark = pytest.mark.bwrap
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "requirements.lock").write_text("")
    return EnvironmentSpec(tmp_path, "requirements.lock", "3.11")


@pytest.fixture
def job(tmp_path):
    for name in ("source", "bootstrap"):
        (tmp_path / name).mkdir()
    command = (("python", "-c", "open('model', 'w').write('m')"),)
    return Job("venv-run", tmp_path / "source", ".", command, {}, tmp_path / "bootstrap",
               ("model",), tmp_path / "collected",
               Limits(memory=256 << 20, output_size=1 << 20))  # fmt: skip


def test_no_interpreter_is_unavailable_with_a_fix_and_is_a_gap(tmp_path, spec):
    odd = EnvironmentSpec(tmp_path, "requirements.lock", "3.4")
    with pytest.raises(SourceUnavailable, match=r"no Python 3\.4"):
        VenvRuntime(tmp_path / "home").build(odd, print)
    assert [g.what for g in VenvRuntime(tmp_path / "home").missing(odd)] == ["interpreter"]
    assert VenvRuntime(tmp_path / "home").missing(spec) == ()


def test_an_image_environment_is_refused(tmp_path):
    with pytest.raises(UsageError, match="image"):
        VenvRuntime(tmp_path).build(EnvironmentSpec(tmp_path, "", "3.11", image="docker"), print)


def test_a_lock_without_hashes_builds_nothing(tmp_path, spec):
    (tmp_path / "requirements.lock").write_text("numpy==2.0\n")
    with pytest.raises(IncompleteLineage, match="numpy"):
        VenvRuntime(tmp_path / "home").build(spec, print)
    assert not list((tmp_path / "home").rglob("site-packages"))


def test_where_the_policy_asks_for_a_sandbox_nothing_runs_without(
    tmp_path, spec, job, monkeypatch
):  # fmt: skip
    made = VenvRuntime(tmp_path / "home", allow_unsandboxed=False)
    environment = made.build(spec, print)
    monkeypatch.setattr(venv_module, "usable", lambda: "bubblewrap is not installed")
    assert not made.available().ok
    assert "install bubblewrap" in made.available().fix
    with pytest.raises(UsageError, match="sandbox"):
        made.run(environment, job, print)
    assert not job.destination.exists()


def test_without_a_sandbox_the_record_says_so(tmp_path, spec, job, monkeypatch):
    made = VenvRuntime(tmp_path / "home")
    environment = made.build(spec, print)
    monkeypatch.setattr(venv_module, "usable", lambda: "bubblewrap is not installed")
    assert any("UNSANDBOXED" in w for w in made.available().warnings)
    result = made.run(environment, job, print)
    assert (result.exit_status, result.sandbox) == (0, "none")
    assert {"network", "file system (no sandbox)", "fixed paths"} <= set(result.unlimited)
    assert (job.destination / "work/model").read_text() == "m"


def test_data_larger_than_the_output_limit_still_fits(tmp_path, spec, job):
    (job.source / "data.bin").write_bytes(os.urandom(40 << 20))
    made = VenvRuntime(tmp_path / "home")
    result = made.run(made.build(spec, print), job, print)
    assert (result.exit_status, result.failure) == (0, ""), result.log.read_text()


def test_a_library_that_the_recipe_preloads_reaches_the_job_alone(tmp_path, spec, job):
    """What is loaded into bubblewrap runs outside of the sandbox, as the harness itself."""
    made = VenvRuntime(tmp_path / "home")
    result = made.run(made.build(spec, print), replace(job, env={"LD_PRELOAD": "/x.so"}), print)
    assert result.exit_status == 0
    assert result.log.read_text().count("/x.so") == 1


def test_two_jobs_at_once_do_not_meet(tmp_path, spec, job):
    made = VenvRuntime(tmp_path / "home")
    environment = made.build(spec, print)
    jobs = [replace(job, run_id=f"r{n}", destination=tmp_path / f"out{n}",
                    commands=(("python", "-c", f"open('model','w').write('{n}')"),))
            for n in range(3)]  # fmt: skip
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda j: made.run(environment, j, print), jobs))
    assert [r.exit_status for r in results] == [0, 0, 0]
    assert [(j.destination / "work/model").read_text() for j in jobs] == ["0", "1", "2"]


def test_a_full_disk_is_our_fault_not_the_trainings(tmp_path, spec, job):
    made = VenvRuntime(tmp_path / "home")
    environment = made.build(spec, print)
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "harness-test", str(small)]
    subprocess.run(mount, check=True)
    try:
        script = "import sys\nfor _ in range(9): print('x' * (1 << 20))"
        noisy = replace(job, destination=small / "out", commands=(("python", "-c", script),))
        with pytest.raises(InfrastructureError, match="No space left"):
            made.run(environment, noisy, lambda line: None)
        assert len(mounts(small)) == 1
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_lost_environment_is_said(tmp_path, spec, job):
    made = VenvRuntime(tmp_path / "home")
    environment = made.build(spec, print)
    Path(environment.handle, "bin/python").unlink()
    with pytest.raises(InfrastructureError, match="is gone"):
        made.run(environment, job, print)
    again = made.build(spec, print)
    assert not again.cached
    assert made.run(again, job, print).exit_status == 0


KILLED = """
import sys
from pathlib import Path
from harness.runtimes.base import *
from harness.runtimes.venv import VenvRuntime
home = Path(sys.argv[1])
for name in ("source", "bootstrap"): (home / name).mkdir(parents=True)
(home / "requirements.lock").write_text("")
made = VenvRuntime(home / "home")
environment = made.build(EnvironmentSpec(home, "requirements.lock", "3.11"), lambda line: None)
job = Job("killed", home / "source", ".", (("python", "-c",
    "import time; print('begun', flush=True); time.sleep(86399)"),), {}, home / "bootstrap", (),
    home / "out", Limits(memory=256 << 20, output_size=1 << 20))
made.run(environment, job, lambda line: print(line, flush=True))
"""


def sleeping():
    said = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [a for a in said.stdout.splitlines() if "sleep(86399)" in a and "python -c" in a]


def mounts(folder):
    return [m for m in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in m]


def test_a_killed_harness_leaves_nothing_that_the_next_does_not_remove(tmp_path):
    home = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(home)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout.readline() == "begun\n"
        VenvRuntime(tmp_path).reap()
        assert sleeping(), "a living harness's job was reaped"
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while sleeping() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not sleeping(), "the job outlived its harness"
    VenvRuntime(tmp_path).reap()
    assert mounts(home) == []
    assert not list(Path("/sys/fs/cgroup").glob(f"**/harness-{child.pid}-*"))
