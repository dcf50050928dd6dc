"""The crate's actions say who did what with which files, and link to nothing that is not there."""

import json

import pytest

from harness.dossier import crate

FILES = {"dossier.json": b"{}", "a b/größe%.txt": b"x"}


def graph(value, dossiers, files=FILES):
    found = json.loads(crate.render(value, files, dossiers.PEOPLE))["@graph"]
    assert len({e["@id"] for e in found}) == len(found)
    return {e["@id"]: e for e in found}


def ids(value):
    return {v["@id"] for v in (value if isinstance(value, list) else [value])}


def test_the_profile_is_claimed_by_the_root_and_the_version_by_the_descriptor(dossiers):
    found = graph(dossiers.make(), dossiers)
    assert found[crate.NAME]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert found["./"]["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}


def test_every_file_is_named_by_an_address_with_size_and_digest(dossiers):
    found = graph(dossiers.make(), dossiers)
    file = found["a%20b/gr%C3%B6%C3%9Fe%25.txt"]
    assert (file["name"], file["contentSize"]) == ("a b/größe%.txt", "1")
    assert file["sha256"].startswith("2d711642b726")
    assert ids(found["./"]["hasPart"]) == {"dossier.json", "a%20b/gr%C3%B6%C3%9Fe%25.txt"}


def test_the_training_ran_the_code_at_its_commit(dossiers):
    found = graph(dossiers.make(), dossiers)
    training = found["#training"]
    code = found[training["instrument"]["@id"]]
    assert (code["@type"], code["version"]) == (
        "SoftwareSourceCode",
        dossiers.lineage()["code"]["commit"],
    )
    assert code["@id"].startswith("https://git.example/credit.git#")
    assert found[training["agent"]["@id"]]["name"] == "Dora Dev <dora@bank.example>"
    assert training["startTime"] == "2026-08-30T09:00:00+00:00"
    assert {"#recorded/model.onnx", "#recorded/metrics.json"} <= ids(training["result"])
    assert "#data/data%2Floans.csv" in ids(training["object"])


def test_a_verification_is_ours_of_the_code_and_signed_by_a_person(dossiers):
    found = graph(dossiers.make(), dossiers)
    action, training = found["#verification-1"], found["#training"]
    assert found[action["instrument"]["@id"]]["@type"] == "SoftwareApplication"
    assert found[action["agent"]["@id"]]["name"] == "Vera Verifier"
    assert training["instrument"]["@id"] in ids(action["object"])
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"


def test_who_is_not_in_the_trust_file_is_the_holder_of_a_key(dossiers):
    verifier = {"keyid": "9f" * 32, "tool": "t", "host": "h"}
    found = graph(dossiers.make(dossiers.record(verifier=verifier)), dossiers)
    agent = found[found["#verification-1"]["agent"]["@id"]]
    assert agent["name"] == f"holder of key {'9f' * 6}"


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        ("REPRODUCED", False),
        ("DIVERGED", False),
        ("TAMPERED", False),
        ("RERUN_FAILED", True),
        ("ERROR", True),
        ("INCOMPLETE_LINEAGE", True),
    ],
)
def test_only_a_training_that_did_not_come_to_an_end_is_a_failed_action(outcome, failed, dossiers):
    """A model that came out different is a result; a training that broke off is none."""
    record = dossiers.record(outcome=outcome, grade=None, reasons=["exit status 1"])
    action = graph(dossiers.make(record), dossiers)["#verification-1"]
    assert action["actionStatus"].endswith("/FailedActionStatus") is failed
    assert action.get("error") == ("exit status 1" if failed else None)


@pytest.mark.parametrize("url", ["/srv/git/credit", "javascript:alert(1)", ""])
def test_code_without_an_address_is_a_local_entity(url, dossiers):
    made = dossiers.lineage()
    made["code"]["url"] = url
    found = graph(dossiers.make(lineage=made), dossiers)
    assert found["#training"]["instrument"] == {"@id": "#code"}


def test_nothing_known_is_a_crate_of_its_files(dossiers):
    found = graph(dossiers.bare(), dossiers)
    assert not [e for e in found.values() if e["@type"] == "CreateAction"]
    assert ids(found["./"]["hasPart"]) == {e["@id"] for e in found.values() if e["@type"] == "File"}


def test_the_same_facts_give_the_same_bytes(dossiers):
    one = crate.render(dossiers.make(), FILES, dossiers.PEOPLE)
    assert one == crate.render(dossiers.make(), dict(reversed(FILES.items())), dossiers.PEOPLE)
    assert one != crate.render(dossiers.make(), {**FILES, "dossier.json": b"[]"}, dossiers.PEOPLE)
