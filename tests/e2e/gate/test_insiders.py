"""One person with one role does not do another's work; edits of the registry forge no history."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from harness import casefile
from harness.attestations import dsse, governance, keys
from harness.attestations.governance import Approval, Move
from harness.model import Stage
from harness.record import canonical, digest

APPROVED = (
    'schema = 1\nminimum_grade = "TOLERANCE"\n[[rule]]\nstages = ["Production"]\napprovals = 1\n'
)


def case(bank, version):
    return casefile.read(bank.registry, version, bank.trust)


def signed_move(bank, version, person, stage=Stage.PRODUCTION, **changes):
    """Sign and store a move without asking any gate, as who has a key and a script can."""
    found = case(bank, version)
    values = {
        "kind": "promote",
        "stage": stage,
        "replaces": "",
        "previous": found.moves[-1].digest if found.moves else "",
        "record_digest": found.records[-1].digest if found.records else "",
        "policy_digest": "0" * 64,
        "relied_on": (),
        "printed_name": person,
        "reason": "none",
        "created_at": keys.now(),
    }
    move = Move(found.binding, **{**values, **changes})
    data = dsse.sign(governance.statement(move, found.lineage.value), bank.keys[person])
    bank.registry.keep(version.name, {f"move-{digest(data)[:32]}.intoto.json": data})
    if stage.alias:
        bank.registry.set_alias(version, stage.alias)
    bank.registry.set_tags(version, {"harness.stage": str(stage)})
    return data


def approval(bank, version, person, policy="0" * 64, **changes):
    found = case(bank, version)
    values = {
        "decision": "approved",
        "stage": Stage.PRODUCTION,
        "record_digest": found.records[-1].digest,
        "policy_digest": policy,
        "printed_name": bank.trust.keys[0].name,
        "reason": "read",
        "meaning": "approval",
        "created_at": keys.now(),
    }
    made = Approval(found.binding, **{**values, **changes})
    data = dsse.sign(governance.statement(made, found.lineage.value), bank.keys[person])
    name = f"{digest(data)[:32]}.intoto.json"
    bank.registry.put_documents(version, "approvals", {name: data}, {})


def policy_digest(gate, version):
    return gate(version, "Production")[2]["policy"]["digest"]


def test_a_verifier_cannot_break_the_glass(bank, gate):
    bank.policy(APPROVED)
    version = bank.version()
    bank.judged(version)
    signed_move(bank, version, "vera", kind="break-glass")
    code, against, _ = gate(version, "Production")
    assert code == 5
    assert "signature" in against


@pytest.mark.parametrize("change", [{"kind": "Break-Glass"}, {"kind": ""}])
def test_a_move_of_no_known_kind_is_named(bank, gate, change):
    version = bank.version()
    bank.judged(version)
    signed_move(bank, version, "vera", Stage.STAGING, **change)
    assert "signature" in gate(version, "Staging")[1]


@pytest.mark.parametrize("change", [{"decision": "seen"}, {"meaning": "read, not approved"}])
def test_an_approval_that_is_none_does_not_count(bank, run, gate, change):
    bank.policy(APPROVED)
    version = bank.version()
    bank.judged(version)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    approval(bank, version, "ada", policy_digest(gate, version), **change)
    code, against, _ = gate(version, "Production")
    assert code == 5
    assert "approvals" in against


def test_an_approval_dated_ahead_does_not_count(bank, run, gate):
    bank.policy(APPROVED)
    version = bank.version()
    bank.judged(version)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    when = "2099-01-01T00:00:00Z"
    approval(bank, version, "ada", policy_digest(gate, version), created_at=when)
    assert gate(version, "Production")[0] == 5


def test_who_approves_does_not_sign_the_promotion_either(bank, run, gate):
    bank.policy(APPROVED)
    version = bank.version()
    bank.judged(version)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    assert run("ada", "approve", version.uri, "--to", "Production", "--reason", "r")[0] == 0
    signed_move(bank, version, "ada", policy_digest=policy_digest(gate, version))
    code, _, answer = gate(version, "Production")
    assert code == 5
    assert "asks for the promotion" in str(answer["findings"])


def test_a_move_that_skips_staging_is_named(bank, gate):
    version = bank.version()
    bank.judged(version)
    signed_move(bank, version, "vera")
    code, against, _ = gate(version, "Production")
    assert code == 5
    assert "order" in against


def test_a_move_dated_before_the_one_it_follows_does_not_change_the_past(bank, run, tmp_path):
    one, two = bank.version(content=b"one"), bank.version(content=b"two")
    for version in (one, two):
        bank.judged(version)
    for stage in ("Staging", "Production"):
        assert run("vera", "promote", one.uri, "--to", stage)[0] == 0
    signed_move(bank, two, "vera", replaces="1", created_at="2026-02-01T00:00:00Z")
    words = ("--alias", "production", "--at", "2026-03-01T00:00Z", "-o", tmp_path / "d")
    code, answer, err = run("otto", "audit", "M", *words)
    assert code == 5, (answer, err)


def test_no_move_is_signed_that_would_look_backdated(bank, run):
    version = bank.version()
    bank.judged(version)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    when = ahead.strftime(governance.TIME)
    signed_move(bank, version, "vera", stage=Stage.STAGING, created_at=when)
    code, _, err = run("vera", "promote", version.uri, "--to", "Production")
    assert code == 5
    assert "set the clock" in err, err
    assert len(case(bank, version).moves) == 1


def test_the_stage_of_a_deleted_model_is_not_that_of_its_namesake(bank, run, gate, tmp_path):
    old = bank.version(content=b"one")
    bank.judged(old)
    for stage in ("Staging", "Production"):
        assert run("vera", "promote", old.uri, "--to", stage)[0] == 0
    bank.registry._client.delete_registered_model("M")
    new = bank.version(content=b"two")
    assert new.number == old.number
    bank.judged(new)
    bank.registry.set_alias(new, "production")
    bank.registry.set_tags(new, {"harness.stage": "Production"})
    code, against, _ = gate(new, "Production")
    assert code == 5
    assert "chain" in against
    words = ("--alias", "production", "-o", tmp_path / "d")
    code, answer, _ = run("otto", "audit", "M", *words)
    assert code == 5, answer


def test_a_verifier_does_not_sign_as_another(bank, gate):
    version = bank.version()
    other = bank.keys["otto"].keyid
    found = {"keyid": other, "tool": "repro-harness", "host": "h"}
    bank.judged(version)
    (documents,) = bank.registry.records(version)
    statement, _ = dsse.verify(documents["reproduction.intoto.json"], bank.trust, "verifier")
    record = {**statement["predicate"], "verifier": found}
    again = {**statement, "predicate": record}
    data = dsse.sign(again, bank.keys["vera"])
    from harness.registries.base import Publication

    name = digest(canonical(record))
    bank.registry.publish(
        Publication(version, name, {"reproduction.intoto.json": data}, {}, {}, (), {}, "{}")
    )
    assert "signature" in gate(version)[1]


def test_a_revoked_approver_does_not_undo_the_promotions_she_made(bank, run, gate):
    bank.policy(APPROVED)
    version = bank.version()
    bank.judged(version)
    assert run("ada", "promote", version.uri, "--to", "Staging")[0] == 0
    assert run("rita", "keys", "revoke", bank.keys["ada"].keyid[:12], "--reason", "left")[0] == 0
    _, _, answer = gate(version, "Staging")
    assert answer["stage"] == "Staging", answer


def test_a_revoked_key_signs_no_further_move(bank, run, gate):
    version = bank.version()
    bank.judged(version)
    assert run("ada", "promote", version.uri, "--to", "Staging")[0] == 0
    assert run("rita", "keys", "revoke", bank.keys["ada"].keyid[:12], "--reason", "left")[0] == 0
    later = datetime.now(UTC) + timedelta(seconds=2)
    signed_move(bank, version, "ada", created_at=later.strftime(governance.TIME))
    code, against, answer = gate(version, "Production")
    assert (code, answer["stage"]) == (5, "Staging")
    assert {"alias", "tags"} <= against


@pytest.mark.parametrize("folder", ["waivers", "approvals"])
def test_names_in_the_registry_do_not_write_to_the_terminal(bank, run, capsys, folder):
    from harness.cli import run as call

    version = bank.version()
    bank.judged(version)
    evil = f"{'0' * 32}.intoto.json"
    bank.registry.put_documents(version, folder, {evil: b"{}"}, {})
    (stored,) = bank.root.rglob(evil)
    # What the registry's own names cannot hold, whoever writes its store can make.
    stored.rename(stored.with_name("x\u202etitle=a.intoto.json"))
    code, answer, _ = run("vera", "gate", version.uri, "--to", "Staging")
    assert code == 5
    shown = json.dumps([answer["findings"], answer["notes"]], ensure_ascii=False)
    for words in (("gate", version.uri, "--to", "Staging"), ("audit", "models:/M/1")):
        capsys.readouterr()
        call([*words, "--quiet"])
        out = capsys.readouterr()
        shown += out.out + out.err
    assert "title=a" in shown
    assert "\u202e" not in shown


def test_a_name_that_the_trust_file_does_not_have_is_noted(bank, run, gate):
    bank.policy(APPROVED)
    version = bank.version()
    bank.judged(version)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    approval(bank, version, "ada", policy_digest(gate, version), printed_name="The Board")
    _, _, answer = gate(version, "Production")
    assert "signed as The Board, the trust file says Ada Approver" in answer["notes"]


def moves_of(bank, version):
    return [m.value.stage for m in case(bank, version).moves]


def test_a_second_signature_beside_a_good_one_does_not_cut_the_chain(bank, run, gate, tmp_path):
    one, two = bank.version(content=b"one"), bank.version(content=b"two")
    for version in (one, two):
        bank.judged(version)
        for stage in ("Staging", "Production"):
            assert run("vera", "promote", version.uri, "--to", stage)[0] == 0
    second = case(bank, one).moves[1]
    envelope = json.loads(second.data)
    for number in range(200):
        twin = json.loads(second.data)
        twin["signatures"].append(
            {"keyid": f"{number:064x}", "sig": envelope["signatures"][0]["sig"]}
        )
        if digest(canonical(twin)) < second.digest:
            break
    bank.registry.keep("M", {"move-twin.intoto.json": canonical(twin)})
    bank.registry.set_alias(one, "production")
    bank.registry.set_tags(one, {"harness.stage": "Production"})
    code, against, _ = gate(one, "Production")
    assert code == 5
    assert "signature" in against
    words = ("--alias", "production", "-o", tmp_path / "d")
    assert run("otto", "audit", "M", *words)[0] == 5


def test_a_promotion_by_who_came_too_late_does_not_undo_what_followed(bank, run, gate):
    version = bank.version()
    bank.judged(version)
    for stage in ("Staging", "Production"):
        assert run("vera", "promote", version.uri, "--to", stage)[0] == 0
    when = case(bank, version).moves[0].value.created_at
    signed_move(bank, version, "otto", Stage.STAGING, previous="", created_at=f"2026-02{when[7:]}")
    code, against, _ = gate(version, "Staging")
    assert code == 5
    assert "chain" in against


def test_the_other_form_of_an_ecdsa_signature_does_not_cut_the_chain(bank, run, tmp_path):
    from base64 import b64decode, b64encode

    from cryptography.hazmat.primitives.asymmetric.utils import (
        decode_dss_signature,
        encode_dss_signature,
    )

    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    bank.keys["vera"] = keys.create(tmp_path / "p256.pem", "ecdsa")
    keys.add(
        bank.trust_file,
        bank.keys["vera"].signer.public_key,
        "Vera Verifier",
        ("verifier",),
        identity="vera@bank.example",
    )
    version = bank.version()
    for stage in (Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED):
        kind = "archive" if stage == Stage.ARCHIVED else "promote"
        signed_move(bank, version, "vera", stage, kind=kind)
    before = moves_of(bank, version)
    for move in case(bank, version).moves:
        envelope = json.loads(move.data)
        r, s = decode_dss_signature(b64decode(envelope["signatures"][0]["sig"]))
        other = encode_dss_signature(r, order - s)
        envelope["signatures"][0]["sig"] = b64encode(other).decode()
        bank.registry.keep("M", {f"move-{stage}-{r:x}.intoto.json": canonical(envelope)})
    found = case(bank, version)
    assert moves_of(bank, version) == before
    assert not [p for p in found.problems if p.code in {"chain", "signature"}]


def test_text_that_no_encoding_holds_is_named(bank, gate):
    version = bank.version()
    bank.judged(version)
    data = b'{"payload":"","payloadType":"application/vnd.in-toto+json",'
    data += b'"signatures":[{"keyid":"\\ud800","sig":""}]}'
    bank.registry.put_documents(version, "approvals", {"x.intoto.json": data}, {})
    code, against, _ = gate(version)
    assert code == 5
    assert "signature" in against
