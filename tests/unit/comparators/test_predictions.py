"""Two sets of predictions: what agrees, what flips, and what never passes."""

import numpy as np
import pytest

from harness.comparators.base import CannotCompare
from harness.comparators.predictions import judged, read, rule_of
from harness.model import Status, Tolerance, ToleranceRule

SOME = ToleranceRule(atol=1e-3)
SCORES = np.array([[0.4, 0.6], [0.7, 0.3]])


def status(one, two, rule=SOME):
    return judged({"p": one}, {"p": two}, rule, "probe", "test").status


def test_within_tolerance_without_a_flip_is_behavioural():
    assert status(SCORES, SCORES + 1e-4) == Status.BEHAVIOURAL


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (SCORES, SCORES + 1e-2),
        (np.array([[0.5, 0.4999]]), np.array([[0.4999, 0.5]])),
        (np.array([1, 2]), np.array([1, 3])),
        (SCORES, SCORES[:1]),
        (np.zeros((0, 2)), np.zeros((0, 2))),
        (np.full((2, 2), np.nan), np.full((2, 2), np.nan)),
        (np.full(3, np.inf), np.full(3, np.inf)),
        (np.array([1, 2]), np.array([1.0, 2.0])),
    ],
)
def test_what_is_no_pass(one, two):
    assert status(one, two) == Status.DIFFERENT


def test_without_a_tolerance_every_bit_counts():
    none = ToleranceRule()
    assert status(SCORES, SCORES.copy(), none) == Status.BEHAVIOURAL
    assert status(SCORES, np.nextafter(SCORES, 1), none) == Status.DIFFERENT
    assert status(np.array([0.0, 1.0]), np.array([-0.0, 1.0]), none) == Status.DIFFERENT


def test_outputs_of_other_names_differ_and_nothing_is_no_pass():
    assert judged({"a": SCORES}, {"b": SCORES}, SOME, "", "").status == Status.DIFFERENT
    assert judged({}, {}, SOME, "", "").status == Status.DIFFERENT


def test_the_rule_for_behaviour_comes_before_the_general_one():
    named = ToleranceRule("behaviour", atol=0.5)
    assert rule_of(Tolerance((ToleranceRule("*", rtol=0.1), named))) == named
    assert rule_of(Tolerance((ToleranceRule("coef", rtol=0.1),))) == ToleranceRule()


def test_predictions_are_read_as_hostile_bytes(tmp_path):
    path = tmp_path / "predictions.npz"
    np.savez(path, p=SCORES)
    assert (read(path)["p"] == SCORES).all()
    np.savez(path, p=np.array([print], dtype=object))
    with pytest.raises(CannotCompare, match="pickle"):
        read(path)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(CannotCompare):
        read(path)
