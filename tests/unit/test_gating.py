"""The gate over hand-made evidence: what it reads is of the right shape, or does not count."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import policy, policyfile, reading
from harness.attestations import governance
from harness.attestations.dsse import BadEvidence
from harness.attestations.governance import Approval, Binding, Move, Waiver
from harness.model import Stage

RECORD = {
    "outcome": "REPRODUCED",
    "grade": "BITWISE",
    "cause": None,
    "created_at": "2026-11-23T10:00:00Z",
    "conditional": [],
    "reasons": [],
    "policy": {"uri": "p", "digest": "d"},
    "lineage_digest": "l",
    "previous_record_digest": "",
    "verifier": {"keyid": "k"},
    "runs": [{"sandbox": "bubblewrap"}],
    "environment": {"reproduced": {"runtime": "venv"}},
    "hardware": {"recorded": {}, "reproduced": {}},
    "artifacts": [],
    "comparators": ["bytes@1"],
}
BOUND = Binding("r", "m", "1", "p", "l")
APPROVAL = Approval(
    BOUND, "approved", Stage.STAGING, "r", "p", "Ada", "read", "approval", "2026-11-23T10:00:00Z"
)
WAIVER = Waiver(
    BOUND, "stale", Stage.STAGING, "Ada", "T-1", "2026-11-23T10:00:00Z", "2026-12-23T10:00:00Z"
)
MOVE = Move(
    BOUND, "promote", Stage.STAGING, "", "", "r", "p", (), "Vera", "go", "2026-11-23T10:00:00Z"
)


def test_a_whole_record_is_taken():
    reading.shaped(RECORD)


@pytest.mark.parametrize("member", RECORD)
@pytest.mark.parametrize("value", [..., 7, "x", [1], {"a": 1}, {"a": []}])
def test_a_record_of_another_shape_never_counts_and_never_crashes(member, value):
    found = {k: v for k, v in RECORD.items() if k != member}
    if value is not ...:
        found[member] = value
    try:
        reading.shaped(found)
    except BadEvidence:
        return
    # What is of the right type all the same is read without a word about our own fault.
    list(policy.refusals(policyfile.built_in().criteria("m", Stage.STAGING), found))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(RECORD)), json_values)
def test_no_value_of_any_member_ends_in_a_traceback(member, value):
    found = json.loads(json.dumps({**RECORD, member: value}))
    try:
        reading.shaped(found)
    except BadEvidence:
        return
    list(policy.refusals(policyfile.built_in().criteria("m", Stage.STAGING), found))


@pytest.mark.parametrize("wide", ["NaN", "Infinity", 1e9, float("nan"), "wide", [1]])
def test_a_tolerance_that_is_no_number_is_wider_than_any_cap(wide):
    found = {**RECORD, "artifacts": [{"path": "m", "distances": {"rtol": wide}}]}
    criteria = policyfile.built_in().criteria("m", Stage.STAGING)
    assert [r.code for r in policy.refusals(criteria, found)] == ["caps"]


@pytest.mark.parametrize("value", [APPROVAL, WAIVER, MOVE])
def test_a_statement_reads_back_and_takes_no_other_time_kind_or_member(value):
    def found(**changes):
        kind = next(k for k, v in governance.KINDS.items() if v is type(value))
        plain = governance.plain(value)
        return {"predicateType": kind, "predicate": {**plain, **changes}}

    assert governance.read(type(value), found()) == value
    for changes in (
        {"created_at": "2026-11-23 10:00"},
        {"created_at": "2026-11-23T10:00:00+01:00"},
        {"created_at": 7},
        {"unknown": 1},
        {"stage": "Live"},
        {"binding": None},
        {"binding": {**governance.plain(BOUND), "more": 1}},
    ):
        with pytest.raises(BadEvidence):
            governance.read(type(value), found(**changes))
    other = next(t for t in (Approval, Waiver, Move) if t is not type(value))
    with pytest.raises(BadEvidence):
        governance.read(other, found())
    assert replace(value, created_at="2026-11-23T10:00:01Z") != value
