"""What we sign and digest, held against programs of other people.

Not run here, since they are no Python packages: cosign, slsa-verifier. What slsa-verifier asks of
a VSA is asked here in the same order; what cosign asks of a bundle is asked by sigstore's models.
"""

import base64
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import model_signing
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
from harness.attestations import dsse, governance, keys, statements
from harness.files import entries, root_digest, walk
from harness.model import Role, Stage, Version
from harness.record import canonical

TREES = {
    "one file": {"model.bin": b"weights"},
    "nested": {"MLmodel": b"flavor", "data/model.pth": b"weights", "code/a/b.py": b"pass"},
    "unicode": {"größe.bin": b"1", "層/重み.bin": b"2", "Z": b"3", "_": b"4"},
    "names that sort another way as text": {"a/b": b"1", "a-b": b"2", "a.b": b"3", "ab": b"4"},
    "empty file": {"empty": b"", "full": b"x"},
    "hidden": {".config/x": b"1", "sub/.gitattributes": b"2"},
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Make a key pair as other people's tools have them: two PEM files."""
    folder = tmp_path_factory.mktemp("pair")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "private.pem").write_bytes(private)
    (folder / "public.pem").write_bytes(public)
    return folder


def grown(root, files):
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def signed_by_oms(model, pair, **hashing):
    """Sign a folder with model-signing and return the digest that it signed."""
    config = model_signing.signing.Config().use_elliptic_key_signer(
        private_key=pair / "private.pem"
    )
    signature = model.parent / "model.sig"
    if hashing:
        ways = model_signing.hashing.Config().set_ignored_paths(paths=[], **hashing)
        config = config.set_hashing_config(ways)
    config.sign(model, signature)
    envelope = json.loads(signature.read_text())["dsseEnvelope"]
    (subject,) = json.loads(base64.b64decode(envelope["payload"]))["subject"]
    return subject["digest"]["sha256"]


def checked_by_oms(model, pair):
    model_signing.verifying.Config().use_elliptic_key_verifier(
        public_key=pair / "public.pem"
    ).verify(model, model.parent / "model.sig")


def ours(model):
    return root_digest(entries(model, walk(model), Role.MODEL))


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_our_root_digest_is_the_one_that_model_signing_signs(tree, tmp_path, pair):
    model = grown(tmp_path / "M", tree)
    assert ours(model) == signed_by_oms(model, pair)
    checked_by_oms(model, pair)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_one_changed_byte_is_another_digest_and_fails_model_signing(tree, tmp_path, pair):
    model = grown(tmp_path / "M", tree)
    before = signed_by_oms(model, pair)
    last = max(tree)
    (model / last).write_bytes(tree[last] + b"!")
    assert ours(model) != before
    with pytest.raises(ValueError, match="mismatch"):
        checked_by_oms(model, pair)


def test_an_extra_file_fails_model_signing(tmp_path, pair):
    """The reason why lineage and verdicts lie outside the model folder."""
    model = grown(tmp_path / "M", TREES["nested"])
    signed_by_oms(model, pair)
    (model / "lineage.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"[Ee]xtra"):
        checked_by_oms(model, pair)


def test_git_files_are_equal_only_when_model_signing_is_told_to_sign_them(tmp_path, pair):
    """By default it leaves out `.gitattributes` and the like at the top; we leave out nothing."""
    model = grown(tmp_path / "M", {".gitattributes": b"* -text", "model.bin": b"w"})
    assert ours(model) != signed_by_oms(model, pair)
    assert ours(model) == signed_by_oms(model, pair, ignore_git_paths=False)


def test_swapped_names_keep_the_digest_which_is_why_it_is_no_identity(tmp_path, pair):
    model = grown(tmp_path / "M", {"a": b"1", "b": b"2"})
    other = grown(tmp_path / "other" / "M", {"c": b"1", "d": b"2"})
    assert ours(model) == ours(other) == signed_by_oms(model, pair)


def test_a_recorded_model_passes_model_signing_untouched(tmp_path, pair):
    """What a registry gives back is the very folder that the lineage's subject names."""
    from harness.registries.base import NewVersion
    from harness.registries.mlflow import MlflowRegistry

    made = grown(tmp_path / "made", TREES["nested"])
    registry = MlflowRegistry(f"sqlite:///{tmp_path / 'r.db'}", tmp_path)
    version = registry.register(NewVersion("M", made, None, {}, {}, {}))
    lineage = dossiers.lineage(outputs=entries(made, walk(made), Role.MODEL), version=version)
    subject = statements.provenance(lineage)["subject"][0]
    back = registry.download(version, tmp_path / "back" / "M")
    assert subject["digest"]["sha256"] == signed_by_oms(back, pair)
    checked_by_oms(back, pair)
    (back / "MLmodel").write_bytes(b"flavour")
    with pytest.raises(ValueError, match="mismatch"):
        checked_by_oms(back, pair)


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
    good = {"meets": True}
    return {
        "provenance": statements.provenance(lineage),
        "reproduction": statements.reproduction(record, about),
        "summary": statements.verification_summary(record, good, about),
        "test result": statements.test_result(record, good, about),
        "approval": governance.statement(approval, lineage),
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


def verify_vsa(data, holder, *, verifier, resource, digests, levels):
    """Ask what verify-vsa asks; `holder` is the public key that the user names."""
    try:
        check(data, holder)
    except InvalidSignature:
        raise Refused("signature") from None
    statement = json.loads(base64.b64decode(json.loads(data)["payload"]))
    if statement["_type"] != "https://in-toto.io/Statement/v1":
        raise Refused("statement type")
    if statement["predicateType"] != "https://slsa.dev/verification_summary/v1":
        raise Refused("predicate type")
    there = {v for s in statement["subject"] for v in s["digest"].values()}
    if missing := set(digests) - there:
        raise Refused(f"subject digest {missing}")
    predicate = statement["predicate"]
    version = predicate["verifier"].get("version", {})
    if not all(isinstance(v, str) for v in version.values()):
        raise Refused("verifier.version")
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
    verify_vsa(dsse.sign(summary(dossiers.record()), key), public(key), **ASKED)


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
        verify_vsa(data, public(key), **{**ASKED, **change})


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
        verify_vsa(dsse.sign(made, key), public(key), **ASKED)


def test_a_level_that_only_looks_like_slsa_would_be_refused(key):
    made = summary(dossiers.record())
    made["predicate"]["verifiedLevels"] = ["SLSA_BUILD_REPRODUCED"]
    with pytest.raises(Refused, match="invalid SLSA level"):
        verify_vsa(dsse.sign(made, key), public(key), **ASKED)


def test_a_summary_of_another_signer_is_refused(key, tmp_path):
    other = keys.create(tmp_path / "other.pem", "ecdsa" if _elliptic(key) else "ed25519")
    with pytest.raises(Refused, match="signature"):
        verify_vsa(dsse.sign(summary(dossiers.record()), other), public(key), **ASKED)


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
