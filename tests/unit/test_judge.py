"""The verdict is a function of all runs, and every pass can fail."""

import pytest

from harness.judge import Case, Earlier, judge
from harness.model import (
    Cause,
    Comparison,
    Difference,
    Distances,
    Grade,
    NeedRun,
    Outcome,
    Role,
    Status,
)


def compared(status=Status.IDENTICAL, role=Role.MODEL, values=4, distances=None, path="m.bin"):
    node = Difference(path, status, values=values, distances=distances)
    return Comparison(path, role, "a" * 64, "b" * 64, node)


SAME = (compared(),)
OTHER = (compared(Status.DIFFERENT),)


@pytest.mark.parametrize(
    ("status", "grade"),
    [
        (Status.IDENTICAL, Grade.BITWISE),
        (Status.EXACT, Grade.EXACT),
        (Status.WITHIN_TOLERANCE, Grade.TOLERANCE),
        (Status.BEHAVIOURAL, Grade.BEHAVIOURAL),
    ],
)
def test_the_grade_is_the_weakest_artifacts(status, grade):
    verdict = judge(Case(((compared(), compared(status, path="n.bin")),)))
    assert (verdict.outcome, verdict.grade) == (Outcome.REPRODUCED, grade)


@pytest.mark.parametrize("status", [Status.DIFFERENT, Status.MISSING, Status.EXTRA])
def test_a_difference_asks_for_one_more_run_and_then_is_judged(status):
    changed = (compared(status),)
    assert isinstance(judge(Case((changed,))), NeedRun)
    stable = judge(Case((changed, changed), (SAME,)))
    assert (stable.outcome, stable.cause) == (Outcome.DIVERGED, Cause.STABLE)
    flaky = judge(Case((changed, changed), (OTHER,)))
    assert (flaky.outcome, flaky.cause) == (Outcome.DIVERGED, Cause.FLAKY)


def test_a_second_run_that_matches_is_flaky_and_not_a_pass():
    verdict = judge(Case((OTHER, SAME), (OTHER,)))
    assert (verdict.outcome, verdict.cause) == (Outcome.DIVERGED, Cause.FLAKY)
    assert verdict.reasons[0].startswith("1 of 2 runs")


def test_without_a_second_run_the_cause_is_unexplained():
    assert judge(Case((OTHER,), reruns=0)).cause == Cause.UNEXPLAINED
    assert judge(Case((OTHER, None), (None,))).cause == Cause.UNEXPLAINED


def test_an_earlier_difference_is_not_washed_away():
    before = Earlier("d" * 64, "DIVERGED", "FLAKY", ())
    verdict = judge(Case((SAME,), earlier=(before,)))
    assert (verdict.outcome, verdict.cause) == (Outcome.DIVERGED, Cause.FLAKY)


def test_an_earlier_difference_under_other_conditions_does_not_count_against_this_one():
    before = Earlier("d" * 64, "DIVERGED", "STABLE", ("profile: threads=2 was set",))
    assert judge(Case((SAME,), earlier=(before,))).outcome == Outcome.REPRODUCED


@pytest.mark.parametrize(
    "comparisons",
    [
        (compared(values=0),),
        (compared(), compared(Status.EXACT, values=0, path="n.bin")),
        (compared(role=Role.METRICS),),
        (compared(Status.UNCOMPARABLE),),
        (compared(Status.WITHIN_TOLERANCE, distances=Distances(4, 4, rtol=0.5)),),
        (),
    ],
    ids=["no values", "set aside", "only metrics", "uncomparable", "vacuous", "nothing"],
)
def test_nothing_proved_is_never_a_pass(comparisons):
    assert judge(Case((comparisons,))).outcome == Outcome.INCONCLUSIVE


def test_a_copied_input_is_inconclusive_by_name():
    verdict = judge(Case((SAME,), copied=("m.bin has the content of old/m.bin",)))
    assert verdict.outcome == Outcome.INCONCLUSIVE
    assert "old/m.bin" in verdict.reasons[0]


def test_a_difference_on_another_hardware_class_is_inconclusive_and_equality_is_not():
    assert judge(Case((OTHER,), other_class="avx2, was avx512")).outcome == Outcome.INCONCLUSIVE
    assert judge(Case((SAME,), other_class="avx2, was avx512")).outcome == Outcome.REPRODUCED


def test_an_empty_file_beside_a_model_is_no_obstacle():
    both = (compared(), compared(values=0, path="__init__.py"))
    assert judge(Case((both,))).grade == Grade.BITWISE
