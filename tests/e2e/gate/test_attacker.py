"""An attacker who can write everything in the registry but has no trusted key gets nothing through.

Every attack ends with a gate that is shut and says why, and with the registry as it was.
"""

import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.bank import forged

from harness import evidence
from harness.attestations import dsse, keys, statements
from harness.errors import HarnessError
from harness.lineages import LINEAGE, tags
from harness.model import Cause, Outcome, Verdict
from harness.record import canonical, digest

STATEMENT = evidence.STATEMENT


def documents(bank, version):
    return dict(bank.registry.records(version)[-1])


def publish(bank, version, statement, person=None, key=None):
    """Put a statement where the registry keeps records, as whoever can write there."""
    from harness.registries.base import Publication

    data = (
        dsse.sign(statement, key or bank.keys[person]) if isinstance(statement, dict) else statement
    )
    name = digest(data)
    made = Publication(
        version, name, {STATEMENT: data}, {}, {}, (), {"harness.record_digest": name}, "{}"
    )
    bank.registry.publish(made)


def record(bank, version):
    found, _ = dsse.verify(documents(bank, version)[STATEMENT], bank.trust, "verifier")
    return found


def diverged(bank):
    version = bank.version()
    bank.judged(version, verdict=Verdict(Outcome.DIVERGED, cause=Cause.STABLE))
    return version


def test_tags_alone_are_no_verdict(bank, gate):
    version = bank.version()
    bank.registry.set_tags(
        version,
        {
            "harness.outcome": "REPRODUCED",
            "harness.grade": "BITWISE",
            "harness.record_digest": "a" * 64,
            "harness.verdict": '{"outcome":"REPRODUCED","grade":"BITWISE"}',
            "harness.stage": "Staging",
        },
    )
    code, against, _ = gate(version)
    assert code == 5
    assert {"no-evidence", "tags"} <= against


def test_a_difference_is_not_hidden_by_tags(bank, gate):
    version = diverged(bank)
    bank.registry.set_tags(version, {"harness.outcome": "REPRODUCED", "harness.grade": "BITWISE"})
    code, against, _ = gate(version)
    assert code == 1
    assert {"diverged", "tags"} <= against


def test_a_record_signed_with_an_own_key_does_not_count(bank, gate, tmp_path):
    version = bank.version()
    bank.judged(version)
    good = record(bank, version)
    other = bank.version(content=b"other")
    stranger = keys.create(tmp_path / "stranger.pem")
    predicate = {**good["predicate"], "version": other.number}
    publish(bank, other, {**good, "predicate": predicate}, key=stranger)
    code, against, answer = gate(other)
    assert code == 5
    assert "no-evidence" in against
    assert any("no key in" in note for note in answer["notes"])


def test_an_edited_record_is_named(bank, gate):
    version = diverged(bank)
    data = documents(bank, version)[STATEMENT]

    def reproduced(statement):
        statement["predicate"] |= {"outcome": "REPRODUCED", "grade": "BITWISE", "cause": None}

    publish(bank, version, forged(data, reproduced))
    code, against, _ = gate(version)
    assert code == 1
    assert {"signature", "diverged"} <= against


def test_a_good_record_replayed_to_another_version_is_named(bank, gate):
    good = bank.version()
    bank.judged(good)
    # The same bytes: every file digest of the two versions is the same.
    twin = bank.version()
    assert bank.lineage(good)[0].artifact_digest == bank.lineage(twin)[0].artifact_digest
    publish(bank, twin, documents(bank, good)[STATEMENT])
    code, against, _ = gate(twin)
    assert code == 5
    assert {"signature", "no-evidence"} <= against


def test_a_record_of_another_registry_is_named(bank, gate):
    version = bank.version()
    bank.judged(version)
    moved = record(bank, version)
    moved["predicate"]["registry"] = "https://elsewhere.example"
    publish(bank, version, moved, person="vera")
    assert "signature" in gate(version)[1]


def test_a_record_by_the_wrong_role_does_not_count(bank, gate):
    version = bank.version()
    bank.judged(version, person="ada")
    assert {"no-evidence"} <= gate(version)[1]


@pytest.mark.parametrize(
    "times",
    [
        {"not_after": "2026-02-01T00:00:00Z"},
        {"revoked_at": "2026-11-01T00:00:00Z"},
        {"not_before": "2029-01-01T00:00:00Z"},
    ],
)
def test_a_key_outside_its_validity_does_not_count(bank, gate, times):
    version = bank.version()
    bank.judged(version)
    assert gate(version)[0] == 0
    text = bank.trust_file.read_text()
    head, marker, vera = text.partition('name = "Vera Verifier"')
    extra = "".join(f'\n{k} = "{v}"' for k, v in times.items())
    if "not_before" in times:
        vera = vera.replace('not_before = "2026-01-01T00:00:00Z"', "", 1)
    bank.trust_file.write_text(head + marker + extra + vera)
    code, against, _ = gate(version)
    assert code == 5
    assert "no-evidence" in against


def test_a_difference_that_is_deleted_is_missed(bank, gate):
    version = bank.version()
    bank.judged(version, created_at="2026-11-01T00:00:00Z")
    bank.judged(version, verdict=Verdict(Outcome.DIVERGED, cause=Cause.STABLE))
    bank.judged(version, person="otto", created_at="2026-11-02T00:00:00Z")
    assert gate(version)[0] == 1
    delete_record(bank, version, "DIVERGED")
    code, against, _ = gate(version)
    assert code == 5
    assert "chain" in against


def test_a_record_deleted_from_the_middle_is_missed_on_any_machine(bank, gate):
    version = bank.version()
    bank.judged(version, verdict=Verdict(Outcome.DIVERGED, cause=Cause.STABLE))
    bank.judged(version)
    delete_record(bank, version, "DIVERGED")
    code, against, _ = gate(version)
    assert code == 5
    assert "chain" in against


def delete_record(bank, version, outcome):
    client = bank.registry._client
    where = client.get_experiment_by_name(f"harness/{version.name}").experiment_id
    query = f"tags.`harness.version` = '{version.number}' and params.outcome = '{outcome}'"
    (row,) = client.search_runs([where], query)
    client.delete_run(row.info.run_id)


def test_a_replaced_lineage_is_named(bank, gate, tmp_path):
    version = bank.version()
    bank.judged(version)
    lineage, _ = bank.lineage(version)
    stranger = keys.create(tmp_path / "stranger.pem")
    envelope = dsse.sign(statements.provenance(lineage), stranger)
    bank.registry.put_documents(
        version, "lineage", {LINEAGE: envelope}, tags(lineage, digest(envelope))
    )
    code, against, _ = gate(version)
    assert code == 5
    assert "lineage-missing" in against


def test_a_lineage_of_another_version_is_named(bank, gate):
    version, other = bank.version(), bank.version()
    bank.judged(version)
    bank.registry.put_documents(version, "lineage", bank.registry.documents(other, "lineage"), {})
    code, against, _ = gate(version)
    assert code == 1
    assert "tampered" in against


def test_a_verdict_tag_that_says_otherwise_is_named(bank, gate):
    version = bank.version()
    bank.judged(version, grade="TOLERANCE")
    for text in ('{"outcome":"REPRODUCED","grade":"BITWISE"}', "{", "[]"):
        bank.registry.set_tags(version, {"harness.verdict": text})
        assert gate(version)[:2] == (5, {"tags"})


@pytest.mark.parametrize(
    "tag", ["harness.git.commit", "harness.lineage_digest", "harness.artifact_digest"]
)
def test_a_changed_tag_is_named(bank, gate, tag):
    version = bank.version()
    bank.judged(version)
    bank.registry.set_tags(version, {tag: "0" * 40})
    assert gate(version)[1] & {"tags", "tampered"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: b"",
        lambda d: d[: len(d) // 2],
        lambda d: d + b"\n",
        lambda d: b"{}",
        lambda d: canonical({**json.loads(d), "signatures": []}),
        lambda d: canonical({**json.loads(d), "signatures": json.loads(d)["signatures"] * 2}),
        lambda d: canonical({**json.loads(d), "payloadType": "text/plain"}),
        lambda d: json.dumps(json.loads(d), indent=1).encode(),
    ],
    ids=["empty", "half", "appended", "object", "unsigned", "doubled", "type", "re-spelled"],
)
def test_damaged_evidence_never_counts(bank, gate, damage):
    version, judged = bank.version(), bank.version(content=b"x")
    bank.judged(judged)
    data = documents(bank, judged)[STATEMENT]
    bank.judged(version, verdict=Verdict(Outcome.INCONCLUSIVE, reasons=("r",)))
    publish(bank, version, damage(data))
    assert gate(version)[0] != 0


def test_no_flipped_byte_of_any_statement_is_accepted(bank):
    """Property: every single-byte change of an envelope is refused."""
    version = bank.version()
    bank.judged(version)
    lineage = bank.registry.documents(version, "lineage")[LINEAGE]
    found = {"verifier": documents(bank, version)[STATEMENT], "recorder": lineage}

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(found)), st.data())
    def flipped(role, data):
        envelope = bytearray(found[role])
        at = data.draw(st.integers(0, len(envelope) - 1))
        envelope[at] ^= data.draw(st.integers(1, 255))
        with pytest.raises(HarnessError) as error:
            dsse.verify(bytes(envelope), bank.trust, role)
        assert error.value.exit_code == 5

    flipped()
    assert base64.b64decode(json.loads(lineage)["payload"])
