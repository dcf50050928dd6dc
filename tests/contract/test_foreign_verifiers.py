"""Our signed statements, held against code of other people that did not sign them.

Read or verified here by: cryptography alone over the DSSE encoding as its specification has it,
openssl, sigstore and its models, in-toto's own classes. The model's digest is held against
model-signing in test_model_signing.py.

Not run here, since they are no Python packages: cosign, slsa-verifier. What slsa-verifier asks of
a VSA is asked here in the same order; what cosign asks of a bundle is asked by sigstore's models.
"""

import base64
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.predicates.vsa.v1.vsa_pb2 import VerificationSummary
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from sigstore import dsse as sigstore_dsse
from sigstore_models.bundle.v1 import Bundle

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import dossiers

from harness import policy, policyfile
from harness.attestations import dsse, files, governance, keys, statements
from harness.model import Stage, Version
from harness.record import canonical

# Signatures


def everything():
    """Return one statement of each kind that we sign."""
    lineage, record = dossiers.lineage(), dossiers.record()
    about = statements.subjects("credit", lineage.outputs)
    bound = governance.binding(lineage.version, lineage, "7" * 64)
    approval = governance.Approval(
        bound,
        "approved",
        Stage.STAGING,
        "1" * 64,
        "2" * 64,
        "Ada",
        "read",
        "approval",
        "2026-11-03T08:00:00Z",
    )
    waiver = governance.Waiver(
        bound,
        "hardware",
        Stage.STAGING,
        "Ada",
        "the old hosts are gone",
        "2026-11-03T08:00:00Z",
        "2026-12-01T00:00:00Z",
    )
    move = governance.Move(
        bound,
        "promote",
        Stage.STAGING,
        "2",
        "",
        "1" * 64,
        "2" * 64,
        ("3" * 64,),
        "Ada",
        "released",
        "2026-11-03T09:00:00Z",
    )
    good = {"meets": True}
    return {
        "provenance": statements.provenance(lineage),
        "reproduction": statements.reproduction(record, about),
        "summary": statements.verification_summary(record, good, about),
        "test result": statements.test_result(record, good, about),
        "approval": governance.statement(approval, lineage),
        "waiver": governance.statement(waiver, lineage),
        "move": governance.statement(move, lineage),
        "policy": files.statement("credit.toml", b"schema = 1", "Paula"),
        "index": files.statement("credit/index.json", b"{}", kind=files.DOSSIER),
    }


@pytest.fixture(scope="module", params=["ed25519", "ecdsa"])
def key(request, tmp_path_factory):
    return keys.create(tmp_path_factory.mktemp("keys") / "k.pem", request.param)


def public(key):
    return serialization.load_pem_public_key(keys.public_pem(key.signer.public_key))


def pae(envelope):
    """Return what DSSE v1 says is signed, from its specification."""
    body, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def check(data, holder):
    """Verify an envelope with the cryptography package alone."""
    envelope = json.loads(data)
    (signature,) = envelope["signatures"]
    raw = base64.b64decode(signature["sig"])
    if isinstance(holder, ec.EllipticCurvePublicKey):
        from cryptography.hazmat.primitives.hashes import SHA256

        holder.verify(raw, pae(envelope), ec.ECDSA(SHA256()))
    else:
        holder.verify(raw, pae(envelope))


@pytest.mark.parametrize("kind", everything())
def test_our_envelopes_verify_with_plain_cryptography(kind, key, tmp_path):
    data = dsse.sign(everything()[kind], key)
    check(data, public(key))
    envelope = json.loads(data)
    assert pae(envelope) == sigstore_dsse.Envelope._from_json(data).pae()
    changed = base64.b64decode(envelope["payload"]).replace(b"credit", b"Credit", 1)
    forged = {**envelope, "payload": base64.b64encode(changed).decode()}
    with pytest.raises(InvalidSignature):
        check(json.dumps(forged), public(key))
    with pytest.raises(InvalidSignature):
        check(json.dumps({**envelope, "payloadType": "application/json"}), public(key))
    other = keys.create(tmp_path / "other.pem", "ecdsa" if _elliptic(key) else "ed25519")
    with pytest.raises(InvalidSignature):
        check(data, public(other))


def _elliptic(key):
    return isinstance(public(key), ec.EllipticCurvePublicKey)


def test_our_envelopes_verify_with_openssl(key, tmp_path):
    """The commands that a dossier's page prints for those who have nothing of ours."""
    data = dsse.sign(everything()["reproduction"], key)
    envelope = json.loads(data)
    (tmp_path / "key.pem").write_bytes(keys.public_pem(key.signer.public_key))
    (tmp_path / "signed.bin").write_bytes(pae(envelope))
    raw = base64.b64decode(envelope["signatures"][0]["sig"])
    (tmp_path / "signature.bin").write_bytes(raw)
    ways = {
        True: "openssl dgst -sha256 -verify key.pem -signature signature.bin signed.bin",
        False: "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in signed.bin "
        "-sigfile signature.bin",
    }

    def ask():
        words = ways[_elliptic(key)].split()
        return subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode

    assert ask() == 0
    (tmp_path / "signed.bin").write_bytes(pae(envelope).replace(b"credit", b"Credit", 1))
    assert ask() != 0


def test_sigstore_verifies_our_elliptic_envelopes(tmp_path):
    key = keys.create(tmp_path / "k.pem", "ecdsa")
    found = sigstore_dsse.Envelope._from_json(dsse.sign(everything()["provenance"], key))
    body = sigstore_dsse._verify(public(key), found)
    assert json.loads(body)["predicateType"] == statements.PROVENANCE
    other = keys.create(tmp_path / "o.pem", "ecdsa")
    with pytest.raises(Exception, match="invalid signature"):
        sigstore_dsse._verify(public(other), found)


@pytest.mark.parametrize("kind", everything())
def test_our_bundles_are_sigstore_bundles(kind, key):
    envelope = dsse.sign(everything()[kind], key)
    found = Bundle.from_json(dsse.bundle(envelope))
    assert found.media_type == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert found.verification_material.public_key.hint == key.keyid
    inner = json.loads(found.dsse_envelope.to_json())
    check(json.dumps(inner), public(key))
    assert inner["payload"] == json.loads(envelope)["payload"]
    body = bytearray(base64.b64decode(inner["payload"]))
    body[len(body) // 2] ^= 1
    with pytest.raises(InvalidSignature):
        check(json.dumps({**inner, "payload": base64.b64encode(body).decode()}), public(key))


@pytest.mark.parametrize("lost", ["mediaType", "verificationMaterial"])
def test_a_bundle_that_lacks_a_part_is_none(lost, key):
    found = json.loads(dsse.bundle(dsse.sign(everything()["summary"], key)))
    del found[lost]
    with pytest.raises(ValueError, match="validation error"):
        Bundle.from_json(json.dumps(found))


# Statements and predicates


@pytest.mark.parametrize("kind", everything())
def test_our_statements_are_in_toto_statements(kind):
    """Strictly: a member that in-toto does not know is an error."""
    found = json_format.ParseDict(everything()[kind], statement_pb2.Statement())
    Statement.copy_from_pb(found).validate()
    assert sigstore_dsse.Statement(canonical(everything()[kind]))


@pytest.mark.parametrize(
    "change",
    [
        {"subject": []},
        {"subject": [{"name": "x", "digest": {}}]},
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": ""},
        {"predicate": {}},
        {"verdict": "REPRODUCED"},
    ],
)
def test_in_toto_refuses_a_broken_statement(change):
    with pytest.raises((ValueError, json_format.ParseError)):
        Statement.copy_from_pb(
            json_format.ParseDict(
                {**everything()["provenance"], **change}, statement_pb2.Statement()
            )
        ).validate()


PREDICATES = {
    "provenance": (Provenance, set()),
    # SLSA 1.1 has the verifier's version and a list of levels; in-toto 0.9.3's protobuf has no
    # version yet, and one level. The list is held against slsa-verifier's checks below.
    "summary": (VerificationSummary, {"verifier.version", "verifiedLevels"}),
    # When it was signed: our own checks need a time, and in-toto allows members of one's own.
    "test result": (test_result_pb2.TestResult, {"created_at"}),
}


def members(value, prefix=""):
    """Return the dotted names of a JSON object's members, not looking into lists."""
    for name, inner in value.items():
        yield f"{prefix}{name}"
        if isinstance(inner, dict):
            yield from members(inner, f"{prefix}{name}.")


@pytest.mark.parametrize("kind", PREDICATES)
def test_our_predicates_are_those_that_in_toto_publishes(kind):
    message, own = PREDICATES[kind]
    predicate = everything()[kind]["predicate"]
    given = {k: v for k, v in predicate.items() if k not in own}
    parsed = json_format.ParseDict(given, message(), ignore_unknown_fields=True)
    kept = set(members(json_format.MessageToDict(parsed)))
    lost = {m for m in members(predicate) if m not in kept}
    outside = {m for m in lost if not any(m == o or m.startswith(f"{o}.") for o in own)}
    empty = {m for m in outside if _at(predicate, m) in ("", [], {}, None)}
    assert outside - empty == set()
    assert own <= lost


def _at(value, dotted):
    for name in dotted.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("provenance", {"buildDefinition": {"buildType": 3}}),
        ("provenance", {"runDetails": {"metadata": {"startedOn": "yesterday"}}}),
        ("summary", {"verificationResult": ["PASSED"]}),
        ("summary", {"timeVerified": "yesterday"}),
        ("test result", {"passedTests": "model.bin"}),
    ],
)
def test_a_predicate_of_another_shape_is_refused(kind, change):
    message, _ = PREDICATES[kind]
    broken = {**everything()[kind]["predicate"], **change}
    with pytest.raises(json_format.ParseError):
        json_format.ParseDict(broken, message(), ignore_unknown_fields=True)


# The checks of slsa-verifier's verify-vsa, in its order


class Refused(Exception):
    """A check of verify-vsa failed."""


def slsa_levels(found):
    """Return the levels of each SLSA track; a name that only begins like one is an error."""
    for level in found:
        if level.startswith("SLSA_"):
            parts = level.split("_")
            if len(parts) != 4 or parts[2] != "LEVEL" or not parts[3].isdigit():
                raise Refused(f"invalid SLSA level {level}")


def fingerprint(holder):
    """Return the key id that Go's DSSE library gives a key whose user names none."""
    line = holder.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def as_go_reads(predicate):
    """Refuse a member that Go's strictly typed reader could not take."""
    materials = [predicate["policy"], *predicate["inputAttestations"]]
    maps = [predicate["verifier"]["version"], *(m["digest"] for m in materials)]
    if not all(isinstance(v, str) for m in maps for v in m.values()):
        raise Refused("verifier.version or a digest is no map of text")
    if not all(isinstance(m["uri"], str) for m in materials):
        raise Refused("a uri is no text")
    if not RFC3339.fullmatch(predicate["timeVerified"]):
        raise Refused("time")


def signed_with(data, holder, keyid):
    """Refuse what the key with this id has not signed; another key's signature is skipped."""
    envelope = json.loads(data)
    if envelope["payloadType"] != "application/vnd.in-toto+json":
        raise Refused("payload type")
    if envelope["signatures"][0]["keyid"] not in {"", keyid or fingerprint(holder)}:
        raise Refused("no signature of that key id")
    try:
        check(data, holder)
    except InvalidSignature:
        raise Refused("signature") from None


def verify_vsa(data, holder, *, verifier, resource, digests, levels, keyid=""):
    """Ask what verify-vsa asks; `holder` and `keyid` are --public-key-path and --public-key-id."""
    signed_with(data, holder, keyid)
    statement = json.loads(base64.b64decode(json.loads(data)["payload"]))
    if statement["_type"] != "https://in-toto.io/Statement/v1":
        raise Refused("statement type")
    if statement["predicateType"] != "https://slsa.dev/verification_summary/v1":
        raise Refused("predicate type")
    there = {v for s in statement["subject"] for v in s["digest"].values()}
    if missing := set(digests) - there:
        raise Refused(f"subject digest {missing}")
    predicate = statement["predicate"]
    as_go_reads(predicate)
    if predicate["verifier"]["id"] != verifier:
        raise Refused("verifier id")
    if predicate["resourceUri"] != resource:
        raise Refused("resource uri")
    if predicate["verificationResult"] != "PASSED":
        raise Refused("result")
    slsa_levels(predicate["verifiedLevels"])
    if not set(levels) <= set(predicate["verifiedLevels"]):
        raise Refused("levels")


def summary(record, meets=True):
    about = statements.subjects("credit", dossiers.lineage().outputs)
    return statements.verification_summary(record, {"meets": meets}, about)


ASKED = {
    "verifier": statements.BUILDER,
    "resource": "models:/credit/3",
    "digests": [dossiers.lineage().artifact_digest, "a" * 64],
    "levels": ["REPRO_TOLERANCE"],
}


def test_a_good_summary_passes_the_checks_of_slsa_verifier(key):
    verify_vsa(dsse.sign(summary(dossiers.record()), key), public(key), **ASKED, keyid=key.keyid)


def test_a_summary_needs_its_key_id_named(key):
    """A key id that is not the one in the envelope is skipped: --public-key-id is no option."""
    data = dsse.sign(summary(dossiers.record()), key)
    for named in ("", "0" * 64):
        with pytest.raises(Refused, match="key id"):
            verify_vsa(data, public(key), **ASKED, keyid=named)


@pytest.mark.parametrize(
    ("member", "broken", "said"),
    [
        ("timeVerified", "2026-11-02 09:01:40", "time"),
        ("timeVerified", "2026-11-02T09:01:40", "time"),
        ("verifier", {"id": statements.BUILDER, "version": {"harness": 1}}, "version"),
        ("policy", {"uri": "p", "digest": {"sha256": 1}}, "digest"),
    ],
)
def test_a_summary_that_go_could_not_read_would_be_refused(member, broken, said, key):
    made = summary(dossiers.record())
    made["predicate"][member] = broken
    with pytest.raises(Refused, match=said):
        verify_vsa(dsse.sign(made, key), public(key), **ASKED, keyid=key.keyid)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verifier": "https://example.com"}, "verifier id"),
        ({"resource": "models:/credit/4"}, "resource uri"),
        ({"digests": ["0" * 64]}, "subject digest"),
        ({"levels": ["REPRO_BITWISE"]}, "levels"),
    ],
)
def test_a_summary_about_something_else_is_refused(change, said, key):
    data = dsse.sign(summary(dossiers.record()), key)
    with pytest.raises(Refused, match=said):
        verify_vsa(data, public(key), **{**ASKED, **change}, keyid=key.keyid)


@pytest.mark.parametrize(
    "record",
    [
        dossiers.record(grade="STATISTICAL"),
        dossiers.record(outcome="DIVERGED"),
        dossiers.record(outcome="TAMPERED"),
    ],
)
def test_only_a_reproduction_that_meets_the_policy_passes(record, key):
    decision = policy.decide(policyfile.built_in(), record)
    made = summary(record, decision.meets)
    assert made["predicate"]["verifiedLevels"] == ["FAILED"]
    with pytest.raises(Refused, match="result"):
        verify_vsa(dsse.sign(made, key), public(key), **ASKED, keyid=key.keyid)


def test_a_level_that_only_looks_like_slsa_would_be_refused(key):
    made = summary(dossiers.record())
    made["predicate"]["verifiedLevels"] = ["SLSA_BUILD_REPRODUCED"]
    with pytest.raises(Refused, match="invalid SLSA level"):
        verify_vsa(dsse.sign(made, key), public(key), **ASKED, keyid=key.keyid)


def test_a_summary_of_another_signer_is_refused(key, tmp_path):
    other = keys.create(tmp_path / "other.pem", "ecdsa" if _elliptic(key) else "ed25519")
    with pytest.raises(Refused, match="signature"):
        verify_vsa(
            dsse.sign(summary(dossiers.record()), other), public(key), **ASKED, keyid=other.keyid
        )


@pytest.mark.parametrize("outcome", ["INCONCLUSIVE", "RERUN_FAILED", "ERROR"])
def test_what_was_not_decided_has_no_summary_and_no_test_result(outcome):
    record = dossiers.record(outcome=outcome)
    about = statements.subjects("credit", dossiers.lineage().outputs)
    assert statements.verification_summary(record, {"meets": False}, about) is None
    assert statements.test_result(record, {"meets": False}, about) is None


def test_the_lineage_is_about_one_version_only():
    """Bit for bit the same files under another number are other subjects' statement."""
    one = dossiers.lineage()
    two = dataclasses.replace(one, version=Version("sqlite:///r.db", "credit", "4"))
    assert statements.provenance(one)["subject"] == statements.provenance(two)["subject"]
    texts = {hashlib.sha256(canonical(statements.provenance(x))).hexdigest() for x in (one, two)}
    assert len(texts) == 2
