"""Small real training projects: git, DVC objects in a local remote, a lock, a recipe, a script."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

SCRIPT = """
import json, random
rows = [float(line) for line in open("data/rows.txt")]
weights = [random.random() * r for r in rows]
open("model.json", "w").write(json.dumps({"weights": weights}))
open("metrics.json", "w").write(json.dumps({"loss": [1.0, 0.5, sum(weights)]}))
print("loss", sum(weights))
"""
RECIPE = """
schema = 1
name = "{name}"
[train]
command = ["python", "train.py"]
timeout = "{timeout}"
[environment]
lock = "requirements.lock"
[resources]
memory = "1GiB"
output_size = "64MiB"
pids = 64
[determinism]
seed = 7
level = "{level}"
"""
OUTPUTS = """
[[output]]
path = "model.json"
[[output]]
path = "metrics.json"
role = "metrics"
"""
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.invalid",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.invalid",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


@dataclass
class Project:
    """A training repository on disk, and the remote of its data beside it."""

    root: Path
    remote: Path
    level: str = "strict"
    timeout: str = "60s"
    extra: str = OUTPUTS
    files: dict[str, str] = field(default_factory=dict)

    def git(self, *words: str) -> str:
        """Run git in the repository."""
        env = {**os.environ, **IDENTITY}
        done = subprocess.run(
            ["git", *words], cwd=self.root, env=env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        """Write a file of the repository."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def recipe(self) -> None:
        """Write recipe.toml from the fields."""
        head = RECIPE.format(name=self.root.name, timeout=self.timeout, level=self.level)
        self.write("recipe.toml", head + self.extra)

    def track(self, name: str, content: bytes) -> Path:
        """Put a file under DVC and into the remote, as `dvc add` and `dvc push` do."""
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        entry = {"md5": md5, "size": len(content), "hash": "md5", "path": Path(name).name}
        self.write(f"{name}.dvc", yaml.safe_dump({"outs": [entry]}))
        self.write(f"{Path(name).parent}/.gitignore", f"/{Path(name).name}\n")
        stored = self.object(md5)
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(content)
        return stored

    def object(self, md5: str) -> Path:
        """Return where the remote keeps an object."""
        return self.remote / "files" / "md5" / md5[:2] / md5[2:]

    def commit(self, message: str = "change") -> str:
        """Commit everything; return the commit."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


def project(folder: Path, script: str = SCRIPT, **fields: object) -> Project:
    """Make and commit a project in `folder`."""
    made = Project(folder / "repo", folder / "remote", **fields)  # type: ignore[arg-type]
    made.root.mkdir(parents=True)
    made.git("init", "-q", "-b", "main")
    made.write(
        ".dvc/config",
        f"[core]\n    remote = store\n['remote \"store\"']\n    url = {made.remote}\n",
    )
    made.track("data/rows.txt", b"".join(b"%d.5\n" % n for n in range(50)))
    made.write("train.py", script)
    made.write("requirements.lock", "# nothing but the standard library\n")
    for name, text in made.files.items():
        made.write(name, text)
    made.recipe()
    made.commit("first")
    return made
