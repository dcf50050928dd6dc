"""What only uv was told about indexes reaches pip, its environment before its files."""

import pytest

from harness.errors import UsageError
from harness.runtimes.indexes import pip_flags

FILE = """
find-links = ["/links"]
[[index]]
name = "own"
url = "https://own.invalid/simple"
default = true
[[index]]
url = "https://more.invalid/simple"
[[index]]
url = "/flat"
format = "flat"
"""


def test_the_environment_is_translated():
    environ = {
        "UV_NO_CONFIG": "1",
        "UV_DEFAULT_INDEX": "own=https://own.invalid/simple",
        "UV_INDEX": "https://a.invalid/simple?x=1 b=https://b.invalid/simple",
        "UV_FIND_LINKS": "/one,/two",
    }
    assert pip_flags(environ) == [
        "--index-url=https://own.invalid/simple",
        "--extra-index-url=https://a.invalid/simple?x=1",
        "--extra-index-url=https://b.invalid/simple",
        "--find-links=/one",
        "--find-links=/two",
    ]


def test_a_file_is_translated_and_the_environment_wins(tmp_path):
    (tmp_path / "uv.toml").write_text(FILE)
    environ = {"UV_CONFIG_FILE": str(tmp_path / "uv.toml")}
    assert pip_flags(environ) == [
        "--find-links=/links",
        "--index-url=https://own.invalid/simple",
        "--extra-index-url=https://more.invalid/simple",
        "--find-links=/flat",
    ]
    changed = pip_flags({**environ, "UV_INDEX_URL": "https://new.invalid/simple"})
    assert [f for f in changed if "--index-url" in f] == ["--index-url=https://new.invalid/simple"]


def test_nothing_told_is_nothing_said():
    assert pip_flags({"UV_NO_CONFIG": "1"}) == []


def test_a_broken_file_is_a_usage_error(tmp_path):
    (tmp_path / "uv.toml").write_text("= broken")
    with pytest.raises(UsageError, match=r"uv\.toml"):
        pip_flags({"UV_CONFIG_FILE": str(tmp_path / "uv.toml")})
