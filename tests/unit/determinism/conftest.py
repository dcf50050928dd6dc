"""Run a script as a training would be run: from outside, with the bootstrap on its path."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness import determinism
from harness.model import Profile


@dataclass
class Trained:
    """What a script printed, and the summary of its reports."""

    out: str
    summary: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def train(tmp_path: Path):
    runs = iter(range(100))

    def run(script: str, level: str = "strict", *words: str, flags=(), path=(), seed=7, **env):
        folder = tmp_path / f"run{next(runs)}"
        reports = folder / "reports"
        reports.mkdir(parents=True)
        (folder / "script.py").write_text(script)
        profile = Profile(level, seed, 1 if level in {"strict", "entropy"} else None)
        found = os.pathsep.join([str(determinism.bootstrap_path()), *map(str, path)])
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HARNESS_PIN")}
        done = subprocess.run(
            [sys.executable, *flags, "script.py", *words],
            cwd=folder,
            env={
                **clean,
                "PYTHONDONTWRITEBYTECODE": "",  # the second import of a framework must be fast
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **determinism.environment(profile, str(reports)),
                "PYTHONPATH": found,
                **env,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert "[harness]" not in done.stderr, done.stderr
        return Trained(done.stdout, determinism.read(reports))

    return run
