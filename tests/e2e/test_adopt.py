"""A version that was trained elsewhere: lineage attached afterwards, and judged like any other."""

from pathlib import Path

from harness.registries.base import NewVersion
from harness.registries.mlflow import MlflowRegistry


def elsewhere(home, made, recorded):
    """Register the model of a recorded version once more, without any lineage."""
    recorded(made)
    model = next((home / "artifacts").glob("M/*/artifacts/model"))
    registry = MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home)
    return registry.register(NewVersion("Old", Path(model), None, {}, {}, {}))


def adopt(cli, made, *more):
    words = ("--repo", made.root, "--commit", made.git("rev-parse", "HEAD"))
    return cli("adopt", "models:/Old/1", *words, "--recipe", made.root / "recipe.toml", *more)


def test_an_adopted_version_is_made_again_under_the_profile_that_is_given(
    project, cli, recorded, home
):
    made = project()
    elsewhere(home, made, recorded)
    assert cli("verify", "models:/Old/1")[0] == 3
    code, answer, err = adopt(cli, made, "--profile", "strict", "--json")
    assert (code, answer["origin"]) == (0, "adopted"), err
    code, answer, err = cli("verify", "models:/Old/1", "--json")
    assert (code, answer["outcome"]) == (0, "REPRODUCED"), err


def test_without_a_profile_it_is_replayed_at_off(project, cli, recorded, home):
    made = project()
    elsewhere(home, made, recorded)
    assert adopt(cli, made)[0] == 0
    code, answer, _ = cli("verify", "models:/Old/1", "--json")
    assert (code, answer["cause"]) == (1, "FLAKY")
    assert answer["record"]["lineage"]["profile"]["level"] == "off"


def test_a_commit_that_does_not_exist_cannot_be_adopted(project, cli, recorded, home):
    made = project()
    elsewhere(home, made, recorded)
    words = ("--repo", made.root, "--commit", "0" * 40, "--recipe", made.root / "recipe.toml")
    code, _, err = cli("adopt", "models:/Old/1", *words)
    assert code == 3
    assert "0000000" in err
