"""`harness check PATH` finds what would keep a repository from being recorded, without a run."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from harness.cli import run

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.projects import project as make_project

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HARNESS_REGISTRY", "http://127.0.0.1:1")
    for name in ("HARNESS_CONFIG", "HARNESS_POLICY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path / "project")


@pytest.fixture
def check(capsys):
    def call(*words):
        code = run(["check", *map(str, words), "--json"])
        out = capsys.readouterr()
        answer = json.loads(out.out) if out.out else {}
        return code, [g["what"] for g in answer.get("gaps", ())], out.err

    return call


def test_a_repository_that_can_be_recorded_passes(made, check):
    for where in (made.root, made.root / "recipe.toml"):
        assert check(where)[:2] == (0, [])


def test_no_registry_is_asked(made, check, tmp_path, monkeypatch):
    """Neither one that cannot be reached nor the embedded one, which would be made on first use."""
    assert check(made.root)[0] == 0
    monkeypatch.delenv("HARNESS_REGISTRY")
    assert check(made.root)[0] == 0
    assert not (tmp_path / "home" / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda p: p.write("requirements.lock", "numpy>=1\n"), "lock"),
        (lambda p: p.write("requirements.lock", "numpy==2.0.0\n"), "lock"),
        (lambda p: (p.root / "requirements.lock").unlink(), "lock"),
        (lambda p: (p.root / "train.py").unlink(), "script"),
        (lambda p: p.write("data/rows.txt.dvc", "outs: ["), "DVC file"),
    ],
)
def test_each_planted_fault_is_found_before_a_commit(made, check, change, what):
    change(made)
    code, gaps, _ = check(made.root, "--hook", "commit")
    assert (code, gaps) == (3, [what])


def test_data_that_was_never_pushed_is_found_before_a_recording(made, check):
    for path in made.remote.rglob("*"):
        if path.is_file():
            path.unlink()
    assert check(made.root)[:2] == (3, ["data object"])
    for hook in ("commit", "push"):
        assert check(made.root, "--hook", hook)[0] == 0


def recipe(made, old, new):
    path = made.root / "recipe.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_faults_of_the_recipe_itself(made, check):
    recipe(made, "[train]", '[train]\nworkdir = "nowhere"')
    assert check(made.root, "--hook", "commit")[:2] == (3, ["workdir"])
    recipe(made, 'workdir = "nowhere"', 'workdri = "x"')
    code, _, err = check(made.root, "--hook", "commit")
    assert code == 2
    assert "workdri" in err
    (made.root / "recipe.toml").unlink()
    code, _, err = check(made.root)
    assert code == 2
    assert "harness init" in err


def test_stages_entry_points_and_images_must_be_there(made, check):
    recipe(made, 'command = ["python", "train.py"]', 'stages = ["fit"]')
    assert check(made.root, "--hook", "commit")[1] == ["data"]
    recipe(made, 'stages = ["fit"]', 'entry_point = "main"')
    assert check(made.root, "--hook", "commit")[1] == ["entry point"]
    recipe(made, 'entry_point = "main"', 'command = ["python", "train.py"]')
    recipe(made, 'lock = "requirements.lock"', 'image = "docker"')
    assert check(made.root, "--hook", "commit")[1] == ["image"]
    made.write("docker/Dockerfile", "FROM scratch\n")
    assert check(made.root, "--hook", "commit")[1] == []


def test_the_tree_counts_except_before_a_commit(made, check):
    made.write("notes.txt", "x")
    assert check(made.root)[:2] == (3, ["not committed"])
    assert check(made.root, "--hook", "push")[:2] == (3, ["not committed"])
    assert check(made.root, "--hook", "commit")[:2] == (0, [])


def test_an_unpushed_commit_counts_except_before_a_push(made, check, tmp_path):
    made.git("clone", "-q", "--bare", ".", str(tmp_path / "origin.git"))
    made.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    made.git("fetch", "-q", "origin")
    assert check(made.root)[:2] == (0, [])
    made.write("notes.txt", "x")
    made.commit()
    assert check(made.root)[:2] == (3, ["unpushed commit"])
    assert check(made.root, "--hook", "push")[:2] == (0, [])


def test_outside_of_git_only_the_tree_cannot_be_checked(made, check, tmp_path):
    made.root.joinpath(".git").rename(tmp_path / "gone")
    assert check(made.root, "--hook", "commit")[0] == 0
    assert check(made.root)[0] == 2


def test_the_hooks_are_commands_that_exist(made, capsys, monkeypatch):
    """Each entry is run as pre-commit runs it: in the repository, with its own words."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert {h["id"] for h in hooks} == {"harness-recipe", "harness-check"}
    monkeypatch.chdir(made.root)
    for hook in hooks:
        assert hook["pass_filenames"] is False
        program, *words = [*hook["entry"].split(), *hook["args"]]
        assert program == "harness"
        assert run(words) == 0, capsys.readouterr().err
    made.write("requirements.lock", "numpy\n")
    for hook in hooks:
        assert run([*hook["entry"].split(), *hook["args"]][1:]) == 3
