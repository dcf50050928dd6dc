"""The published schemas are those of the code.

After a change: cd tests/unit && python -c "import test_schemas; test_schemas.publish()"
"""

import json
from pathlib import Path

import jsonschema
import pytest

from harness import policyfile, recipe

FOLDER = Path(__file__).parents[2] / "schemas"
SCHEMAS = {"recipe.schema.json": recipe.json_schema, "policy.schema.json": policyfile.json_schema}


def text(name):
    return json.dumps(SCHEMAS[name](), indent=2, sort_keys=True) + "\n"


def publish():
    for name in SCHEMAS:
        (FOLDER / name).write_text(text(name))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_published_schema_is_the_one_in_force(name):
    assert (FOLDER / name).read_text() == text(name)
    jsonschema.Draft202012Validator.check_schema(json.loads(text(name)))


def test_editors_would_name_what_the_parser_refuses():
    schema = jsonschema.Draft202012Validator(policyfile.json_schema())
    assert schema.is_valid({"schema": 1, "minimum_grade": "EXACT", "rule": [{"verifiers": 2}]})
    assert not schema.is_valid({"schema": 1, "minimum_grade": "PERFECT"})
    assert not schema.is_valid({"schema": 1, "rule": [{"verifiers": 0}]})
    assert not schema.is_valid({"schema": 1, "unknown": 1})
