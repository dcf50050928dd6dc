"""Evidence is accepted only byte for byte as a trusted key signed it."""

import dataclasses
import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.attestations import dsse, keys, statements
from harness.files import root_digest
from harness.model import (
    CodeRef,
    DataObject,
    EnvironmentRecord,
    FileEntry,
    Hardware,
    Lineage,
    Profile,
    Role,
    Version,
)

VERSION = Version("sqlite:///x", "M", "1")
OUTPUTS = (FileEntry("m.bin", 3, "3" * 64), FileEntry("metrics.json", 3, "4" * 64, Role.METRICS))
LINEAGE = Lineage(
    "recorded",
    CodeRef("file:///x", "a" * 40, "b" * 40),
    "recipe.toml",
    "schema = 1",
    (DataObject("d.npz", 3, "0" * 32, "1" * 64, "d.npz.dvc", "origin"),),
    EnvironmentRecord("venv", "requirements.lock", "2" * 64, "3.11.7"),
    Profile(),
    Hardware(threads={"OMP": 1}),
    OUTPUTS,
    root_digest(OUTPUTS[:1]),
    started_at="2026-01-01T00:00:00Z",
    finished_at=keys.now(),
    version=VERSION,
)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    key = keys.local(home)
    finished = dataclasses.replace(LINEAGE, finished_at=keys.now())
    envelope = dsse.sign(statements.provenance(finished), key)
    return envelope, keys.read_trust(home / "trust.toml"), finished


def test_lineage_comes_back_whole(signed):
    envelope, trust, finished = signed
    statement, key = dsse.verify(envelope, trust, "recorder")
    assert statements.lineage(statement, VERSION) == finished
    assert key.name == "local key of this machine"


def test_every_changed_byte_is_refused(signed):
    envelope, trust, _ = signed

    @given(st.integers(0, len(envelope) - 1), st.integers(1, 255))
    def flip(position, mask):
        bad = bytearray(envelope)
        bad[position] ^= mask
        with pytest.raises(dsse.BadEvidence):
            dsse.verify(bytes(bad), trust, "recorder")

    flip()


def test_wrong_role_unknown_signer_and_revoked_key(signed, tmp_path):
    envelope, trust, _ = signed
    with pytest.raises(dsse.UnknownSigner, match="may not act as approver"):
        dsse.verify(envelope, trust, "approver")
    with pytest.raises(dsse.UnknownSigner, match="no key in"):
        dsse.verify(envelope, keys.Trust((), "nowhere"), "recorder")
    for change, said in (
        ({"revoked_at": "2026-01-02T00:00:00Z"}, "revoked"),
        ({"not_before": "2999-01-01T00:00:00Z"}, "valid only from"),
        ({"not_after": "2020-01-01T00:00:00Z"}, "expired"),
    ):
        changed = keys.Trust((dataclasses.replace(trust.keys[0], **change),), "t")
        with pytest.raises(dsse.UnknownSigner, match=said):
            dsse.verify(envelope, changed, "recorder")


def test_a_lineage_is_bound_to_its_version(signed):
    envelope, trust, _ = signed
    statement, _ = dsse.verify(envelope, trust, "recorder")
    with pytest.raises(dsse.BadEvidence, match="another version"):
        statements.lineage(statement, Version("sqlite:///x", "M", "2"))


def test_the_private_key_file_is_private(tmp_path):
    keys.local(tmp_path)
    path = tmp_path / "keys" / "local.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(keys.UsageError, match="others can read"):
        keys.local(tmp_path)


def test_the_sigstore_bundle_carries_the_same_payload(signed):
    envelope, _, _ = signed
    bundle = json.loads(dsse.bundle(envelope))
    assert bundle["mediaType"].endswith("v0.3+json")
    payload = json.loads(b64decode(bundle["dsseEnvelope"]["payload"]))
    assert payload["predicateType"] == statements.PROVENANCE
