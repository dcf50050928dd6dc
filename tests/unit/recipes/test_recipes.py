"""The recipes that ship: each is whole, its lock is hashed, its data is the same every time."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import recipe
from harness.model import Role

FOLDER = Path(__file__).parents[3] / "recipes"
NAMES = ("churn-xgboost", "credit-sklearn", "digits-torch", "fraud-lightgbm")


def lock(path: Path) -> dict[str, list[str]]:
    """Return the hashes under each `name==version ; marker` line."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("    --hash="):
            found[list(found)[-1]].append(line.strip(" \\").removeprefix("--hash="))
        else:
            found[line.strip(" \\")] = []
    return found


def test_these_are_all_of_them():
    assert {p.name for p in FOLDER.iterdir() if (p / "train.py").is_file()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_valid_and_complete(name):
    folder = FOLDER / name
    plan = recipe.parse((folder / "recipe.toml").read_text(), name)
    assert plan.name == name
    assert (plan.profile.level, plan.profile.threads) == ("strict", 1)
    assert {o.role for o in plan.outputs} >= {Role.MODEL, Role.METRICS}
    script = (folder / "train.py").read_text()
    ignored = (folder / ".gitignore").read_text().splitlines()
    for output in plan.outputs:
        assert f'"{output.path}"' in script
        assert output.path in ignored or "model.*" in ignored
    assert not re.search(r"manual_seed|random_state|random\.seed", script)
    (data,) = plan.data
    assert data.removesuffix(".dvc") in (folder / "make_data.py").read_text()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.lock")), ids=lambda p: p.parent.name)
def test_a_lock_is_hashed_and_names_no_place(path):
    pins = lock(path)
    assert len(pins) > 10
    for pin, hashes in pins.items():
        assert re.fullmatch(r"[a-z0-9-]+==[^ ;]+( ; .+)?", pin), pin
        assert hashes, pin
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", h) for h in hashes)
    assert "://" not in path.read_text()
    assert "--index" not in path.read_text()


def test_torch_is_locked_as_cpu_build_and_as_on_the_index():
    pins = [p for p in lock(FOLDER / "digits-torch" / "requirements.lock") if p[:7] == "torch=="]
    assert sorted(p.split()[0] for p in pins) == ["torch==2.13.0", "torch==2.13.0+cpu"]


@pytest.mark.parametrize("name", NAMES)
def test_the_data_is_the_same_every_time(name, tmp_path):
    digests = set()
    for turn in "ab":
        folder = tmp_path / turn
        folder.mkdir()
        script = FOLDER / name / "make_data.py"
        subprocess.run([sys.executable, str(script)], cwd=folder, check=True, stdout=-3)
        (made,) = (folder / "data").iterdir()
        assert made.stat().st_size > 100_000
        digests.add(hashlib.sha256(made.read_bytes()).hexdigest())
    assert len(digests) == 1
