"""`harness init` writes a recipe that parses, and says what it could not infer."""

import pytest

from harness import recipe
from harness.errors import UsageError
from harness.starting import init


@pytest.mark.parametrize(
    ("files", "train", "missing"),
    [
        ({"train.py": "", "requirements.lock": ""}, "command", 1),
        (
            {
                "dvc.yaml": "stages:\n  train:\n    cmd: x\n    outs: [model.pt]\n",
                "requirements.lock": "",
            },
            "stages",
            0,
        ),
        ({"MLproject": "entry_points:\n  main: {command: x}\n", "uv.lock": ""}, "entry_point", 1),
        ({}, "command", 3),
    ],
)
def test_a_recipe_from_what_there_is(tmp_path, files, train, missing):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    answer = init(tmp_path)
    found = recipe.parse((tmp_path / "recipe.toml").read_text())
    assert getattr(found, train)
    assert len(answer["missing"]) == missing
    with pytest.raises(UsageError, match="exists already"):
        init(tmp_path)
