"""policy.toml: the strictest rule wins, and a policy that passes all or nothing is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import policyfile
from harness.errors import UsageError
from harness.model import Grade, Stage

BASE = 'schema = 1\nminimum_grade = "TOLERANCE"\n'


def criteria(text, model="credit-a", stage=Stage.PRODUCTION):
    return policyfile.parse(text).criteria(model, stage)


def test_the_strictest_of_all_that_fits_is_asked():
    text = (
        BASE
        + 'runtimes = ["docker", "venv"]\n[[rule]]\nmodels=["credit-*"]\nminimum_grade="EXACT"\n'
        'max_age="30d"\napprovals=1\nruntimes=["docker"]\n'
        '[[rule]]\nstages=["Production"]\nmax_age="12h"\napprovals=2\nverifiers=2\n'
    )
    found = criteria(text)
    assert (found.minimum_grade, found.max_age, found.approvals) == (Grade.EXACT, 43200, 2)
    assert (found.runtimes, found.verifiers) == (("docker",), 2)
    staging = criteria(text, stage=Stage.STAGING)
    assert (staging.max_age, staging.approvals, staging.verifiers) == (30 * 86400, 1, 1)
    other = criteria(text, model="fraud")
    assert (other.minimum_grade, other.approvals) == (Grade.TOLERANCE, 2)


def test_above_development_nothing_runs_unsandboxed_and_files_are_read_again():
    rules = policyfile.built_in()
    assert rules.criteria("m", Stage.DEVELOPMENT).sandbox == "any"
    for stage in (Stage.STAGING, Stage.PRODUCTION):
        found = rules.criteria("m", stage)
        assert (found.sandbox, found.rehash) == ("required", True)
    large = criteria(BASE + "[[rule]]\nrehash = false\n")
    assert not large.rehash
    assert large.sandbox == "required"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema = 1\nreruns = 2", "asks for nothing"),
        (BASE + "[[rule]]\nmodels = ['x']", "rule 1: asks for nothing"),
        (BASE + "[[rule]]\nstages = ['Development']\nverifiers = 2", "Staging and Production"),
        (BASE + "[[rule]]\nstages = ['Prod']\nverifiers = 2", "stages"),
        (BASE + "[[rule]]\nmodels = []\nverifiers = 2", "models"),
        (BASE + "[[rule]]\nsandbox = 'any'", "always sandboxed"),
        (BASE + "[[rule]]\nminimum_grade = 'STATISTICAL'", "weaker"),
        (BASE + "distinct_hosts = true", "verifiers"),
        (BASE + "[[rule]]\napprovers = ['a']", "without approvals"),
        (BASE + "[[rule]]\nfour_eyes = true", "without approvals"),
        (BASE + "[[rule]]\napprovals = 2\napprovers = ['a', 'A']", "cannot come from"),
        (BASE + "[[rule]]\nwaivable = ['diverged']", "cannot be waived"),
        (BASE + "[[rule]]\nwaivable = ['sandbox']", "cannot be waived"),
        (BASE + "[[rule]]\nwaivers_by = ['a']", "without anything waivable"),
        (BASE + "[[rule]]\nmax_age = '0d'", "max_age"),
        (BASE + "[[rule]]\nmax_age = 'soon'", "max_age"),
        (BASE + "runtimes = ['venv']\n[[rule]]\nruntimes = ['docker']", "file's own"),
        (
            BASE + "[[rule]]\nruntimes = ['venv']\n[[rule]]\nruntimes = ['docker']",
            "exclude each other",
        ),
        (BASE + "runtimes = []", "runtimes"),
        (BASE + "[caps]\nrtol = inf", "rtol"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, says):
    with pytest.raises(UsageError) as error:
        policyfile.parse(text, "p.toml")
    assert "p.toml" in str(error.value)
    assert says in str(error.value)


def test_rules_that_exclude_each_other_by_pattern_are_refused_when_they_meet():
    text = BASE + (
        "[[rule]]\nmodels=['a*']\nruntimes=['venv']\n[[rule]]\nmodels=['*b']\nruntimes=['docker']\n"
    )
    assert criteria(text, "a").runtimes == ("venv",)
    with pytest.raises(UsageError, match="exclude each other"):
        criteria(text, "ab")


@given(
    st.sampled_from(["BITWISE", "EXACT", "TOLERANCE"]),
    st.sampled_from(["BITWISE", "EXACT", "TOLERANCE"]),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_one_more_rule_never_makes_a_policy_weaker(one, two, n, m):
    rule = '[[rule]]\nminimum_grade = "{}"\nverifiers = {}\n'
    alone = criteria(BASE + rule.format(one, n))
    both = criteria(BASE + rule.format(one, n) + rule.format(two, m))
    assert both.minimum_grade.meets(alone.minimum_grade)
    assert both.verifiers >= alone.verifiers


def test_the_digest_changes_with_every_criterion_and_not_with_comments():
    a = policyfile.parse(BASE)
    assert a.digest == policyfile.parse(BASE + "# a comment\n").digest
    assert a.digest != policyfile.parse(BASE + "[[rule]]\napprovals = 1\n").digest
