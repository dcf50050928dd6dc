"""A signed file is accepted for exactly its bytes, from a key that may sign it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.attestations import dsse, files, keys

CONTENT = b"schema = 1\n"


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    key = keys.create(home / "k.pem")
    path = home / "trust.toml"
    keys.add(path, key.signer.public_key, "Grace Hopper", ("policy",), identity="grace")
    return files.sign_file("policy.toml", CONTENT, key, "Grace Hopper"), keys.read_trust(path), key


def test_a_signed_file_is_accepted(signed):
    envelope, trust, key = signed
    assert files.verify_file(CONTENT, envelope, trust, "policy").keyid == key.keyid
    statement, _ = dsse.verify(envelope, trust, "policy")
    assert statement["subject"][0]["name"] == "policy.toml"
    assert statement["predicateType"] == "https://repro-harness.dev/policy/v1"
    assert set(statement["predicate"]) == {"printed_name", "created_at"}


def test_every_other_content_is_refused(signed):
    envelope, trust, _ = signed

    @given(st.binary(max_size=40).filter(lambda b: b != CONTENT))
    def other(content):
        with pytest.raises(dsse.BadEvidence, match="not the one that was signed"):
            files.verify_file(content, envelope, trust, "policy")

    other()


def test_every_changed_byte_of_the_envelope_is_refused(signed):
    envelope, trust, _ = signed
    for position in range(len(envelope)):
        bad = bytearray(envelope)
        bad[position] ^= 1
        with pytest.raises(dsse.BadEvidence):
            files.verify_file(CONTENT, bytes(bad), trust, "policy")


def test_wrong_role_other_statement_and_two_subjects(signed):
    envelope, trust, key = signed
    with pytest.raises(dsse.UnknownSigner, match="may not act as approver"):
        files.verify_file(CONTENT, envelope, trust, "approver")
    gone = dataclasses.replace(trust.keys[0], revoked_at="2026-01-01T00:00:00Z")
    with pytest.raises(dsse.UnknownSigner, match="revoked"):
        files.verify_file(CONTENT, envelope, keys.Trust((gone,), "t"), "policy")
    statement = files.statement("policy.toml", CONTENT)
    other = dsse.sign({**statement, "predicateType": "https://example.org/x"}, key)
    with pytest.raises(dsse.BadEvidence, match="a file of another kind"):
        files.verify_file(CONTENT, other, trust, "policy")
    twice = dsse.sign({**statement, "subject": statement["subject"] * 2}, key)
    with pytest.raises(dsse.BadEvidence, match="not about one file"):
        files.verify_file(CONTENT, twice, trust, "policy")


@pytest.mark.parametrize("odd", [{"runDetails": "x"}, {"runDetails": {"metadata": 3}}])
def test_a_predicate_of_an_odd_shape_is_refused_not_a_crash(signed, odd):
    _, trust, key = signed
    envelope = dsse.sign({**files.statement("p", CONTENT), "predicate": odd}, key)
    with pytest.raises(dsse.UnknownSigner, match="without a time"):
        files.verify_file(CONTENT, envelope, trust, "policy")
