"""What this machine can do, each line with its fix."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from harness import runtimes
from harness.attestations import keys
from harness.errors import HarnessError
from harness.house import House
from harness.progress import Quiet
from harness.settings import Settings

Line = dict[str, Any]
ENOUGH_DISK = 5 << 30


def doctor(settings: Settings) -> dict[str, Any]:
    """Return what this machine can do; exit code 0 when the main job can run, else 2."""
    lines = list(_lines(House(settings, Quiet())))
    usable = any(line["ok"] for line in lines if line["name"].startswith("runtime "))
    needed = all(line["ok"] for line in lines if line["needed"])
    return {"schema": 1, "lines": lines, "exit_code": 0 if usable and needed else 2}


def _line(name: str, ok: bool, detail: str, fix: str = "", needed: bool = False) -> Line:
    return {"name": name, "ok": ok, "detail": detail, "fix": "" if ok else fix, "needed": needed}


def _lines(house: House) -> Iterator[Line]:
    yield _line("python", True, platform.python_version(), needed=True)
    yield _tool("git", "install git", needed=True)
    yield _tool("git-lfs", "install git-lfs, if a repository uses it", argument="version")
    for package in ("mlflow", "dvc", "docker", "uv", "pip"):
        yield _line(package, True, importlib.metadata.version(package), needed=True)
    yield from _runtimes(house)
    free = shutil.disk_usage(_existing(house)).free
    yield _line(
        "disk", free > ENOUGH_DISK, f"{free >> 30} GiB free for {house.home}", "make room", True
    )
    yield _gpu()
    yield from _registry_and_key(house)


def _existing(house: House) -> str:
    folder = house.home
    while not folder.exists():
        folder = folder.parent
    return str(folder)


def _tool(name: str, fix: str, argument: str = "--version", needed: bool = False) -> Line:
    path = shutil.which(name)
    if path is None:
        return _line(name, False, "not found", fix, needed)
    answer = subprocess.run([path, argument], capture_output=True, text=True, check=False)
    first = (answer.stdout or answer.stderr).splitlines()[:1]
    return _line(name, answer.returncode == 0, " ".join(first), fix, needed)


def _runtimes(house: House) -> Iterator[Line]:
    for name in runtimes.TABLE:
        try:
            state = house.make_runtime(name).available()
        except HarnessError as error:
            yield _line(f"runtime {name}", False, error.message, error.hint)
            continue
        yield _line(f"runtime {name}", state.ok, state.detail, state.fix)
        for warning in state.warnings:
            yield _line(f"runtime {name}: limit", False, warning, "see the README's honest limits")


def _gpu() -> Line:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return _line("gpu", False, "no NVIDIA driver here; CPU trainings only", "")
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return _line("gpu", answer.returncode == 0, answer.stdout.strip() or answer.stderr.strip())


def _registry_and_key(house: House) -> Iterator[Line]:
    yield _line("registry", True, f"{house.settings.registry}")
    try:
        key = keys.present(house.home, house.settings.key)
        yield _line("signing key", True, key.where if key else "none yet: made on first use")
        trust = keys.read_trust(house.trust_file())
        count = f"{len(trust.keys)} keys" if trust.keys else "nobody yet: made on first use"
        yield _line("trust", True, f"{trust.where}: {count}")
        rules = house.policy()
        yield _line("policy", True, f"{rules.uri} {rules.digest[:12]}, {len(rules.rules)} rules")
    except HarnessError as error:
        yield _line("keys, trust, policy", False, error.message, error.hint)
