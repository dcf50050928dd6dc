"""A bank with a copy of one empty registry: made once, since MLflow takes seconds to make one."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.bank import Bank, cli


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    from harness.registries.mlflow import MlflowRegistry

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowRegistry(f"sqlite:///{path}", path.parent)._client.search_registered_models()
    return path


@pytest.fixture
def bank(tmp_path, empty_registry):
    shutil.copy(empty_registry, tmp_path / "mlflow.db")
    return Bank(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def run(bank, monkeypatch, capsys):
    return cli(bank, monkeypatch, capsys)


@pytest.fixture
def gate(run):
    """Ask the gate as the CI's verifier; return the exit code and the codes of what is against."""

    def ask(version, to="Staging", *words):
        code, answer, err = run("vera", "gate", version.uri, "--to", to, *words)
        assert answer, err
        return code, {f["code"] for f in answer["findings"] if not f["waived"]}, answer

    return ask
