"""The same job cases over every runtime of the table: what a job gets, may do, and leaves."""

import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.engine import base_image
from support.wheels import line, wheel

from harness import runtimes
from harness.model import Package
from harness.runtimes.base import EnvironmentSpec, Job, Limits
from harness.tables import load

SMALL = Limits(cpus=1, memory=256 << 20, output_size=64 << 20, pids=64, timeout=30)
MARKS = {"docker": pytest.mark.docker, "venv": pytest.mark.bwrap}
ENTRY = {
    "tinypkg-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tinypkg:main\n",
    "tinypkg/__init__.py": "VALUE = '1.0'\n\ndef main():\n    print('tiny', VALUE)\n",
}


@pytest.fixture(scope="module", params=[pytest.param(n, marks=MARKS[n]) for n in runtimes.TABLE])
def built(request, tmp_path_factory):
    """Return a runtime, what was asked of it, and the environment it built from a real lock."""
    folder = tmp_path_factory.mktemp(request.param)
    made = wheel(folder / "links", files=ENTRY)
    (folder / "checkout").mkdir()
    (folder / "checkout/requirements.lock").write_text(line(made))
    spec = EnvironmentSpec(folder / "checkout", "requirements.lock", "3.11")
    kind = load(runtimes.TABLE, request.param, group=runtimes.GROUP)
    arguments = (base_image(folder),) if request.param == "docker" else ()
    runtime = kind(folder / "home", *arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_FIND_LINKS", str(folder / "links"))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        environment = runtime.build(spec, print)
    yield runtime, spec, environment
    if request.param == "docker":
        runtime.client.images.remove(environment.handle, force=True)
        runtime.client.close()


@pytest.fixture
def run(built, tmp_path):
    runtime, _, environment = built

    def go(script, limits=SMALL, collect=("model*", "out"), sink=None, **changes):
        source, bootstrap = tmp_path / "source", tmp_path / "bootstrap"
        for path in (source, bootstrap):
            path.mkdir(exist_ok=True)
        (source / "train.py").write_text(textwrap.dedent(script))
        (source / "data.bin").write_bytes(b"data")
        lines = []
        job = Job("contract-run", source, ".", (("python", "train.py"),), {"SEED": "7"}, bootstrap,
                  collect, tmp_path / "collected", limits)  # fmt: skip
        result = runtime.run(environment, replace(job, **changes), sink or lines.append)
        return result, lines, tmp_path / "collected"

    return go


def kept(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


def test_it_is_available_and_says_so(built):
    state = built[0].available()
    assert state.ok
    assert state.detail


def test_a_second_build_is_the_first_one_and_needs_no_index(built, monkeypatch):
    runtime, spec, first = built
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    lines = []
    second = runtime.build(spec, lines.append)
    assert second.cached
    assert second.record == first.record
    assert lines == []
    assert runtime.missing(spec) == ()


def test_the_record_names_lock_interpreter_content_and_packages(built):
    record = built[2].record
    assert record.runtime == built[0].name
    assert record.python.startswith("3.11.")
    assert len(record.lock_sha256) == len(record.content_digest) == 64
    assert record.inventory == (Package("tinypkg", "1.0"),)


def test_both_runtimes_install_the_same_content(built, request):
    digest = built[2].record.content_digest
    seen = request.config.stash.setdefault(SEEN, {})
    seen[built[0].name] = digest
    assert set(seen.values()) == {digest}


SEEN = pytest.StashKey()


def test_locked_packages_and_their_scripts_are_there(run):
    script = """
        import subprocess, sys, tinypkg
        print(tinypkg.VALUE, sys.executable, sys.prefix, tinypkg.__file__)
        subprocess.run(["tiny"], check=True)
        subprocess.run([sys.executable, "-c", "import tinypkg; print('child')"], check=True)
    """
    result, lines, _ = run(script, env={"PYTHONUNBUFFERED": "1"})
    assert (result.exit_status, result.failure) == (0, ""), lines
    site = "/harness/env/lib/python3.11/site-packages/tinypkg/__init__.py"
    assert lines == [f"1.0 /harness/env/bin/python /harness/env {site}", "tiny 1.0", "child"]


def test_outputs_of_workdir_home_reports_and_tracking_come_back(run):
    result, lines, folder = run(
        """
        import os, pathlib
        print(os.environ["SEED"], os.getcwd(), pathlib.Path.home())
        pathlib.Path("model.bin").write_bytes(b"m" * 3_000_000)
        pathlib.Path("out/deep").mkdir(parents=True)
        pathlib.Path("out/deep/ünï").write_text("x")
        pathlib.Path("other.txt").write_text("not asked for")
        pathlib.Path.home().joinpath("model.txt").write_text("home")
        pathlib.Path("/harness/reports/1.json").write_text("{}")
        pathlib.Path("/harness/mlflow/meta").write_text("tracked")
        """,
        collect=("model*", "out", "~/model*"),
    )
    assert (result.exit_status, result.failure, result.refused) == (0, "", ()), lines
    assert lines == ["7 /harness/work /harness/home"]
    assert kept(folder) == ["home/model.txt", "job.log", "mlflow/meta", "reports/1.json",
                            "work/model.bin", "work/out/deep/ünï"]  # fmt: skip
    assert (folder / "work/model.bin").read_bytes() == b"m" * 3_000_000
    assert result.log.read_text() == "7 /harness/work /harness/home\n"


def test_the_bootstrap_is_found_first_and_cannot_be_written(run, tmp_path):
    (tmp_path / "bootstrap").mkdir()
    (tmp_path / "bootstrap/sitecustomize.py").write_text("print('pinned')\n")
    script = """
        import os
        try:
            open("/harness/bootstrap/sitecustomize.py", "w")
        except OSError:
            print("kept")
    """
    _, lines, _ = run(script)
    assert lines == ["pinned", "kept"]


def test_the_job_has_no_network_no_privilege_and_no_secret(run, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-value")
    script = """
        import os, pathlib, socket
        status = pathlib.Path("/proc/self/status").read_text()
        facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        assert int(facts["CapEff"], 16) == 0, facts["CapEff"]
        assert facts["NoNewPrivs"].strip() == "1"
        assert os.getuid() != 0
        assert "s3cr3t" not in repr(dict(os.environ))
        assert not os.path.exists("/var/run/docker.sock")
        for path in ("/x", "/usr/x", "/harness/x", "/harness/bootstrap/x", "/harness/env/x"):
            try:
                open(path, "w")
            except OSError:
                continue
            raise SystemExit(f"{path} can be written")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            words = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\\0")
            assert b"pytest" not in words, (pid, words)
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=3)
        except OSError:
            print("no network")
    """
    result, lines, _ = run(script)
    assert (result.exit_status, lines) == (0, ["no network"])
    assert result.sandbox in {"docker", "bubblewrap"}


def test_worker_processes_and_temporary_files_work(run):
    script = """
        import multiprocessing, os, tempfile
        from multiprocessing import shared_memory
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"x")
        memory = shared_memory.SharedMemory(create=True, size=1024)
        memory.close(); memory.unlink()
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(sum(pool.map(abs, [-1, -2])), os.environ["USER"])
    """
    result, lines, _ = run(script)
    assert (result.exit_status, lines) == (0, ["3 harness"])


def test_the_machine_inside_is_whole_enough_for_ordinary_libraries(run):
    script = """
        import ctypes, os, socket
        open("/etc/ld.so.cache").close()
        ctypes.CDLL("libc.so.6")
        print(socket.gethostbyname("localhost"), bool(os.cpu_count()))
    """
    result, lines, _ = run(script)
    assert (result.exit_status, lines) == (0, ["127.0.0.1 True"])


def test_links_devices_and_linked_folders_are_refused_by_name(run):
    script = """
        import os
        os.symlink('/etc/passwd', 'model.bin'); os.mkfifo('model.pipe'); os.symlink('/etc', 'out')
    """
    result, _, folder = run(script)
    assert result.exit_status == 0
    assert [r.split(":")[0].split("/")[-1] for r in result.refused] == [
        "model.bin", "model.pipe", "out"]  # fmt: skip
    assert kept(folder) == ["job.log"]


def test_a_workdir_that_becomes_a_link_shows_nothing_of_the_host(run, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/model.bin").write_text("s3cr3t")
    (tmp_path / "source/sub").mkdir(parents=True)
    (tmp_path / "source/sub/keep").write_text("")
    script = f"""
        import os, shutil
        os.chdir("/harness/work"); shutil.rmtree("sub"); os.symlink({str(tmp_path / "secret")!r}, "sub")
    """  # noqa: E501
    command = (("python", "../train.py"),)
    result, lines, folder = run(script, workdir="sub", commands=command)
    assert (result.exit_status, lines) == (0, [])
    assert kept(folder) == ["job.log"]


def test_a_tree_deeper_than_any_recursion_does_not_stop_the_harness(run):
    script = """
        import os
        open("model.bin", "w").write("m")
        for _ in range(1500):
            os.mkdir("d"); os.chdir("d")
    """
    result, lines, folder = run(script)
    assert (result.exit_status, lines) == (0, [])
    assert kept(folder) == ["job.log", "work/model.bin"]


def test_the_source_is_not_what_the_job_writes_in(run, tmp_path):
    run("import os; os.unlink('data.bin'); open('model.bin', 'w')")
    assert sorted(os.listdir(tmp_path / "source")) == ["data.bin", "train.py"]


def test_a_fork_bomb_is_bounded_and_named(run):
    script = """
        import os, time
        try:
            while True:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
        except OSError:
            raise SystemExit("stopped")
    """
    started = time.monotonic()
    result, lines, _ = run(script)
    assert (result.exit_status, result.failure) == (1, "processes"), lines
    assert time.monotonic() - started < 20


def test_an_endless_fork_bomb_ends_with_the_time_limit(run):
    script = """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """
    mark = f"bomb-{os.getpid()}-{time.time_ns()}"
    command = (("python", "train.py", mark),)
    result, _, _ = run(script, replace(SMALL, timeout=3), commands=command)
    assert result.failure == "timeout"
    said = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert mark not in said.stdout


def test_filling_the_disk_stops_at_the_limit(run):
    script = """
        with open("model.bin", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    """
    result, _, _ = run(script)
    assert result.exit_status != 0
    assert result.failure == "output_size"


def test_too_much_memory_is_named(run):
    result, _, _ = run("x = [bytearray(1 << 20) for _ in range(4096)]")
    assert result.failure == "memory"


def test_a_hang_ends_with_the_time_limit(run):
    script = "import time; print('begun', flush=True); time.sleep(600)"
    started = time.monotonic()
    result, lines, _ = run(script, replace(SMALL, timeout=2))
    assert (result.failure, result.exit_status, lines) == ("timeout", None, ["begun"])
    assert time.monotonic() - started < 12


def test_what_a_job_leaves_running_is_ended_before_collection(run):
    script = """
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        open("model.bin", "w").write("m")
    """
    started = time.monotonic()
    result, _, folder = run(script)
    assert (result.exit_status, result.failure) == (0, "")
    assert time.monotonic() - started < 15
    assert "work/model.bin" in kept(folder)


def test_commands_run_in_order_until_one_fails(run):
    commands = tuple(("python3", "-c", c) for c in ("print(1)", "print(2); exit(3)", "print(4)"))
    result, lines, _ = run("", commands=commands)
    assert (lines, result.exit_status, result.failure) == (["1", "2"], 3, "")


def test_a_command_that_does_not_exist_is_a_failing_job(run):
    result, _, _ = run("", commands=(("no-such-tool",),))
    assert result.exit_status in {126, 127}


def test_a_job_that_writes_nothing_is_a_result(run):
    result, lines, folder = run("")
    assert (result.exit_status, result.failure, lines) == (0, "", [])
    assert kept(folder) == ["job.log"]


def test_a_flood_of_output_is_bounded_and_keeps_its_end(run):
    script = "for n in range(40): print('x' * (1 << 20))\nraise SystemExit('the last words')"
    result, _, _ = run(script, sink=lambda line: None)
    assert result.log.stat().st_size < 12 << 20
    assert result.log.read_text().endswith("the last words\n")


def test_an_interrupt_ends_the_job_and_is_not_swallowed(run):
    def interrupt(line):
        raise KeyboardInterrupt

    script = "import time; print(1, flush=True); time.sleep(60)"
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(script, sink=interrupt)
    assert time.monotonic() - started < 15


def test_reaping_twice_is_harmless(built):
    built[0].reap()
    built[0].reap()
