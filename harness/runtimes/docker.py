"""The docker runtime: environments as images that we assemble, jobs in locked-down containers."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError, SourceUnavailable, UsageError
from harness.model import Gap
from harness.runtimes import docker_base, docker_run
from harness.runtimes.base import Availability, Environment, EnvironmentSpec, Job, JobResult, Sink
from harness.runtimes.docker_box import LABEL, Box, orphaned
from harness.runtimes.docker_build import Builder

SOCKET = "unix:///var/run/docker.sock"
START = "start the engine, or point DOCKER_HOST at one that answers; or use --runtime venv"
LIMITS = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap (the engine's host accounts for none)",
    "PidsLimit": "pids",
    "CpuCfsQuota": "cpus",
}


class DockerRuntime:
    """Where one training job runs: any engine that speaks Docker's API (`DOCKER_HOST`)."""

    name = "docker"

    def __init__(self, home: Path, base: str = "") -> None:
        """Use state below `home`; `base` is the operator's image (default: the one we build)."""
        self.home = home / "docker"
        self.packages_home = home
        self.base = base or docker_base.DEFAULT

    @cached_property
    def client(self) -> Any:
        """Return the connection to the engine; Raises: InfrastructureError when none answers."""
        try:
            import docker
        except ImportError as error:
            msg = "the docker runtime needs the docker package"
            raise UsageError(msg, "pip install docker, or use --runtime venv") from error
        client = None
        try:
            knock(os.environ.get("DOCKER_HOST") or SOCKET)
            client = docker.from_env(timeout=600)
            client.api.version()
        except Exception as error:  # docker-py lets urllib3 and OS errors through
            if client is not None:
                client.close()
            msg = f"no container engine answers: {str(error)[:300]}"
            raise InfrastructureError(msg, START) from error
        return client

    @cached_property
    def bases(self) -> docker_base.Bases:
        """Return the base images of the engine."""
        return docker_base.Bases(self.client, self.home)

    @cached_property
    def _unlimited(self) -> tuple[str, ...]:
        info = self.client.info()
        return tuple(what for key, what in LIMITS.items() if not info.get(key))

    def available(self) -> Availability:
        """Return whether an engine answers and has, or can pull, the operator's base image."""
        try:
            version = self.client.api.version(api_version=False)["Version"]
        except (InfrastructureError, UsageError) as error:
            return Availability(False, error.message, error.hint)
        warnings = tuple(f"cannot limit {what}" for what in self._unlimited)
        detail = f"engine {version}"
        if self.bases.present(self.base):
            return Availability(True, f"{detail}, base {self.base}", "", warnings)
        if "@sha256:" in self.base and self.bases.in_registry(self.base):
            return Availability(True, f"{detail}, base {self.base} will be pulled", "", warnings)
        missing = f"{detail} answers, but has no base image {self.base}"
        return Availability(False, missing, docker_base.how_to_build(), warnings)

    def missing(self, spec: EnvironmentSpec) -> tuple[Gap, ...]:
        """Return what of the environment can no longer be had; downloads no package."""
        return Builder(self.bases, self.packages_home, self.base).missing(spec)

    def build(self, spec: EnvironmentSpec, sink: Sink) -> Environment:
        """Build the environment, or take it from the engine; only fetching has network."""
        return Builder(self.bases, self.packages_home, self.base).build(spec, sink)

    def run(self, environment: Environment, job: Job, sink: Sink) -> JobResult:
        """Run one job to its end and collect its outputs; a failing job is a result."""
        import docker.errors

        try:
            with Box(self.client, environment.handle, job.run_id, job.limits) as box:
                result = docker_run.run_job(box, job, sink)
        except docker.errors.ImageNotFound as error:
            msg = f"the engine no longer has the environment's image {environment.handle}"
            raise SourceUnavailable(msg, hint="build the environment again") from error
        except (docker.errors.DockerException, OSError) as error:
            msg = f"the container engine failed while running the job: {error}"
            raise InfrastructureError(msg, "see the engine's log, then try again") from error
        return replace(result, unlimited=self._unlimited)

    def reap(self) -> None:
        """Remove containers and volumes whose harness is dead."""
        import docker.errors

        filters = {"label": LABEL}
        found = [(c, c.labels) for c in self.client.containers.list(all=True, filters=filters)]
        found += [
            (v, v.attrs.get("Labels") or {}) for v in self.client.volumes.list(filters=filters)
        ]
        for thing, labels in found:
            if orphaned(labels.get(LABEL, "")):
                try:
                    thing.remove(force=True)
                except docker.errors.APIError:
                    continue  # another harness reaps at the same time


def knock(address: str) -> None:
    """Raise OSError at once where nothing listens on a Unix socket."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(address.removeprefix("unix://"))
