"""Private keys are private, of two kinds only, and never shown."""

import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from harness.attestations import keys
from harness.errors import UsageError


def pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    monkeypatch.delenv(keys.ENVIRONMENT, raising=False)


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_a_new_key_is_private_and_loads_again(tmp_path, algorithm):
    made = keys.create(tmp_path / "keys" / "a.pem", algorithm)
    path = tmp_path / "keys" / "a.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert keys.load_file(path).keyid == made.keyid
    assert [p.name for p in path.parent.iterdir()] == ["a.pem"]


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "a.pem"
    keys.create(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        keys.create(path)
    assert path.read_bytes() == before


def test_an_unknown_algorithm_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown key algorithm"):
        keys.create(tmp_path / "a.pem", "rsa")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pem(rsa.generate_private_key(65537, 2048)), "RSA"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "secp384r1"),
        (
            pem(ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
            "encrypted",
        ),
        (b"-----BEGIN PRIVATE KEY-----\nQUJDREVGR0hJSktM\n-----END PRIVATE KEY-----\n", "not a"),
        (b"QUJDREVGR0hJSktM", "not a private key"),
        (b"\xff\x00", "not a private key"),
        (b"", "not a private key"),
    ],
)
def test_another_kind_of_key_is_refused_and_not_shown(content, said):
    with pytest.raises(UsageError, match=said) as caught:
        keys.load(content, "here")
    assert str(caught.value).startswith("here: ")
    lines = [line for line in content.splitlines() if len(line) > 8 and b"-----" not in line]
    assert not any(line.decode(errors="replace") in str(caught.value) for line in lines)


def test_the_order_in_which_a_key_is_found(tmp_path, monkeypatch):
    notes = []
    own = keys.local(tmp_path, notes.append)
    assert len(notes) == 1
    assert keys.local(tmp_path, notes.append).keyid == own.keyid
    assert len(notes) == 1
    other = keys.create(tmp_path / "other.pem")
    assert keys.local(tmp_path, file=tmp_path / "other.pem").keyid == other.keyid
    third = ed25519.Ed25519PrivateKey.generate()
    monkeypatch.setenv(keys.ENVIRONMENT, pem(third).decode())
    found = keys.local(tmp_path, file=tmp_path / "other.pem")
    assert found.keyid not in {own.keyid, other.keyid}
    assert found.where == "$HARNESS_SIGNING_KEY"


def test_a_named_key_file_must_be_there_and_private(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        keys.local(tmp_path, file=tmp_path / "absent.pem")
    assert not (tmp_path / "keys").exists(), "no key of our own stands in for the one named"
    path = tmp_path / "open.pem"
    keys.create(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="others can read"):
        keys.local(tmp_path, file=path)


def test_the_local_key_is_recorder_and_verifier_under_one_identity(tmp_path):
    keys.local(tmp_path)
    (key,) = keys.read_trust(tmp_path / "trust.toml").keys
    assert (key.roles, key.identity, key.person) == (("recorder", "verifier"), "local", "local")


def test_two_first_uses_at_once_make_one_key(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(keys.local(tmp_path).keyid)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(keys.read_trust(tmp_path / "trust.toml").keys) == 1
