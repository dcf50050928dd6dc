"""One locked-down container: volumes of limited size, what goes in, what runs, what comes out.

The container's first process only waits, as another user than the job's, on a pipe that the
harness holds open: when the harness dies, however it dies, the container ends with it. Commands
are started beside it, so that the volumes, which live in memory, outlast the job and can be read.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from harness.runtimes import base, oci

LABEL = "dev.repro-harness.owner"
RUN_LABEL = "dev.repro-harness.run"
UID = 1000
USER = f"{UID}:{UID}"
WAITER = "65534:65534"
WAIT = "import signal,os;signal.signal(signal.SIGCHLD,signal.SIG_IGN);os.read(0,1)"
KILL_ALL = "import os,signal;os.kill(-1,signal.SIGKILL)"
STDOUT = 1
SMALL = 1 << 30
WRITABLE = (base.WORK, base.HOME, base.REPORTS, base.TRACKING)


def owner(pid: int | None = None) -> str:
    """Return who owns a container: host, process id and its start, since ids are used again."""
    process = psutil.Process(pid)
    return f"{socket.gethostname()}/{process.pid}/{int(process.create_time())}"


def orphaned(label: str) -> bool:
    """Return whether the owner was a process of this host and is no more."""
    host, _, rest = label.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        return str(int(psutil.Process(int(pid)).create_time())) != started
    except psutil.NoSuchProcess:
        return True


class Box:
    """A running container in which commands are executed; removed on leaving, with its volumes."""

    def __init__(self, client: Any, image: str, run_id: str, limits: base.Limits) -> None:
        self.client, self.image, self.run_id, self.limits = client, image, run_id, limits
        self.labels = {LABEL: owner(), RUN_LABEL: run_id}
        self.volumes: dict[str, Any] = {}
        self.container: Any = None
        self._pipe: Any = None

    def __enter__(self) -> Box:
        """Create and start the container."""
        try:
            self._create()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the container and its volumes, whatever happened."""
        self.close()

    def _create(self) -> None:
        limits = self.limits
        for path in WRITABLE:
            size = limits.output_size if path in (base.WORK, base.HOME) else SMALL
            options = f"size={size},uid={UID},gid={UID},mode=0755"
            self._volume(path, f"{options},nosuid,nodev")
        self._volume(base.BOOTSTRAP, f"size={SMALL},mode=0755,nosuid,nodev")
        self.container = self.client.containers.create(
            self.image,
            entrypoint=["python3", "-I", "-S", "-c", WAIT],
            command=[],
            user=WAITER,
            stdin_open=True,
            network_mode="none",
            hostname="harness",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            pids_limit=limits.pids,
            mem_limit=limits.memory,
            memswap_limit=limits.memory,
            nano_cpus=int(limits.cpus * 1e9),
            shm_size=max(limits.memory // 2, 64 << 20),
            tmpfs={"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={limits.output_size}"},
            volumes={v.name: {"bind": p, "mode": "rw"} for p, v in self.volumes.items()},
            working_dir="/",
            labels=self.labels,
            log_config={"Type": "none"},
            device_requests=self._gpus(),
        )
        self._pipe = self.container.attach_socket(params={"stdin": 1, "stream": 1})
        self.container.start()

    def _volume(self, path: str, options: str) -> None:
        self.volumes[path] = self.client.volumes.create(
            driver="local",
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": options},
            labels=self.labels,
        )

    def _gpus(self) -> list[Any]:
        if not self.limits.gpus:
            return []
        from docker.types import DeviceRequest

        return [DeviceRequest(count=self.limits.gpus, capabilities=[["gpu"]])]

    def close(self) -> None:
        """Kill and remove the container, then its volumes; a second call does nothing."""
        import docker.errors

        if self._pipe is not None:
            shut(self._pipe)
            self._pipe = None
        if self.container is not None:
            with contextlib.suppress(docker.errors.APIError):
                self.container.remove(force=True, v=True)
            self.container = None
        for volume in self.volumes.values():
            with contextlib.suppress(docker.errors.APIError):
                volume.remove(force=True)
        self.volumes = {}

    def upload(self, source: Path, path: str, owner: int) -> None:
        """Copy a folder's content into a volume, links kept as links."""
        stream = oci.batched(oci.tree(source, "", oci.Times(owner=owner)))
        self.client.api.put_archive(self.container.id, path, stream)

    def execute(
        self,
        command: Sequence[str],
        *,
        workdir: str = "/",
        env: Mapping[str, str] | None = None,
    ) -> Execution:
        """Start a command as the job's user; its output is read from what is returned."""
        made = self.client.api.exec_create(
            self.container.id,
            list(command),
            user=USER,
            workdir=workdir,
            environment=dict(env or {}),
        )
        channel = self.client.api.exec_start(made["Id"], socket=True)
        return Execution(self.client, made["Id"], channel)

    def tool(self, script: str, *arguments: str) -> Execution:
        """Start a script of ours with the image's interpreter, nothing of the job in its path."""
        return self.execute(["python3", "-I", "-S", "-c", script, *arguments])

    def stop(self) -> None:
        """Kill every process of the job; the whole container when that does not work."""
        import docker.errors

        try:
            list(self.tool(KILL_ALL).output())
        except (docker.errors.APIError, OSError):
            self.kill()

    def kill(self) -> None:
        """Kill the container."""
        import docker.errors

        with contextlib.suppress(docker.errors.APIError, AttributeError):
            self.container.kill()

    def state(self) -> Mapping[str, Any]:
        """Return the engine's view of the container's state."""
        state: Mapping[str, Any] = self.client.api.inspect_container(self.container.id)["State"]
        return state


class Execution:
    """One command in the container."""

    def __init__(self, client: Any, identity: str, channel: Any) -> None:
        self.client, self.identity, self._channel = client, identity, channel

    def output(self) -> Iterator[bytes]:
        """Yield stdout and stderr as they come."""
        return (data for _, data in self._frames())

    def stdout(self) -> Iterator[bytes]:
        """Yield stdout only."""
        return (data for kind, data in self._frames() if kind == STDOUT)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        frames_iter: Any = import_module("docker.utils.socket").frames_iter
        try:
            yield from frames_iter(self._channel, tty=False)
        finally:
            shut(self._channel)

    def status(self) -> int | None:
        """Return the exit status after the output has ended."""
        status: int | None = self.client.api.exec_inspect(self.identity)["ExitCode"]
        return status


def shut(channel: Any) -> None:
    """Close a channel to the engine with the socket and the response that it hangs on."""
    for part in (getattr(channel, "_response", None), channel, getattr(channel, "_sock", None)):
        if part is not None:
            with contextlib.suppress(OSError, AttributeError):
                part.close()
