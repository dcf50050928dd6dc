"""Limits of a job on this machine: control groups where we may, else what a process can set."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from harness.runtimes.base import Limits

V1 = Path("/sys/fs/cgroup")
PREFIX = "harness-"
PERIOD = 100_000


class Group:
    """A control group of one job, version 1 or 2; limits that it cannot set are in `unlimited`."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._folders: list[Path] = []
        self.unlimited: list[str] = []
        settings = {
            "memory": [("memory.limit_in_bytes", "memory.max", str(limits.memory))],
            "pids": [("pids.max", "pids.max", str(limits.pids))],
            "cpu": [("cpu.cfs_quota_us", "cpu.max", str(int(limits.cpus * PERIOD)))],
        }
        unified = (V1 / "cgroup.controllers").exists()
        for controller, files in settings.items():
            folder = (V1 if unified else V1 / controller) / f"{PREFIX}{os.getpid()}-{name}"
            try:
                folder.mkdir(exist_ok=True)
                for v1, v2, value in files:
                    (folder / (v2 if unified else v1)).write_text(value)
            except OSError:
                self.unlimited.append(controller)
                if folder not in self._folders:
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                continue
            if folder not in self._folders:
                self._folders.append(folder)

    @classmethod
    def lacking(cls) -> tuple[str, ...]:
        """Return what no control group of this machine lets us limit."""
        group = cls("probe", Limits())
        group.remove()
        return tuple(group.unlimited)

    def enter(self) -> None:
        """Put the calling process (a child before exec) into the group."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                (folder / "cgroup.procs").write_text(str(os.getpid()))

    def kill(self) -> None:
        """Kill every process of the group, again and again until none is left."""
        for _ in range(200):
            found = self._members()
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not found:
                return
            time.sleep(0.02)

    def _members(self) -> list[int]:
        found: set[int] = set()
        for folder in self._folders:
            with contextlib.suppress(OSError):
                found |= {int(p) for p in (folder / "cgroup.procs").read_text().split()}
        return sorted(found)

    def hit(self) -> str:
        """Return which limit the job ran into, as far as the kernel tells; empty when none."""
        for name, key, reason in (
            ("memory.oom_control", "oom_kill", "memory"),
            ("memory.events", "oom_kill", "memory"),
            ("pids.events", "max", "processes"),
        ):
            for folder in self._folders:
                with contextlib.suppress(OSError, ValueError, IndexError):
                    for line in (folder / name).read_text().splitlines():
                        word, value = line.split()[:2]
                        if word == key and int(value):
                            return reason
        return ""

    def remove(self) -> None:
        """Kill what is left and remove the group."""
        self.kill()
        for folder in self._folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def rlimits(limits: Limits, missing: list[str], alone: bool) -> Callable[[], None]:
    """Return what a child calls before exec to limit itself where no control group does.

    `alone` says that the job runs as a user of its own, so that a process count is its own.
    """

    def apply() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if any(m.startswith("output_size") for m in missing):
            # Beyond what the watchdog ends a job for, which names the reason.
            largest = limits.output_size + (1 << 20)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        if "memory" in missing:
            resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
        if "pids" in missing and alone:
            resource.setrlimit(resource.RLIMIT_NPROC, (limits.pids, limits.pids))

    return apply


def reap() -> None:
    """Remove control groups whose harness is dead."""
    for root in (V1, *(V1 / c for c in ("memory", "pids", "cpu"))):
        for folder in root.glob(f"{PREFIX}*"):
            owner = folder.name.removeprefix(PREFIX).split("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                with contextlib.suppress(OSError):
                    for pid in (folder / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
                    folder.rmdir()
