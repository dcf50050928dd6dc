"""The gate opens for fresh signed evidence only; everything else is named, and moves nothing."""

import pytest

from harness.cli.governing import gate_text
from harness.model import Cause, Outcome, Verdict
from harness.record import digest

STRICT = 'schema = 1\nminimum_grade = "TOLERANCE"\n[[rule]]\n'


def test_good_evidence_opens_it_and_nothing_is_no_pass(bank, gate):
    version = bank.version()
    assert gate(version)[:2] == (5, {"no-evidence"})
    bank.judged(version)
    code, against, answer = gate(version)
    assert (code, against, answer["meets"]) == (0, set(), True)
    assert answer["rehashed"]


@pytest.mark.parametrize(
    ("outcome", "code", "word"),
    [
        (Outcome.DIVERGED, 1, "diverged"),
        (Outcome.TAMPERED, 1, "tampered"),
        (Outcome.INCONCLUSIVE, 3, "inconclusive"),
        (Outcome.SOURCE_UNAVAILABLE, 3, "unavailable"),
        (Outcome.INCOMPLETE_LINEAGE, 3, "lineage"),
        (Outcome.RERUN_FAILED, 3, "rerun-failed"),
    ],
)
def test_a_newer_verdict_that_is_no_reproduction_shuts_it(bank, gate, outcome, code, word):
    version = bank.version()
    bank.judged(version, created_at="2026-11-01T00:00:00Z")
    cause = Cause.STABLE if outcome == Outcome.DIVERGED else None
    bank.judged(version, verdict=Verdict(outcome, cause=cause, reasons=("because",)))
    found = gate(version)
    assert found[0] == code
    assert word in found[1]


def test_an_error_says_nothing_about_the_model(bank, gate):
    version = bank.version()
    bank.judged(version)
    bank.judged(version, verdict=Verdict(Outcome.ERROR, reasons=("disk",)))
    assert gate(version)[0] == 0


def test_a_later_reproduction_does_not_wash_a_difference_away(bank, gate):
    version = bank.version()
    difference = Verdict(Outcome.DIVERGED, cause=Cause.STABLE)
    bank.judged(version, verdict=difference, created_at="2026-11-01T00:00:00Z")
    bank.judged(version, person="otto")
    assert gate(version)[:2] == (1, {"diverged"})


@pytest.mark.parametrize(
    ("rule", "changes", "word"),
    [
        ('minimum_grade = "BITWISE"', {"grade": "EXACT"}, "grade"),
        ('max_age = "1d"', {"created_at": "2026-11-01T00:00:00Z"}, "stale"),
        ("verifiers = 2", {}, "verifiers"),
        ("agreeing_runs = 2", {"grade": "TOLERANCE"}, "runs"),
        ('runtimes = ["docker"]', {}, "runtime"),
        ('hardware = ["x86_64/AVX512*"]', {}, "hardware"),
        ("rehash = true", {"runs": [{"sandbox": "none"}]}, "sandbox"),
        ("rehash = true", {"runs": []}, "sandbox"),
        (
            "caps = { rtol = 1e-6 }",
            {"artifacts": [{"path": "m", "grade": "TOLERANCE", "distances": {"rtol": 1e-3}}]},
            "caps",
        ),
        ("rehash = true", {"created_at": "2030-01-01T00:00:00Z"}, "clock"),
        ("rehash = true", {"comparators": ["bytes@0"], "grade": "EXACT"}, "stale"),
    ],
)
def test_each_criterion_can_shut_it(bank, gate, rule, changes, word):
    version = bank.version()
    bank.policy(STRICT + rule)
    bank.judged(version, **changes)
    code, against, _ = gate(version)
    assert code == 5
    assert word in against


def test_two_verifiers_are_two_people_on_two_hosts(bank, gate):
    version = bank.version()
    bank.policy(STRICT + "verifiers = 2\ndistinct_hosts = true")
    bank.judged(version, host="one")
    bank.judged(version, host="one")
    assert gate(version)[:2] == (5, {"verifiers"})
    bank.judged(version, person="otto", host="one")
    assert gate(version)[:2] == (5, {"verifiers"})
    bank.judged(version, person="otto", host="two")
    assert gate(version)[0] == 0


def test_a_changed_policy_decides_stored_records_again_without_retraining(bank, gate):
    version = bank.version()
    bank.judged(version, grade="TOLERANCE")
    assert gate(version)[0] == 0
    bank.policy(STRICT + 'minimum_grade = "EXACT"')
    assert gate(version)[:2] == (5, {"grade"})
    bank.policy(STRICT + 'max_age = "2d"')
    code, _, answer = gate(version)
    assert code == 0
    assert any("another policy" in note for note in answer["notes"])


def test_the_age_that_is_asked_is_said_in_days(bank, gate):
    version = bank.version()
    bank.policy(STRICT + 'max_age = "36h"')
    assert "max_age 1.5 days" in gate_text(gate(version)[2], explain=True)


def test_a_changed_file_shuts_it(bank, gate):
    version = bank.version()
    bank.judged(version)
    (stored,) = bank.root.rglob("model/model.bin")
    stored.write_bytes(b"weightz")
    assert gate(version)[:2] == (1, {"tampered"})


def test_a_waiver_is_signed_reasoned_and_expires(bank, gate, run):
    version = bank.version()
    bank.policy(
        STRICT + 'verifiers = 2\nwaivable = ["verifiers"]\nwaivers_by = ["ada@bank.example"]'
    )
    bank.judged(version)
    ask = ("gate", version.uri, "--to", "Staging", "--allow", "verifiers")
    assert run("ada", *ask)[0] == 2, "without a reason"
    assert run("vera", *ask, "--reason", "r")[0] == 5, "a verifier's key may not waive"
    assert run("alan", *ask, "--reason", "r")[0] == 5, "not the person that the policy names"
    assert (
        run("ada", "gate", version.uri, "--to", "Staging", "--allow", "grade", "--reason", "r")[0]
        == 2
    )
    assert gate(version)[:2] == (5, {"verifiers"})
    code, answer, _ = run("ada", *ask, "--reason", "one verifier is ill: T-1", "--expires", "1d")
    assert code == 0, answer
    (finding,) = answer["findings"]
    assert finding["waived"]
    assert gate(version)[0] == 0, "the waiver is in the registry, for everybody"
    assert gate(version, "Production")[0] == 5, "and for this stage only"


def test_what_may_never_be_waived(bank, run):
    version = bank.version()
    bank.policy(STRICT + 'waivable = ["stale"]')
    bank.judged(version, verdict=Verdict(Outcome.DIVERGED, cause=Cause.STABLE))
    code, _, err = run(
        "ada", "gate", version.uri, "--to", "Staging", "--allow", "diverged", "--reason", "r"
    )
    assert code == 5
    assert "does not let" in err


def test_the_record_is_named_in_full(bank, gate):
    version = bank.version()
    name = bank.judged(version)
    answer = gate(version)[2]
    assert answer["record_digest"] == name
    assert len(name) == len(digest(b""))


def test_a_policy_has_to_be_signed_where_the_trust_file_names_who_signs_it(bank, gate, run):
    version = bank.version()
    bank.judged(version)
    path = bank.policy(STRICT + 'max_age = "2d"')
    text = bank.trust_file.read_text().replace('["approver"]', '["approver", "policy"]', 1)
    bank.trust_file.write_text(text)
    ask = ("gate", version.uri, "--to", "Staging")
    code, _, err = run("vera", *ask)
    assert (code, "not signed" in err) == (5, True)
    assert run("vera", "keys", "sign", path)[0] == 5 or run("vera", *ask)[0] == 5
    path.with_name("policy.toml.intoto.json").unlink(missing_ok=True)
    assert run("ada", "keys", "sign", path)[0] == 0
    assert gate(version)[0] == 0
    path.write_text(path.read_text() + "# one more byte\n")
    code, _, err = run("vera", *ask)
    assert (code, "not the one that was signed" in err) == (5, True)
    path.unlink()
    code, _, err = run("vera", *ask)
    assert code != 0


def test_only_the_gaps_that_the_policy_names_can_be_waived(bank, gate, run):
    version = bank.version()
    bank.policy(STRICT + 'waivable = ["lineage:*unpushed*"]')
    gaps = ("code: the commit is unpushed", "data: no remote")
    bank.judged(version, verdict=Verdict(Outcome.INCOMPLETE_LINEAGE, reasons=gaps))
    ask = ("gate", version.uri, "--to", "Staging", "--allow", "lineage", "--reason", "T-2")
    code, answer, _ = run("ada", *ask)
    assert code == 3
    waived = {f["detail"]: bool(f["waived"]) for f in answer["findings"]}
    assert waived["data: no remote"] is False
