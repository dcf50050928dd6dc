"""Documents compared: tolerances, bounds, and what is said about a difference."""

import math

import pytest

from harness.comparators.base import Bounds, Context
from harness.comparators.document import Document, clip, compare_documents, is_number
from harness.comparators.tensor import numbers
from harness.model import Status, Tolerance, ToleranceRule

LOOSE = Tolerance((ToleranceRule("*", rtol=0.1, rationale="noise"),))


def compared(one, two, tolerance=LOOSE, **bounds):
    context = Context(tolerance, Bounds(**bounds))
    return compare_documents(Document(one), Document(two), "m", "test", context)


@pytest.mark.parametrize(
    ("one", "two", "status"),
    [
        (1.0, 1.05, Status.WITHIN_TOLERANCE),
        (1.0, 1.2, Status.DIFFERENT),
        (1, 1.05, Status.WITHIN_TOLERANCE),
        (numbers([1, 1]), numbers([1.0, 1.05]), Status.WITHIN_TOLERANCE),
        (numbers([1, 1]), numbers([1.0, 1.0]), Status.WITHIN_TOLERANCE),
        (numbers([1, 1]), numbers([1.0, 1.2]), Status.DIFFERENT),
        (numbers([1, 1]), numbers([1, 1, 1]), Status.DIFFERENT),
        (math.nan, math.nan, Status.EXACT),
        (math.inf, math.inf, Status.EXACT),
        (math.inf, -math.inf, Status.DIFFERENT),
        (1.0, math.nan, Status.DIFFERENT),
        (math.nan, 1.0, Status.DIFFERENT),
        (math.inf, 1.0, Status.DIFFERENT),
        (True, 1, Status.DIFFERENT),
        ("1", 1, Status.DIFFERENT),
        (10**400, 10**400 + 1, Status.DIFFERENT),
    ],
)
def test_numbers_pass_within_the_tolerance_and_not_beyond(one, two, status):
    assert compared({"a": one}, {"a": two}).status == status


def test_without_a_tolerance_whole_and_broken_numbers_are_not_the_same():
    assert compared(numbers([1]), numbers([1.0]), Tolerance()).status == Status.DIFFERENT


def test_a_missing_and_an_extra_key_make_the_parent_different():
    found = compared({"a": 1, "b": 2}, {"a": 1, "c": 3})
    assert found.status == Status.DIFFERENT
    assert [(c.name, c.status) for c in found.children] == [
        ("b", Status.MISSING),
        ("c", Status.EXTRA),
    ]


def test_an_ignored_key_is_said_and_all_else_still_counts():
    tolerance = Tolerance(ignore=("seconds",))
    found = compared({"seconds": 1.0, "loss": 2.0}, {"seconds": 9.0, "loss": 2.0}, tolerance)
    assert found.status == Status.EXACT
    assert [part.what for part in found.set_aside] == ["seconds"]
    assert compared({"seconds": 1, "loss": 2}, {"seconds": 9, "loss": 3}, tolerance).status == (
        Status.DIFFERENT
    )


def test_the_answer_is_bounded_and_says_what_it_leaves_out():
    one, two = {str(n): n for n in range(50)}, {str(n): -n - 1 for n in range(50)}
    found = compared(one, two, nodes=10)
    assert found.status == Status.DIFFERENT
    assert len(found.children) == 10
    assert found.truncated == 40


def test_renderings_are_short_and_printable():
    assert clip("\x1b[31m" + "x" * 999).isprintable()
    assert len(clip("x" * 999)) == 200


@pytest.mark.parametrize("text", ["1", "-1.5", "0.25", "1e-7", "nan", "-inf", "10"])
def test_numbers_are_known(text):
    assert is_number(text)


@pytest.mark.parametrize("text", ["007", "1_0", " 1", "+1", "", "0x1", "\u0661", "1e", "."])
def test_names_that_look_like_numbers_are_not(text):
    assert not is_number(text)
