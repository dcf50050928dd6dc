"""The bubblewrap sandbox: which part of this machine a job sees, and nothing else of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from harness.runtimes.base import BOOTSTRAP, ENV, HOME, REPORTS, TRACKING, WORK

BWRAP = "bubblewrap"
UID = 65532
HOSTNAME = "harness"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
          "/etc/nsswitch.conf", "/etc/fonts", "/sys/devices/system")  # fmt: skip
_HOSTS = "127.0.0.1 localhost harness\n::1 localhost\n"


@cache
def usable() -> str:
    """Return why bubblewrap cannot be used here; empty when it can."""
    tool = shutil.which("bwrap")
    if tool is None:
        return f"{BWRAP} is not installed"
    if os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists():
        return "setpriv (util-linux) is not installed"
    probe = [tool, *_user(), "--ro-bind", "/", "/", "--proc", "/proc", "--", *_become(), "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{BWRAP} does not work here: {done.stderr.strip()}"


def command(
    env_tree: Path, python: Path, rooms: dict[str, Path], workdir: str, gpus: int = 0
) -> list[str]:
    """Return the bwrap command line that a job's own argv is appended to.

    `rooms` are the writable folders of this machine by their path inside; everything else is
    read-only or not there: no network, no devices (but the GPUs asked for), no other process,
    no key.
    """
    tool = shutil.which("bwrap")
    assert tool is not None
    line = [tool, "--die-with-parent", "--new-session", "--hostname", HOSTNAME, *_user()]
    line += ["--proc", "/proc", "--dev", "/dev"]
    line += ["--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/dev/shm"]
    for path in map(Path, _SYSTEM):
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            line += ["--ro-bind", str(path), str(path)]
    for name in _FILES:
        if Path(name).exists():
            line += [*_parents(Path(name)), "--ro-bind", name, name]
    prefix = python.parent.parent
    if not prefix.is_relative_to("/usr"):
        line += [*_parents(prefix), "--ro-bind", str(prefix), str(prefix)]
    line += [*_parents(Path(ENV)), "--ro-bind", str(env_tree), ENV]
    for device in sorted(Path("/dev").glob("nvidia*")) if gpus else ():
        line += ["--dev-bind", str(device), str(device)]
    for inside, outside in rooms.items():
        line += ["--ro-bind" if inside == BOOTSTRAP else "--bind", str(outside), inside]
    hosts = rooms[WORK].parent / "hosts"
    hosts.write_text(_HOSTS)
    line += ["--ro-bind", str(hosts), "/etc/hosts"]
    return [*line, "--chdir", workdir, "--", *_become()]


def _parents(path: Path) -> list[str]:
    """Return the folders above a path, made so that the job's own user can pass them."""
    above = [p for p in reversed(path.parents) if p != Path("/")]
    return [word for p in above for word in ("--perms", "0755", "--dir", str(p))]


def _user() -> list[str]:
    """Return how the job gets an identity of its own: really as root, else by a name space."""
    if os.geteuid() != 0:
        return [
            "--unshare-all",
            "--unshare-user",
            "--uid",
            str(UID),
            "--gid",
            str(UID),
            "--cap-drop",
            "ALL",
        ]
    kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
    spaces = ("ipc", "pid", "net", "uts", "cgroup-try")
    caps = [word for cap in kept for word in ("--cap-add", cap)]
    return [*(f"--unshare-{space}" for space in spaces), "--cap-drop", "ALL", *caps]


def _become() -> list[str]:
    """Return the step, inside the sandbox, from root to the job's own user without capabilities."""
    if os.geteuid() != 0:
        return []
    user = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    return ["/usr/bin/setpriv", *user, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


def rooms(root: Path, bootstrap: Path) -> dict[str, Path]:
    """Return the job's folders below `root` by their fixed path inside, and its bootstrap."""
    names = {WORK: "work", HOME: "home", REPORTS: "reports", TRACKING: "mlflow"}
    return {**{inside: root / name for inside, name in names.items()}, BOOTSTRAP: bootstrap}
