"""A dossier verifies with the trust file alone, and with one byte changed it does not."""

import json
import shutil
import time
import zipfile

import pytest

from harness.dossier import archive
from harness.model import Cause, Outcome, Verdict

APPROVED = (
    'schema = 1\nminimum_grade = "TOLERANCE"\n[[rule]]\nstages = ["Production"]\napprovals = 1\n'
)


def produced(bank, run, content):
    version = bank.version(content=content)
    bank.judged(version)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    assert run("ada", "approve", version.uri, "--to", "Production", "--reason", "read")[0] == 0
    assert run("vera", "promote", version.uri, "--to", "Production")[0] == 0
    return version


@pytest.fixture
def dossier(bank, run, tmp_path):
    bank.policy(APPROVED)
    version = produced(bank, run, b"one")
    code, _answer, err = run("vera", "audit", version.uri, "-o", tmp_path / "d")
    assert code == 0, err
    return tmp_path / "d"


@pytest.fixture
def check(bank, run, tmp_path, monkeypatch):
    """Check a dossier as somebody who has nothing but it and the trust file."""

    def ask(path, *words):
        for name in ("HARNESS_REGISTRY", "HARNESS_POLICY"):
            monkeypatch.delenv(name, raising=False)
        return run("auditor", "audit-verify", path, "--trust", bank.trust_file, *words)

    return ask


def test_a_dossier_stands_on_its_own(bank, run, dossier, check, tmp_path):
    for path in bank.root.iterdir():
        # The registry, the people's homes and the policy are gone: ten years have passed.
        if path.name not in {"d", "trust.toml"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    code, answer, err = check(dossier)
    assert code == 0, (err, answer)
    assert answer["whole"]
    assert any("Ada Approver signed approval" in line for line in answer["proves"])
    assert answer["does_not_prove"]


def test_who_signs_a_dossier_without_being_trusted_is_warned(bank, run, check, tmp_path):
    version = bank.version()
    bank.judged(version)
    assert run("vera", "audit", version.uri, "-o", tmp_path / "good")[1]["warnings"] == []
    code, answer, _ = run("auditor", "audit", version.uri, "-o", tmp_path / "d")
    assert code == 0
    assert "audit-verify refuses it" in answer["warnings"][0]
    code, _, err = check(tmp_path / "d")
    assert (code, "index.intoto.json: signed by" in err) == (5, True)


def test_one_changed_byte_in_any_file_is_found(dossier, check, tmp_path):
    files = [p for p in sorted(dossier.rglob("*")) if p.is_file()]
    assert len(files) > 10
    for path in files:
        data = path.read_bytes()
        if not data:
            continue
        for at in {0, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            code, answer, _ = check(dossier)
            assert code == 5, (path, at, answer)
        path.write_bytes(data)
    assert check(dossier)[0] == 0


def test_a_file_added_or_removed_is_found(dossier, check):
    (dossier / "extra.txt").write_text("x")
    assert check(dossier)[0] == 5
    (dossier / "extra.txt").unlink()
    (dossier / "evidence" / "link").symlink_to(dossier / "README.txt")
    assert check(dossier)[0] == 5
    (dossier / "evidence" / "link").unlink()
    for path in [p for p in dossier.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        path.unlink()
        assert check(dossier)[0] == 5, path
        path.write_bytes(data)
    assert check(dossier)[0] == 0


def test_a_dossier_re_signed_by_a_stranger_is_refused(dossier, check, tmp_path):
    from harness.attestations import files, keys
    from harness.dossier.index import SIGNED, index

    found = archive.read(dossier)
    value = json.loads(found["dossier.json"])
    value["decision"]["meets"] = True
    found["dossier.json"] = json.dumps(value).encode()
    body = {p: d for p, d in found.items() if p not in {"index.json", SIGNED}}
    stranger = keys.create(tmp_path / "stranger.pem")
    body["index.json"] = index(body)
    body[SIGNED] = files.sign_file("index.json", body["index.json"], stranger, kind=files.DOSSIER)
    archive.write(tmp_path / "forged", body)
    assert check(tmp_path / "forged")[0] == 5


def test_a_page_that_says_otherwise_than_the_facts_is_found_even_when_signed(
    bank, dossier, check, tmp_path
):
    found = archive.read(dossier)
    found["dossier.html"] = found["dossier.html"].replace(b"BITWISE", b"bitwise", 1)
    archive.write(tmp_path / "forged", signed_again(bank, found))
    code, answer, _ = check(tmp_path / "forged")
    assert code == 5
    assert "dossier.html: does not say" in str(answer["problems"])


def signed_again(bank, found):
    """Return the files under a new index, signed by an insider whom the trust file names."""
    from harness.attestations import files
    from harness.dossier.index import SIGNED, index

    body = {p: d for p, d in found.items() if p not in {"index.json", SIGNED}}
    body["index.json"] = index(body)
    body[SIGNED] = files.sign_file(
        "index.json", body["index.json"], bank.keys["vera"], kind=files.DOSSIER
    )
    return body


def test_facts_that_the_evidence_does_not_say_are_found_even_when_signed(
    bank, dossier, check, tmp_path
):
    from harness.record import canonical

    found = archive.read(dossier)
    value = json.loads(found["dossier.json"])
    value["approvals"].append({**value["approvals"][0], "printed_name": "The Chief Risk Officer"})
    found["dossier.json"] = canonical(value)
    archive.write(tmp_path / "forged", signed_again(bank, found))
    code, answer, _ = check(tmp_path / "forged")
    assert code == 5
    assert "approvals is not what the evidence says" in str(answer["problems"])


@pytest.mark.parametrize("member", ["text", "digest"])
def test_a_page_does_not_show_another_policy_than_the_one_that_decided(
    bank, dossier, check, tmp_path, member
):
    from harness import facts
    from harness.dossier import rendering
    from harness.dossier.model import Dossier
    from harness.record import canonical, load

    found = archive.read(dossier)
    value = json.loads(found["dossier.json"])
    value["policy"][member] = "9" * 64
    found["dossier.json"] = canonical(value)
    found |= rendering.certain(load(Dossier, value, facts.VALUE), found)
    archive.write(tmp_path / "forged", signed_again(bank, found))
    code, answer, _ = check(tmp_path / "forged")
    assert code == 5
    assert "policy is not what the evidence says" in str(answer["problems"])


def test_the_names_on_the_page_are_the_operators(bank, dossier, check, tmp_path):
    from harness import facts
    from harness.dossier import rendering
    from harness.dossier.model import Dossier
    from harness.record import load

    found = archive.read(dossier)
    found["trust.toml"] = found["trust.toml"].replace(b"Vera Verifier", b"Chief Auditor")
    value = load(Dossier, json.loads(found["dossier.json"]), facts.VALUE)
    found |= rendering.certain(value, found)
    assert b"Chief Auditor" in found["dossier.html"]
    archive.write(tmp_path / "forged", signed_again(bank, found))
    code, answer, _ = check(tmp_path / "forged")
    assert code == 5
    assert "Chief Auditor" in str(answer["problems"])


def test_what_only_its_maker_vouches_for_is_said(bank, dossier, check, tmp_path):
    from harness.record import canonical

    found = archive.read(dossier)
    value = json.loads(found["dossier.json"])
    value["tool"] = "repro-harness 0.0.1"
    found["dossier.json"] = canonical(value)
    found["dossier.html"] = b"<p>all is well</p>"
    archive.write(tmp_path / "forged", signed_again(bank, found))
    code, answer, _ = check(tmp_path / "forged")
    assert code == 0
    limits = str(answer["does_not_prove"])
    assert "that dossier.html says what dossier.json says" in limits
    assert "that policy.toml is the operator's" in limits
    assert "Vera Verifier signed it" in answer["proves"][0]


def test_a_zip_is_one_sequence_of_bytes(bank, run, dossier, check, tmp_path):
    path = tmp_path / "d.zip"
    assert run("vera", "audit", "models:/M/1", "-o", path)[0] == 0
    assert check(path)[0] == 0
    data = path.read_bytes()
    tricks = {
        "appended": data + b"x",
        "prepended": b"x" + data,
        "cut": data[:-1],
        "half": data[: len(data) // 2],
        "empty": b"",
    }
    for at in range(0, len(data), max(1, len(data) // 150)):
        tricks[f"byte {at}"] = data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
    for name, trick in tricks.items():
        (tmp_path / "t.zip").write_bytes(trick)
        assert check(tmp_path / "t.zip")[0] == 5, name


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a\\b", "a//b", "./a", "evil\x1b[0m"])
def test_a_zip_with_names_that_escape_is_refused(tmp_path, check, name):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as made:
        made.writestr(name, "x")
    assert check(tmp_path / "t.zip")[0] == 5


def test_a_zip_with_a_member_twice_or_a_bomb_is_refused(tmp_path, check):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as made:
        made.writestr("a", "x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            made.writestr("a", "y")
    assert check(tmp_path / "t.zip")[0] == 5
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", b"\0" * (64 << 20))
    assert check(tmp_path / "b.zip")[0] == 5


def test_which_version_made_that_decision(bank, run, check, tmp_path):
    bank.policy(APPROVED)
    produced(bank, run, b"one")
    time.sleep(1.1)
    between = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(1.1)
    produced(bank, run, b"two")
    ask = ("audit", "M", "--alias", "production", "--at")
    code, answer, err = run("vera", *ask, between, "-o", tmp_path / "then")
    assert (code, answer["version"]) == (0, "1"), err
    assert run("vera", *ask[:-1], "-o", tmp_path / "now")[1]["version"] == "2"
    assert run("vera", *ask, "2090-01-01T00:00:00Z", "-o", tmp_path / "x")[0] == 2
    assert run("vera", *ask, "2026-01-01T00:00Z", "-o", tmp_path / "before")[0] == 5
    assert run("vera", *ask, "yesterday", "-o", tmp_path / "x")[0] == 2
    code, answer, _ = check(tmp_path / "then")
    assert (code, answer["version"]) == (0, "1")


def test_a_difference_is_a_whole_dossier_with_its_own_exit_code(bank, run, check, tmp_path):
    version = bank.version()
    bank.judged(version, verdict=Verdict(Outcome.DIVERGED, cause=Cause.STABLE))
    assert run("vera", "audit", version.uri, "-o", tmp_path / "d")[0] == 0
    code, answer, _ = check(tmp_path / "d")
    assert (code, answer["whole"], answer["meets"]) == (1, True, False)


def test_no_verdict_at_all_never_passes(bank, run, check, tmp_path):
    version = bank.version()
    assert run("vera", "audit", version.uri, "-o", tmp_path / "d")[0] == 0
    assert check(tmp_path / "d")[0] == 5


def test_a_registry_that_was_edited_makes_no_dossier_that_passes(bank, run, check, tmp_path):
    version = bank.version()
    bank.judged(version)
    bank.registry.set_tags(version, {"harness.git.commit": "f" * 40})
    code, answer, _ = run("vera", "audit", version.uri, "-o", tmp_path / "d")
    assert code == 5
    assert "harness.git.commit" in str(answer["problems"])
    assert check(tmp_path / "d")[0] == 5


def test_the_model_itself_is_held_against_the_manifest(dossier, check, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.bin").write_bytes(b"one")
    assert check(dossier, "--model-dir", model)[0] == 0
    (model / "model.bin").write_bytes(b"onf")
    assert check(dossier, "--model-dir", model)[0] == 5


def test_without_a_trust_file_nothing_is_believed(run, dossier, tmp_path):
    code, _, err = run("vera", "audit-verify", dossier, "--trust", tmp_path / "none.toml")
    assert code == 2
    assert "cannot say itself whom to trust" in err


def test_an_existing_target_is_left_alone(bank, run, dossier):
    before = sorted(dossier.rglob("*"))
    assert run("vera", "audit", "models:/M/1", "-o", dossier)[0] == 2
    assert sorted(dossier.rglob("*")) == before


def put_beside(bank, version, documents):
    """Overwrite files of a published verification, as anyone who can write there may."""
    client = bank.registry._client
    where = client.get_experiment_by_name(f"harness/{version.name}").experiment_id
    (row, *_) = client.search_runs([where], f"tags.`harness.version` = '{version.number}'")
    bank.registry._upload(row.info.run_id, documents, "harness")


def test_a_forged_report_in_the_registry_does_not_reach_the_dossier(bank, run, check, tmp_path):
    version = bank.version()
    bank.judged(version, verdict=Verdict(Outcome.DIVERGED, cause=Cause.STABLE))
    put_beside(bank, version, {"report.html": b"REPRODUCED BITWISE", "record.json": b"{}"})
    assert run("vera", "audit", version.uri, "-o", tmp_path / "d")[0] == 0
    shown = [p.read_bytes() for p in (tmp_path / "d").rglob("*.html")]
    assert shown
    assert not any(text == b"REPRODUCED BITWISE" for text in shown)
    assert check(tmp_path / "d")[0] == 1


def test_a_summary_of_another_verdict_is_named(bank, run, check, tmp_path):
    good, bad = bank.version(content=b"one"), bank.version(content=b"two")
    bank.judged(good, created_at="2026-11-01T00:00:00Z")
    bank.judged(bad, grade="TOLERANCE")
    (theirs,) = bank.registry.records(good)
    put_beside(bank, bad, {"vsa.intoto.json": theirs["vsa.intoto.json"]})
    code, answer, _ = run("vera", "audit", bad.uri, "-o", tmp_path / "d")
    assert code == 5
    assert "vsa.intoto.json: not about the record beside it" in str(answer["problems"])
    assert check(tmp_path / "d")[0] == 5
