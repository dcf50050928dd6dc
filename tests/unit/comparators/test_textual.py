"""Documents that differ never pass for equal because of how they are written."""

import pytest

from harness.comparators import family
from harness.model import Status

GOOD = {Status.IDENTICAL, Status.EXACT, Status.WITHIN_TOLERANCE}


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [
        ("x.json", '{"a": 1}', '{"a": 2, "a": 1}'),
        ("x.json", "[1e400]", "[1e500]"),
        ("x.json", '{"a": 1}', '{"a": "1"}'),
        ("x.json", '{"a": true}', '{"a": 1}'),
        ("x.yaml", "a: 1\n", "a: 2\na: 1\n"),
        ("x.yaml", "1: x\n", '"1": x\n'),
        ("x.yaml", "a: 2026-01-01\n", 'a: "2026-01-01"\n'),
        ("x.yaml", "a: [&x 1, *x]\n", "a: [1, 1]\n"),
        ("x.toml", "a = 2026-01-01\n", 'a = "2026-01-01"\n'),
        ("x.txt", "007\n", "7\n"),
        ("x.txt", "1_0\n", "10\n"),
        ("x.txt", "9007199254740993\n", "9007199254740992\n"),
        ("x.txt", "a\x0cb\n", "a\nb\n"),
        ("x.txt", "a\n\n", "a\n"),
    ],
)
def test_what_differs_is_not_equal(tmp_path, name, a, b):
    for side, text in (("a", a), ("b", b)):
        (tmp_path / side).mkdir()
        (tmp_path / side / name).write_text(text)
    found = family.compare(tmp_path / "a" / name, tmp_path / "b" / name, name)
    assert found.status not in GOOD


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [
        ("x.json", '{"a": 1, "b": [1.5, 2]}', '{"b": [1.50, 2],\n "a": 1}'),
        ("x.yaml", "a: 1\nb: x\n", "b: x\na: 1\n"),
        ("x.toml", "a = 1\nb = 2\n", "b = 2\na = 1\n"),
        ("x.txt", "a\nb\n", "a\r\nb\r\n"),
    ],
)
def test_what_is_written_otherwise_is_exact(tmp_path, name, a, b):
    for side, text in (("a", a), ("b", b)):
        (tmp_path / side).mkdir()
        (tmp_path / side / name).write_bytes(text.encode())
    found = family.compare(tmp_path / "a" / name, tmp_path / "b" / name, name)
    assert found.status == Status.EXACT
    assert found.set_aside
