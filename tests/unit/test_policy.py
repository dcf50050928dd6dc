"""A policy decides over a record without retraining, and nothing passes vacuously."""

import pytest

from harness import policy, policyfile
from harness.errors import UsageError


def record(**changes):
    return {
        "outcome": "REPRODUCED",
        "grade": "BITWISE",
        "runs": [{"sandbox": "bubblewrap"}],
        "environment": {"reproduced": {"runtime": "venv"}},
        "artifacts": [{"path": "m", "distances": {}}],
        **changes,
    }


def test_the_built_in_policy_accepts_tolerance_and_refuses_behaviour():
    rules = policyfile.built_in()
    assert policy.decide(rules, record()).meets
    assert policy.decide(rules, record(grade="TOLERANCE")).meets
    weak = policy.decide(rules, record(grade="BEHAVIOURAL"))
    assert not weak.meets
    assert policy.exit_code(record(grade="BEHAVIOURAL"), weak) == 5


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("DIVERGED", 1), ("TAMPERED", 1), ("INCONCLUSIVE", 3), ("RERUN_FAILED", 3), ("ERROR", 4)],
)
def test_exit_codes(outcome, code):
    found = record(outcome=outcome, grade=None)
    decision = policy.decide(policyfile.built_in(), found)
    assert not decision.meets
    assert policy.exit_code(found, decision) == code


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ('schema=1\nminimum_grade="EXACT"', {"grade": "TOLERANCE"}),
        ('schema=1\nsandbox="required"', {"runs": [{"sandbox": "none"}]}),
        ('schema=1\nruntimes=["docker"]', {}),
        (
            "schema=1\n[caps]\nrtol=1e-6",
            {"artifacts": [{"path": "m", "distances": {"rtol": 1e-3}}]},
        ),
    ],
)
def test_each_criterion_can_refuse(text, changes):
    rules = policyfile.parse(text)
    assert not policy.decide(rules, record(**changes)).meets
    assert rules.digest != policyfile.built_in().digest


@pytest.mark.parametrize(
    "text", ["", "schema=1", "schema=2", "schema=1\nx=1", "[", "schema=1\nreruns=-1"]
)
def test_a_vacuous_or_wrong_policy_is_refused(text):
    with pytest.raises(UsageError):
        policyfile.parse(text)
