"""Flags win over the environment, that over the file, that over the defaults."""

import pytest

from harness import settings
from harness.errors import UsageError


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    for names in settings._ENVIRONMENT.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


def test_each_source_wins_over_the_next(tmp_path, monkeypatch):
    assert settings.load({}, tmp_path).origin("runtime") == "default"
    (tmp_path / "harness.toml").write_text('runtime = "docker"\nhome = "state"\n')
    found = settings.load({}, tmp_path)
    assert (found.runtime, found.home) == ("docker", tmp_path / "state")
    assert found.origin("runtime").endswith("harness.toml")
    assert found.registry == f"sqlite:///{tmp_path / 'state' / 'mlflow.db'}"
    monkeypatch.setenv("HARNESS_RUNTIME", "venv")
    assert settings.load({}, tmp_path).origin("runtime") == "$HARNESS_RUNTIME"
    assert settings.load({"runtime": "docker"}, tmp_path).origin("runtime") == "--runtime"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1", "unknown key"),
        ("runtime = 3", "must be a string"),
        ('runtime = "moon"', "moon"),
        ("[", "not TOML"),
        ('registry = "databricks"', "not supported"),
        ("sources = 1", "table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    (tmp_path / "harness.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        settings.load({}, tmp_path)
