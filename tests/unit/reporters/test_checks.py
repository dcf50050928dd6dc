"""A record becomes checks of which one fails whenever the verdict is not good."""

import sys
from pathlib import Path

import pytest

from harness.model import Outcome
from harness.reporters.answers import checks as answer_checks
from harness.reporters.answers import headline, markdown
from harness.reporters.checks import checks

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unit.reporters import samples

GATE = {
    "schema": 1,
    "model": "digits",
    "version": "3",
    "stage": "Staging",
    "to": "Production",
    "meets": False,
    "exit_code": 5,
    "findings": [{"code": "stale", "detail": "34 days old", "waived": ""}],
    "record_digest": "a" * 64,
}
WAIVED = {"code": "stale", "detail": "34 days old", "waived": "b" * 64}


def statuses(record, decision=samples.REFUSED):
    return {c.name: c.status for c in checks(record, decision)}


def test_a_reproduction_passes_everywhere():
    names = ("resolve", "intact", "checkout", "rebuild", "retrain", "compare", "judge")
    stages = [{"name": n, "status": "done", "seconds": 1.0} for n in names]
    found = statuses(samples.reproduced(stages=stages), samples.MEETS)
    assert set(found.values()) == {"passed"}
    assert list(found)[-2:] == ["model.model.npz", "policy"]


@pytest.mark.parametrize("outcome", [o for o in Outcome if o != Outcome.REPRODUCED])
def test_every_other_outcome_fails_somewhere(outcome):
    for artifacts in ([], [samples.artifact()]):
        found = statuses(samples.record(outcome=outcome, artifacts=artifacts))
        assert {"failed", "error"} & set(found.values())


def test_nothing_compared_fails_even_when_all_else_says_yes():
    assert statuses(samples.reproduced(artifacts=[]), samples.MEETS)["artifacts"] == "failed"


def test_infrastructure_is_an_error_and_a_mismatch_a_failure():
    stages = [{"name": "checkout", "status": "failed", "seconds": 1.0}]
    case = samples.record(outcome="ERROR", artifacts=[], stages=stages, reasons=["no room"])
    (stage,) = [c for c in checks(case, samples.REFUSED) if c.name == "stage.checkout"]
    assert stage.status == "error"
    assert stage.reason.startswith("infrastructure, ")
    assert stage.reason.endswith("no room")
    assert statuses(case)["artifacts"] == "skipped"
    assert statuses({**case, "outcome": "SOURCE_UNAVAILABLE"})["stage.checkout"] == "failed"
    assert statuses({**case, "stages": []})["stage.start"] == "error"
    assert statuses(samples.record())["model.model.npz"] == "failed"


def test_every_check_has_a_name_of_its_own():
    names = ("retrain", "judge", "retrain 2", "judge")
    case = samples.record(stages=[{"name": n, "status": "done", "seconds": 1.0} for n in names])
    found = [c.name for c in checks(case, samples.REFUSED)]
    assert "stage.judge 2" in found
    assert len(found) == len(set(found))


def test_a_gate_that_is_shut_names_its_findings():
    assert headline(GATE) == "gate to Production SHUT: digits/3"
    assert "stale: 34 days old" in markdown(GATE).replace("\\", "")
    assert [(c.name, c.status) for c in answer_checks(GATE)] == [
        ("finding.stale", "failed"),
        ("gate", "failed"),
    ]


def test_a_waived_finding_is_never_silent():
    opened = {**GATE, "meets": True, "exit_code": 0, "findings": [WAIVED]}
    assert headline(opened) == "gate to Production open, 1 waived: digits/3"
    assert "**Waived**" in markdown(opened)
    assert [c.status for c in answer_checks(opened)] == ["skipped", "passed"]


def test_gaps_of_a_check():
    gap = {"what": "commit", "detail": "gone", "fix": "push it"}
    answer = {"model": "M", "version": "1", "ok": False, "gaps": [gap], "exit_code": 3}
    assert headline(answer) == "cannot be made again as it stands: M/1"
    assert "push it" in markdown(answer)
    assert [c.status for c in answer_checks(answer)] == ["failed", "failed"]
    hostile = {**answer, "model": samples.EVIL, "gaps": [{"what": samples.EVIL, "fix": "f"}]}
    assert "<script" not in markdown(hostile)
    assert "\n## " not in markdown(hostile)
