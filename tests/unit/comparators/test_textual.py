"""Documents that differ never pass for equal because of how they are written."""

import json

import pytest

from harness.comparators import family
from harness.model import Status, Tolerance, ToleranceRule

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


@pytest.mark.parametrize(
    "text",
    [
        "[settings]\nlr = 0.1\nname = {}\n",
        "[2026-01-01 12:00] epoch {} done\n",
        "{{not}} json {}\n",
    ],
)
def test_a_text_that_only_begins_like_json_is_compared_by_line(text, tmp_path):
    paths = [tmp_path / f"{n}.txt" for n in (1, 2)]
    for n, path in enumerate(paths):
        path.write_text(text.format(n))
    found = family.compare(*paths, "m")
    assert (found.status, found.comparator) == (Status.DIFFERENT, "text@1")
    assert "line " in found.reason


def test_json_without_its_name_is_json_whatever_its_size(tmp_path):
    paths = [tmp_path / name for name in ("a", "b")]
    for path, last in zip(paths, (1.0, 2.0), strict=True):
        path.write_text(json.dumps({"rows": [{"x": n} for n in range(9000)], "last": last}))
        assert path.stat().st_size > 1 << 16
    found = family.compare(*paths, "m")
    assert (found.comparator, found.reason) == ("json@1", "first difference: last")


def test_json_by_line_is_compared_value_by_value(tmp_path):
    paths = [tmp_path / f"{n}.jsonl" for n in (1, 2)]
    rows = [{"step": n, "loss": 1 / (n + 1)} for n in range(5)]
    paths[0].write_text("\n".join(json.dumps(r) for r in rows))
    rows[3]["loss"] += 1e-9
    paths[1].write_text("\n".join(json.dumps(dict(reversed(r.items()))) for r in rows) + "\n")
    found = family.compare(*paths, "m")
    assert (found.status, found.reason) == (Status.DIFFERENT, "first difference: line 4.loss")
    close = Tolerance((ToleranceRule("*loss", atol=1e-6),))
    assert family.compare(*paths, "m", tolerance=close).status == Status.WITHIN_TOLERANCE
