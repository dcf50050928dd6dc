"""A recipe is refused with the file, the key and the fix, or it is whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import recipe
from harness.errors import UsageError
from harness.model import Role

GOOD = """
schema = 1
name = "digits"
[train]
command = ["python", "train.py"]
timeout = "90m"
[resources]
memory = "8GiB"
[[output]]
path = "m.bin"
[[output]]
path = "metrics.json"
role = "metrics"
tolerance = { rtol = 1e-6, ignore = ["train_seconds"], rationale = "timing varies" }
"""


def test_a_whole_recipe():
    found = recipe.parse(GOOD)
    assert (found.timeout, found.memory) == (5400.0, 8 << 30)
    assert [o.role for o in found.outputs] == [Role.MODEL, Role.METRICS]
    assert found.outputs[1].tolerance.ignore == ("train_seconds",)
    assert found.outputs[1].tolerance.rules[0].rtol == 1e-6
    assert found.profile.level == "strict"
    assert found.profile.threads == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["python", "train.py"]', '"python train.py"', "train.command: is a shell string"),
        ('["python", "train.py"]', '["python train.py"]', "shell string"),
        ('["python", "train.py"]', '["a", "&&", "b"]', "needs a shell"),
        ('["python", "train.py"]', '["a", "$(id)"]', "needs a shell"),
        ('["python", "train.py"]', "[]", "train.command"),
        ('"m.bin"', '"../m.bin"', "output.0.path"),
        ('"m.bin"', '"/etc/passwd"', "output.0.path"),
        ('"m.bin"', '"**"', "output.0.path"),
        ("rtol = 1e-6", "rtol = inf", "finite"),
        ("rtol = 1e-6", "rtol = nan", "output.1.tolerance.rtol"),
        ("rtol = 1e-6", "rtol = -1.0", "output.1.tolerance.rtol"),
        (', rationale = "timing varies"', "", "rationale"),
        ('name = "digits"', 'name = "digits"\ncolour = 1', "colour: unknown key"),
        ('name = "digits"', 'name = "digits"\n[calibration]', "calibration: not supported yet"),
        ("schema = 1", "schema = 2", "schema"),
        ("[train]", "[train", "not TOML"),
        ('"8GiB"', '"much"', "resources.memory"),
    ],
)
def test_what_is_wrong_is_named(old, new, said):
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        recipe.parse(GOOD.replace(old, new), "dir/recipe.toml")
    assert said in str(caught.value)
    assert "dir/recipe.toml" in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_exactly_one_way_to_train():
    with pytest.raises(UsageError, match="exactly one"):
        recipe.parse(GOOD.replace("timeout", 'stages = ["train"]\ntimeout'))


@given(st.text())
def test_any_text_is_a_recipe_or_a_usage_error(text):
    try:
        recipe.parse(text)
    except UsageError:
        return
    raise AssertionError("random text cannot be a whole recipe")
