"""A registry, a home and a command line for each end-to-end case; caches are shared."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.projects import project as make_project


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    """A home whose embedded registry exists and is empty, and whose caches all cases share."""
    home = tmp_path_factory.mktemp("shared")
    from harness.registries.mlflow import MlflowRegistry

    registry = MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home)
    registry._client.search_registered_models()
    for name in ("wheels", "envs", "uv", "docker"):
        (home / name).mkdir()
    return home


@pytest.fixture
def home(tmp_path, shared_home, monkeypatch):
    """An own home with an empty registry."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(shared_home / "mlflow.db", folder / "mlflow.db")
    for name in ("wheels", "envs", "uv", "docker"):
        (folder / name).symlink_to(shared_home / name)
    monkeypatch.setenv("HARNESS_HOME", str(folder))
    for name in ("HARNESS_REGISTRY", "MLFLOW_TRACKING_URI", "HARNESS_RUNTIME", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_RUNTIME", "venv")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def project(tmp_path, home):
    """Make projects."""
    return lambda *args, **fields: make_project(tmp_path / "project", *args, **fields)


@pytest.fixture
def cli(home, capsys):
    """Run a command line; return exit code, the JSON answer, and stderr."""
    from harness.cli import run

    def call(*words):
        code = run([str(w) for w in words])
        out = capsys.readouterr()
        answer = json.loads(out.out) if "--json" in words and out.out.strip() else out.out
        return code, answer, out.err

    return call


@pytest.fixture
def recorded(cli):
    """Record a project; return the answer."""

    def record(made, *more):
        code, answer, err = cli("record", "--model", "M", made.root, "--json", *more)
        assert code == 0, err
        return answer

    return record
