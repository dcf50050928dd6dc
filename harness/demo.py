"""`harness demo`: the main job on real input, then three honest failures."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import app
from harness.errors import InfrastructureError, UsageError
from harness.progress import Progress
from harness.settings import Settings

RECIPE = "credit-sklearn"
MODEL = "credit-demo"


def shared(name: str) -> Path:
    """Return a folder that ships with the package: `recipes` or `containers`."""
    here = Path(__file__).parent
    for folder in (here / "_share" / name, here.parent / name):
        if folder.is_dir():
            return folder
    raise InfrastructureError(f"{name}: not part of this installation", "install repro-harness")


def instantiate(name: str, target: Path) -> Path:
    """Make a recipe a git repository of its own, with its data under DVC in a local remote.

    Returns the repository; the remote is the folder `<repository>.remote` beside it.
    """
    source = shared("recipes") / name
    if not source.is_dir():
        known = ", ".join(sorted(p.name for p in shared("recipes").iterdir() if p.is_dir()))
        raise UsageError(f"no recipe {name!r}", f"one of: {known}")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "data"))
    _python(target, "make_data.py")
    _git(target, "init", "-q", "-b", "main")
    _dvc(target, "init", "-q")
    remote = target.with_name(target.name + ".remote")
    remote.mkdir()
    _dvc(target, "remote", "add", "-q", "-d", "local", str(remote))
    _dvc(target, "config", "core.analytics", "false")
    files = sorted(p.relative_to(target).as_posix() for p in (target / "data").glob("*"))
    _dvc(target, "add", "-q", *(f for f in files if not f.endswith((".dvc", ".gitignore"))))
    _dvc(target, "push", "-q")
    commit(target, f"{name}: code, recipe, lock and data")
    return target


def commit(repository: Path, message: str) -> None:
    """Commit everything that is not ignored."""
    _git(repository, "add", "-A")
    _git(repository, "commit", "-q", "-m", message)


def _run(folder: Path, *command: str) -> None:
    env = {
        **os.environ,
        "DVC_NO_ANALYTICS": "1",
        "GIT_AUTHOR_NAME": "Harness demo",
        "GIT_AUTHOR_EMAIL": "demo@example.invalid",
        "GIT_COMMITTER_NAME": "Harness demo",
        "GIT_COMMITTER_EMAIL": "demo@example.invalid",
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        what = " ".join(Path(c).name for c in command[:4])
        raise InfrastructureError(f"{what} failed: {(done.stderr or done.stdout)[-800:]}")


def _git(folder: Path, *words: str) -> None:
    _run(folder, "git", "-c", "commit.gpgsign=false", *words)


def _dvc(folder: Path, *words: str) -> None:
    _run(folder, sys.executable, "-m", "dvc", *words)


def _python(folder: Path, script: str) -> None:
    _run(folder, sys.executable, script)


@dataclass(frozen=True)
class Scene:
    """One act of the demo: what was done, what came out, what had to come out."""

    title: str
    expected: str
    answer: dict[str, Any]

    @property
    def found(self) -> str:
        """Return the verdict as one phrase."""
        detail = self.answer["grade"] or self.answer["cause"] or ""
        return f"{self.answer['outcome']} {detail}".strip()


def demo(settings: Settings, keep: Path | None, *, progress: Progress) -> dict[str, Any]:
    """Record, reproduce, tamper, change data, unpin: four verdicts, and where the report is.

    Exit code 0 when every verdict is the expected one, else 4.
    """
    root = keep or Path(tempfile.mkdtemp(prefix="harness-demo-"))
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise UsageError(f"{root} is not empty", "name an empty or new folder")
    house = dataclasses.replace(
        settings,
        home=root / "home",
        registry=f"sqlite:///{root / 'home' / 'mlflow.db'}",
        output_dir=root / "reports",
    )
    _share_caches(settings.home, house.home)
    progress.note(f"the demo lives in {root}")
    scenes = list(_scenes(house, root, progress))
    ok = all(s.found == s.expected for s in scenes)
    return {
        "schema": 1,
        "folder": str(root),
        "runtime": scenes[0].answer["record"]["environment"]["reproduced"]["runtime"],
        "sandbox": scenes[0].answer["record"]["runs"][0]["sandbox"],
        "verdicts": [{"title": s.title, "expected": s.expected, "found": s.found} for s in scenes],
        "report": scenes[0].answer["reports"].get("html", ""),
        "exit_code": 0 if ok else 4,
    }


def _share_caches(from_home: Path, to_home: Path) -> None:
    """Let the demo use the packages and environments that this machine already has."""
    to_home.mkdir(parents=True)
    for name in ("wheels", "envs", "locks-cache"):
        (from_home / name).mkdir(parents=True, exist_ok=True)
        (to_home / name).symlink_to(from_home / name)


def _scenes(settings: Settings, root: Path, progress: Progress) -> Any:
    repository = instantiate(RECIPE, root / RECIPE)
    first = app.record(settings, repository, MODEL, progress=progress)
    yield Scene(
        "a registered model, made again",
        "REPRODUCED BITWISE",
        app.verify(settings, first["uri"], progress=progress),
    )
    second = app.record(settings, repository, MODEL, progress=progress)
    flip_a_bit(settings.home)
    yield Scene(
        "one bit of the registered model flipped",
        "TAMPERED",
        app.verify(settings, second["uri"], progress=progress),
    )
    with _changed_data(settings.home, repository):
        answer = app.verify(settings, first["uri"], progress=progress)
    yield Scene("one data object changed in its remote", "SOURCE_UNAVAILABLE", answer)
    recipe = repository / "recipe.toml"
    recipe.write_text(_unpinned(recipe.read_text()))
    commit(repository, "train without any pins")
    third = app.record(settings, repository, MODEL, progress=progress)
    yield Scene(
        "a training without pinned seeds",
        "DIVERGED FLAKY",
        app.verify(settings, third["uri"], progress=progress),
    )


def _unpinned(text: str) -> str:
    import re

    changed, times = re.subn(r'(?m)^level\s*=\s*"\w+"', 'level = "off"', text)
    if times != 1:
        raise InfrastructureError("the demo's recipe has no determinism level to change")
    return changed


def flip_a_bit(home: Path) -> Path:
    """Change one bit of a registered artifact in the embedded registry's own store."""
    folders = (home / "artifacts").glob(f"{MODEL}/*/artifacts/model/model.joblib")
    newest = max(folders, key=lambda p: p.stat().st_mtime_ns)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    return newest


class _changed_data:
    """Change every object of a remote while the block runs; caches forget theirs."""

    def __init__(self, home: Path, repository: Path) -> None:
        self._cache = home / "dvc"
        self._remote = repository.with_name(repository.name + ".remote")
        self._aside = self._remote.with_name(self._remote.name + ".aside")

    def __enter__(self) -> None:
        shutil.copytree(self._remote, self._aside)
        shutil.rmtree(self._cache, ignore_errors=True)
        for path in self._remote.rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                path.write_bytes(path.read_bytes() + b"\n")

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._remote)
        self._aside.rename(self._remote)
