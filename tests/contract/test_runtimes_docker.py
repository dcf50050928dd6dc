"""The docker runtime against a real engine: what a hostile job can do, and what is left of it."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.engine import base_id  # noqa: F401

from harness.errors import SourceUnavailable, UsageError
from harness.model import EnvironmentRecord
from harness.runtimes import docker_box, docker_build, docker_run, oci
from harness.runtimes.base import Environment, EnvironmentSpec, Job, Limits
from harness.runtimes.docker import DockerRuntime

pytestmark = pytest.mark.docker
SMALL = Limits(cpus=1, memory=256 << 20, output_size=64 << 20, pids=64, timeout=30)


@pytest.fixture
def runtime(tmp_path, base_id):  # noqa: F811
    made = DockerRuntime(tmp_path / "home", base_id)
    yield made
    made.client.close()


@pytest.fixture
def bare(base_id):  # noqa: F811
    return Environment(EnvironmentRecord("docker", "", "", "3.11"), base_id)


@pytest.fixture
def job(tmp_path):
    def make(script, limits=SMALL, collect=("model*", "out/**"), run_id="test-run", **changes):
        source, bootstrap = tmp_path / "source", tmp_path / "bootstrap"
        for folder in (source, bootstrap):
            folder.mkdir(exist_ok=True)
        (source / "train.py").write_text(textwrap.dedent(script))
        (source / "data.bin").write_bytes(b"data")
        command = (("python3", "train.py"),)
        made = Job(run_id, source, ".", command, {"SEED": "7"}, bootstrap, collect,
                   tmp_path / "collected", limits)  # fmt: skip
        return replace(made, **changes)

    return make


def left_behind(runtime, run_id="test-run"):
    filters = {"label": f"{docker_box.RUN_LABEL}={run_id}"}
    return [
        *runtime.client.containers.list(all=True, filters=filters),
        *runtime.client.volumes.list(filters=filters),
    ]


def test_outputs_of_workdir_home_reports_and_tracking_come_back(runtime, bare, job):
    lines = []
    made = job(
        """
        import os, pathlib
        print("seed", os.environ["SEED"], os.getcwd())
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
    result = runtime.run(bare, made, lines.append)
    assert (result.exit_status, result.failure, result.sandbox) == (0, "", "docker")
    assert lines == ["seed 7 /harness/work"]
    assert result.log.read_text() == "seed 7 /harness/work\n"
    found = sorted(p.relative_to(made.destination).as_posix()
                   for p in made.destination.rglob("*") if p.is_file())  # fmt: skip
    assert found == [
        "home/model.txt",
        "job.log",
        "mlflow/meta",
        "reports/1.json",
        "work/model.bin",
        "work/out/deep/ünï",
    ]
    assert (made.destination / "work/model.bin").read_bytes() == b"m" * 3_000_000
    assert left_behind(runtime) == []


def test_the_job_has_no_privilege_no_network_and_no_secret(runtime, bare, job, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-value")
    script = """
        import os, pathlib, socket
        status = pathlib.Path("/proc/self/status").read_text()
        facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0, facts["CapEff"]
        assert facts["NoNewPrivs"].strip() == "1"
        assert os.getuid() != 0
        everything = "".join(p.read_text(errors="replace") for p in
            [pathlib.Path("/proc/self/environ")])
        assert "s3cr3t" not in everything and "DOCKER_HOST" not in everything
        assert not pathlib.Path("/var/run/docker.sock").exists()
        assert [name for _, name in socket.if_nameindex()] in (["lo"], ["lo", "tunl0"]), "network"
        for path in ("/x", "/usr/x", "/harness/x", "/harness/bootstrap/x", "/etc/x"):
            try:
                open(path, "w")
            except OSError:
                continue
            raise SystemExit(f"{path} can be written")
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=3)
        except OSError as error:
            print("no network:", error)
        else:
            raise SystemExit("the network answers")
        try:
            socket.getaddrinfo("example.org", 80)
        except OSError:
            print("no names")
    """
    lines = []
    result = runtime.run(bare, job(script), lines.append)
    assert result.exit_status == 0, lines
    assert lines[0].startswith("no network:")
    assert lines[1:] == ["no names"]


def test_a_link_is_refused_as_an_output_by_name(runtime, bare, job):
    made = job("import os; os.symlink('/etc/passwd', 'model.bin'); os.mkfifo('model.pipe')")
    result = runtime.run(bare, made, print)
    assert result.exit_status == 0
    assert result.refused == (
        "model.bin: not a regular file",
        "model.pipe: not a regular file",
    )
    assert [p.name for p in made.destination.rglob("*") if p.is_file()] == ["job.log"]


def test_a_linked_folder_is_not_walked_into(runtime, bare, job):
    made = job("import os; os.symlink('/etc', 'out')")
    result = runtime.run(bare, made, print)
    assert not (made.destination / "work").exists()
    assert result.refused == ("out: not a regular file",)


def test_a_fork_bomb_is_bounded_and_gone_afterwards(runtime, bare, job):
    script = """
        import os, time
        made = 0
        try:
            while True:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                made += 1
        except OSError:
            raise SystemExit(f"stopped after {made}")
    """
    lines = []
    started = time.monotonic()
    result = runtime.run(bare, job(script), lines.append)
    assert result.exit_status != 0
    assert result.failure == "processes"
    assert time.monotonic() - started < 20
    assert int(lines[-1].split()[-1]) < SMALL.pids
    assert left_behind(runtime) == []


def test_an_endless_fork_bomb_ends_with_the_time_limit(runtime, bare, job):
    script = """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """
    result = runtime.run(bare, job(script, replace(SMALL, timeout=3)), print)
    assert result.failure == "timeout"
    assert left_behind(runtime) == []


def test_filling_the_disk_stops_at_the_limit(runtime, bare, job):
    script = """
        with open("model.bin", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    """
    lines = []
    result = runtime.run(bare, job(script), lines.append)
    assert result.failure == "output_size"
    assert "No space left" in lines[-1]


def test_a_flood_of_files_is_named(runtime, bare, job, monkeypatch):
    monkeypatch.setattr(docker_run, "MAX_FILES", 1000)
    script = """
        import os
        os.mkdir("out")
        for n in range(1_001):
            os.mknod(f"out/{n}")
    """
    result = runtime.run(bare, job(script), print)
    assert (result.exit_status, result.failure) == (0, "too many files")
    assert [p.name for p in result.log.parent.iterdir()] == ["job.log"]


def test_too_much_memory_is_named(runtime, bare, job):
    result = runtime.run(bare, job("x = [bytearray(1 << 20) for _ in range(4096)]"), print)
    assert result.failure == "memory"
    assert result.exit_status == 137


def test_a_hang_ends_with_the_time_limit(runtime, bare, job):
    lines = []
    script = "import time; print('begun', flush=True); time.sleep(600)"
    started = time.monotonic()
    result = runtime.run(bare, job(script, replace(SMALL, timeout=2)), lines.append)
    assert (result.failure, result.exit_status) == ("timeout", None)
    assert lines == ["begun"]
    assert time.monotonic() - started < 10
    assert left_behind(runtime) == []


def test_what_a_job_leaves_running_is_killed_before_collection(runtime, bare, job):
    script = """
        import subprocess, sys
        code = "import time\\nwhile True: open('model.bin','a').write('x')"
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        print("done")
    """
    result = runtime.run(bare, job(script), print)
    assert (result.exit_status, result.failure) == (0, "")


def test_commands_run_in_order_until_one_fails(runtime, bare, job):
    commands = tuple(("python3", "-c", c) for c in ("print(1)", "print(2); exit(3)", "print(4)"))
    lines = []
    result = runtime.run(bare, job("", commands=commands), lines.append)
    assert lines == ["1", "2"]
    assert result.exit_status == 3
    assert result.failure == ""


def test_a_command_that_does_not_exist_is_a_failing_job(runtime, bare, job):
    lines = []
    result = runtime.run(bare, job("", commands=(("no-such-tool", "a b"),)), lines.append)
    assert result.exit_status == 127
    assert "no-such-tool" in lines[-1]


def test_arguments_reach_the_command_as_they_are_and_both_streams_keep_their_order(
    runtime, bare, job
):
    code = (
        "import sys\nfor n in range(50): print(n, file=(sys.stdout, sys.stderr)[n % 2], flush=True)"
    )
    odd = ("python3", "-c", code + "\nprint(sys.argv[1:])", "a b", "$HOME", "", "*", "'")
    lines = []
    result = runtime.run(bare, job("", commands=(odd,)), lines.append)
    assert result.exit_status == 0
    assert lines == [*map(str, range(50)), "['a b', '$HOME', '', '*', \"'\"]"]


def test_a_flood_of_output_is_bounded_and_keeps_its_end(runtime, bare, job):
    script = """
        for n in range(40):
            print("x" * (1 << 20))
        raise SystemExit("the last words")
    """
    result = runtime.run(bare, job(script), lambda line: None)
    assert result.log.stat().st_size < 12 << 20
    assert result.log.read_text().endswith("the last words\n")
    assert "bytes left out" in result.log.read_text()


def test_an_interrupt_removes_the_container(runtime, bare, job):
    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.run(bare, job("import time; print(1, flush=True); time.sleep(60)"), interrupt)
    assert left_behind(runtime) == []


KILLED = """
import sys
from pathlib import Path
from harness.model import EnvironmentRecord
from harness.runtimes.base import *
from harness.runtimes.docker import DockerRuntime
home, image = Path(sys.argv[1]), sys.argv[2]
for name in ("source", "bootstrap"): (home / name).mkdir(parents=True)
job = Job("killed-run", home / "source", ".", (("python3", "-c",
    "import time; print('begun', flush=True); time.sleep(600)"),), {}, home / "bootstrap", (),
    home / "out", Limits(memory=256 << 20, output_size=1 << 20))
DockerRuntime(home, image).run(Environment(EnvironmentRecord("docker", "", "", ""), image), job,
    lambda line: print(line, flush=True))
"""


def test_a_killed_harness_leaves_nothing_that_the_next_does_not_remove(
    runtime, base_id, tmp_path  # noqa: F811
):  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), base_id]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "PYTHONPATH": str(root)})  # fmt: skip
    with child:
        assert child.stdout.readline() == "begun\n"
        assert left_behind(runtime, "killed-run")
        runtime.reap()
        assert left_behind(runtime, "killed-run"), "a living harness's container was reaped"
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    container = runtime.client.containers.list(all=True, filters={"name": ""})
    while time.monotonic() < deadline and any(
        c.labels.get(docker_box.RUN_LABEL) == "killed-run" and c.status == "running"
        for c in container
    ):
        time.sleep(0.2)
        container = runtime.client.containers.list(all=True)
    assert time.monotonic() < deadline, "the container outlived its harness"
    runtime.reap()
    assert left_behind(runtime, "killed-run") == []


def test_an_engine_that_does_not_answer_is_said_with_a_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    state = DockerRuntime(tmp_path).available()
    assert not state.ok
    assert "no container engine answers" in state.detail
    assert "DOCKER_HOST" in state.fix


def test_an_engine_without_the_base_is_not_available(runtime, tmp_path):
    other = DockerRuntime(tmp_path, "sha256:" + "0" * 64)
    state = other.available()
    other.client.close()
    assert not state.ok
    assert "build.py" in state.fix
    assert runtime.available().ok


def test_a_deleted_base_is_a_gap_and_stops_the_build(runtime, tmp_path):
    (tmp_path / "requirements.lock").write_text("")
    spec = EnvironmentSpec(tmp_path, "requirements.lock", "3.11", base="sha256:" + "0" * 64)
    assert [g.what for g in runtime.missing(spec)] == ["base image"]
    with pytest.raises(SourceUnavailable, match="no base image"):
        runtime.build(spec, print)


def test_a_tag_is_no_base(runtime, tmp_path):
    spec = EnvironmentSpec(tmp_path, "requirements.lock", "3.11", base="python:3.11")
    with pytest.raises(UsageError, match="neither a digest"):
        runtime.build(spec, print)


def test_another_interpreter_than_the_base_has_is_unavailable(runtime, base_id):  # noqa: F811
    assert runtime.bases.interpreter(base_id, "3.11").version.startswith("3.11.")
    with pytest.raises(SourceUnavailable, match=r"python3\.12"):
        runtime.bases.interpreter(base_id, "3.12")


def plant(folder):
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python3").symlink_to("/usr/bin/python3.11")
    (folder / "value").write_text("locked")
    return folder


def test_two_builds_in_different_folders_give_one_id_that_the_engine_shows(
    runtime, base_id, tmp_path  # noqa: F811
):  # fmt: skip
    first = docker_build.lay(runtime.bases, base_id, plant(tmp_path / "one"), "test-one")
    runtime.client.images.remove(first, force=True)
    assert runtime.bases.present(first) is None
    second = docker_build.lay(runtime.bases, base_id, plant(tmp_path / "two/deeper"), "test-two")
    assert first == second == runtime.bases.present(first)
    printed = runtime.client.containers.run(
        first, ["python3", "-c", "print(open('/harness/env/value').read())"],
        network_mode="none", remove=True,
    )  # fmt: skip
    assert printed == b"locked\n"
    (tmp_path / "one/value").write_text("changed")
    third = docker_build.lay(runtime.bases, base_id, tmp_path / "one", "test-one")
    assert third != first
    for image in (second, third):
        runtime.client.images.remove(image, force=True)


def one_kind_only(archive, keep):
    """Leave one of the two indexes in an archive: `docker save` of old, or a plain OCI layout."""
    with tarfile.open(archive) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    dropped = {"manifest.json", "index.json"} - {keep}
    with tarfile.open(archive, "w") as tar:
        for name, body in files.items():
            if name not in dropped:
                info = tarfile.TarInfo(name)
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))


def test_an_engine_that_asks_for_the_base_layers_gets_them(
    runtime, base_id, tmp_path, monkeypatch  # noqa: F811
):  # fmt: skip
    """Engines with another image store know no layer that is not in the archive."""
    real, seen = runtime.bases.load, []

    def picky(archive):
        data = b"".join(archive)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            seen.append("index.json" in tar.getnames())
        return real([data]) if seen[-1] else "layers are missing"

    monkeypatch.setattr(runtime.bases, "load", picky)
    image = docker_build.lay(runtime.bases, base_id, plant(tmp_path / "one"), "test-whole")
    assert seen == [False, True]
    assert runtime.bases.present(image) == image
    runtime.client.images.remove(image, force=True)


def wheel(folder):
    """Write a small pure wheel and return its sha256."""
    name = "tinypkg-1.0"
    files = {
        "tinypkg.py": "VALUE = 42\n",
        f"{name}.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n",
        f"{name}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{n},,\n" for n in [*files, f"{name}.dist-info/RECORD"])
    path = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for n, text in {**files, f"{name}.dist-info/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(n), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def locked(tmp_path, monkeypatch):
    links = tmp_path / "links"
    links.mkdir()
    digest = wheel(links)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "requirements.lock").write_text(f"tinypkg==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return EnvironmentSpec(checkout, "requirements.lock", "3.11")


def test_the_same_lock_gives_the_same_environment_without_this_machines_state(
    runtime, base_id, locked, job, tmp_path  # noqa: F811
):  # fmt: skip
    first = runtime.build(locked, print)
    assert first.record.base == base_id
    assert first.record.image == first.handle == runtime.bases.present(first.handle)
    assert [(p.name, p.version) for p in first.record.inventory] == [("tinypkg", "1.0")]
    assert not first.cached
    shutil.rmtree(tmp_path / "links")
    again = runtime.build(locked, pytest.fail)
    assert again == replace(first, cached=True)
    runtime.client.images.remove(first.handle, force=True)
    wheel((tmp_path / "links").mkdir() or tmp_path / "links")
    other = DockerRuntime(tmp_path / "another/home", base_id)
    rebuilt = other.build(locked, print)
    other.client.close()
    assert rebuilt == first
    lines = []
    script = "import sys, tinypkg; print(sys.executable, sys.prefix, tinypkg.VALUE)"
    command = (("python", "-c", script),)
    result = runtime.run(rebuilt, job("", commands=command), lines.append)
    assert result.exit_status == 0
    assert lines == ["/harness/env/bin/python /harness/env 42"]
    runtime.client.images.remove(first.handle, force=True)


def test_an_environment_image_removed_from_the_engine_is_built_again(runtime, locked):
    first = runtime.build(locked, print)
    runtime.client.images.remove(first.handle, force=True)
    assert replace(runtime.build(locked, print), cached=False) == first
    runtime.client.images.remove(first.handle, force=True)


def test_a_dockerfile_in_the_checkout_is_proved_by_its_content(
    runtime, base_id, job, tmp_path  # noqa: F811
):  # fmt: skip
    folder = tmp_path / "checkout/docker"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(f"FROM {base_id}\nCOPY extra.txt /extra.txt\n")
    (folder / "extra.txt").write_text("one")
    spec = EnvironmentSpec(tmp_path / "checkout", "", "3.11", image="docker")
    first = runtime.build(spec, print)
    assert runtime.build(spec, print).cached
    lines = []
    made = job("", commands=(("python3", "-c", "print(open('/extra.txt').read())"),))
    assert runtime.run(first, made, lines.append).exit_status == 0
    assert lines == ["one"]
    (folder / "extra.txt").write_text("two")
    second = runtime.build(spec, print)
    assert second.record.content_digest != first.record.content_digest
    for image in (first, second):
        runtime.client.images.remove(image.handle, force=True)
    (folder / "Dockerfile").unlink()
    with pytest.raises(UsageError, match="has no Dockerfile"):
        runtime.build(spec, print)


def test_a_dockerfile_that_fails_says_why(runtime, base_id, tmp_path):  # noqa: F811
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {base_id}\nCOPY nothing /x\n")
    with pytest.raises(SourceUnavailable, match="cannot be built"):
        runtime.build(EnvironmentSpec(tmp_path, "", "3.11", image="docker"), print)


def test_a_silent_training_outlives_the_time_that_a_request_may_take(runtime, bare, job):
    runtime.client.api.timeout = 1
    lines = []
    result = runtime.run(bare, job("import time; time.sleep(3); print('done')"), lines.append)
    assert (result.exit_status, lines) == (0, ["done"])


def test_a_locked_debian_package_that_is_gone_is_named_with_the_way_out(tmp_path):
    lock = tmp_path / "packages.lock"
    lock.write_text(f"libgomp1 0.0.1-gone amd64 {'0' * 64}\n")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(root / "containers/base/build.py"), "--lock", str(lock),
         "--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "out.tar")],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "libgomp1 0.0.1-gone" in done.stderr
    assert "--relock" in done.stderr
    assert not (tmp_path / "out.tar").exists()


def test_a_base_kept_as_an_archive_in_the_checkout_is_loaded_by_its_own_digest(runtime, tmp_path):
    layer = oci.layer(plant(tmp_path / "tree"))
    diff_id = f"sha256:{layer.sha256}"
    config = oci.image_config(oci.Platform("amd64", "linux"), [layer], {"Cmd": ["x"]}, "test")
    archive = tmp_path / "checkout/images/base.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"".join(oci.archive(config, [diff_id], {diff_id: layer})))
    for keep in ("manifest.json", "index.json"):
        one_kind_only(archive, keep)
        image = runtime.bases.resolve("images/base.tar", tmp_path / "checkout")
        assert image == f"sha256:{oci.blob(config).sha256}"
        runtime.client.images.remove(image, force=True)
        archive.write_bytes(b"".join(oci.archive(config, [diff_id], {diff_id: layer})))
    archive.write_bytes(b"not an archive")
    with pytest.raises(UsageError, match="not an archive of one image"):
        runtime.bases.resolve("images/base.tar", tmp_path / "checkout")
    with pytest.raises(UsageError, match="neither a digest"):
        runtime.bases.resolve("../checkout2/base.tar", tmp_path / "checkout")
