"""What `harness audit` writes, read by programs that are not ours and know nothing of it."""

import base64
import hashlib
import json
import tomllib
from urllib.parse import unquote

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from rocrate.rocrate import ROCrate


@pytest.fixture
def dossier(bank, run, tmp_path):
    version = bank.version(content=b"one")
    bank.judged(version)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    said = ("--intended-use", "grant <b>loans</b>", "--owner", "Łukasz & Söhne", "--risk-tier", "1")
    code, _, err = run("vera", "audit", version.uri, "-o", tmp_path / "d", *said)
    assert code == 0, err
    return tmp_path / "d"


def test_every_export_is_there_and_valid(dossier):
    bom = (dossier / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom) is None
    model = json.loads(bom)["metadata"]["component"]
    assert model["components"][0]["hashes"][0]["content"] == hashlib.sha256(b"one").hexdigest()
    assert (dossier / "dossier.pdf").read_bytes().startswith(b"%PDF-")
    page = (dossier / "dossier.html").read_text()
    assert "grant &lt;b&gt;loans&lt;/b&gt;" in page
    assert "Łukasz &amp; Söhne" in page


def test_the_crate_holds_every_file_with_its_digest(dossier):
    crate = ROCrate(dossier)
    listed = set()
    for entity in crate.data_entities:
        path = dossier / unquote(entity.id)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entity["sha256"]
        listed.add(unquote(entity.id))
    files = {p.relative_to(dossier).as_posix() for p in dossier.rglob("*") if p.is_file()}
    own = {"ro-crate-metadata.json", "index.json", "index.intoto.json"}
    assert files - listed == own
    action = crate.dereference("#verification-0")
    assert action["agent"]["name"] == "Vera Verifier"
    names = {unquote(e.id) for e in action["result"] if e.type == "File"}
    assert any(n.startswith("evidence/records/") for n in names)


def holds(envelope, keys):
    """Return whether an envelope verifies, with nothing but DSSE's own words and cryptography."""
    (signature,) = envelope["signatures"]
    body, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
    try:
        keys[signature["keyid"]].verify(base64.b64decode(signature["sig"]), signed)
    except InvalidSignature:
        return False
    return True


def test_every_signature_verifies_without_us(dossier):
    trust = tomllib.loads((dossier / "trust.toml").read_text())["key"]
    keys = {k["id"]: load_pem_public_key(k["public"].encode()) for k in trust}
    envelopes = {p: json.loads(p.read_text()) for p in dossier.rglob("*.intoto.json")}
    assert len(envelopes) >= 5
    for path, envelope in envelopes.items():
        assert holds(envelope, keys), path
        body = base64.b64decode(envelope["payload"]).replace(b"sha256", b"sha265", 1)
        forged = {**envelope, "payload": base64.b64encode(body).decode()}
        assert not holds(forged, keys), path


def test_the_index_is_what_sha256sum_says(dossier):
    index = json.loads((dossier / "index.json").read_text())
    found = {
        p.relative_to(dossier).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in dossier.rglob("*")
        if p.is_file() and p.name not in {"index.json", "index.intoto.json"}
    }
    assert {f["path"]: f["sha256"] for f in index["files"]} == found
    envelope = json.loads((dossier / "index.intoto.json").read_text())
    (subject,) = json.loads(base64.b64decode(envelope["payload"]))["subject"]
    whole = hashlib.sha256((dossier / "index.json").read_bytes()).hexdigest()
    assert subject["digest"]["sha256"] == whole
