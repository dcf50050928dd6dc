"""Flags win over the environment, the environment over harness.toml, that over defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import settings
from harness.errors import UsageError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [n for group in settings._ENVIRONMENT.values() for n in group]
    for name in [*names, "HARNESS_CONFIG"]:
        monkeypatch.delenv(name, raising=False)


def _toml(folder: Path, text: str) -> Path:
    path = folder / settings.FILE
    path.write_text(text)
    return path


def test_the_order_and_the_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _toml(tmp_path, 'registry = "sqlite:///file.db"\nhome = "h"\nruntime = "venv"\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    found = settings.load({}, inner)
    assert (found.registry, found.origin("registry")) == ("sqlite:///file.db", str(path))
    assert found.home == tmp_path / "h"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://two")
    assert settings.load({}, inner).registry == "http://two"
    monkeypatch.setenv("HARNESS_REGISTRY", "http://one")
    found = settings.load({}, inner)
    assert (found.registry, found.origin("registry")) == ("http://one", "$HARNESS_REGISTRY")
    found = settings.load({"registry": "http://flag", "runtime": None}, inner)
    assert (found.registry, found.origin("registry")) == ("http://flag", "--registry")
    assert found.runtime == "venv"
    assert found.origin("policy") == "default"


def test_the_default_registry_lies_under_home(tmp_path: Path) -> None:
    found = settings.load({"home": str(tmp_path / "h")}, tmp_path)
    assert found.registry == f"sqlite:///{tmp_path / 'h' / 'mlflow.db'}"
    assert found.output_dir == tmp_path / "h" / "reports"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("registy = 'x'", "registy"),
        ("home = 3", "home"),
        ("adapters = 'x'", "adapters"),
        ("adapters = [1]", "adapters"),
        ("sources = { a = 1 }", "sources"),
        ("runtime = 'podman'", "runtime"),
        ("registry = 'databricks'", "registry"),
        ("registry = 'folder'", "registry"),
        ("= nothing", "not TOML"),
    ],
)
def test_a_wrong_file_is_one_error_with_its_place(tmp_path: Path, text: str, named: str) -> None:
    path = _toml(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        settings.load({}, tmp_path)
    assert str(path) in caught.value.message
    assert named in caught.value.message
    assert caught.value.hint


def test_a_named_file_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CONFIG", str(tmp_path / "gone.toml"))
    with pytest.raises(UsageError, match=r"gone\.toml"):
        settings.load({}, tmp_path)


@pytest.mark.parametrize("mark", [".git", "../.git", "recipe.toml"])
def test_a_repository_does_not_choose_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    folder = tmp_path / "repository" / "part"
    (folder / "below").mkdir(parents=True)
    path = _toml(folder, "policy = 'mine.toml'\n")
    assert settings.load({}, folder / "below").policy == folder / "mine.toml"
    (folder / mark).write_text("")
    with pytest.raises(UsageError, match="lies in a repository") as caught:
        settings.load({}, folder / "below")
    assert str(path) in caught.value.message
    assert f"HARNESS_CONFIG={path}" in caught.value.hint
    monkeypatch.setenv("HARNESS_CONFIG", str(path))
    assert settings.load({}, folder / "below").policy == folder / "mine.toml"


def test_a_file_above_the_repository_is_the_operators(tmp_path: Path) -> None:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    _toml(tmp_path, "policy = 'mine.toml'\n")
    assert settings.load({}, tmp_path / "repository").policy == tmp_path / "mine.toml"
