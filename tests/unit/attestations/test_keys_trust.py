"""A trust file says exactly what it means, or is refused with the file and the entry named."""

import contextlib
import dataclasses
import subprocess
import sys
import textwrap
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from harness.attestations import publickeys, trust, trustfile
from harness.errors import UsageError

PUBLIC = CryptoSigner.generate_ed25519().public_key
OTHER = CryptoSigner.generate_ecdsa().public_key


def added(path, public=PUBLIC, name="Ada Lovelace", roles=("verifier",), **more):
    return trustfile.add(path, public, name, roles, **more)


def entry(**changes):
    fields = {
        "id": f'"{PUBLIC.keyid}"',
        "name": '"Ada Lovelace"',
        "roles": '["verifier"]',
        "public": f'"""{publickeys.public_pem(PUBLIC).decode()}"""',
        **changes,
    }
    return "[[key]]\n" + "".join(f"{k} = {v}\n" for k, v in fields.items() if v is not None)


@pytest.mark.parametrize("public", [PUBLIC, OTHER], ids=["ed25519", "ecdsa"])
def test_what_was_added_comes_back(tmp_path, public):
    path = tmp_path / "trust.toml"
    times = {"not_before": "2026-01-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z"}
    key = added(path, public, identity="Ada@Bank.example", **times)
    assert trust.read_trust(path).keys == (key,)
    assert (key.keyid, key.person) == (public.keyid, "ada@bank.example")
    assert publickeys.public_key(publickeys.public_pem(public)) == public


def test_the_same_key_twice_is_refused_and_one_person_may_have_two(tmp_path):
    path = tmp_path / "trust.toml"
    added(path, identity="ada")
    with pytest.raises(UsageError, match="trusted already"):
        added(path, name="Somebody Else")
    added(path, OTHER, identity="ADA")
    assert {k.person for k in trust.read_trust(path).keys} == {"ada"}


def test_without_an_identity_the_person_is_the_key(tmp_path):
    path = tmp_path / "trust.toml"
    assert added(path).person == PUBLIC.keyid
    assert added(path, OTHER).person != PUBLIC.keyid


def rsa_entry():
    public = rsa.generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return entry(public=f'"""{pem}"""', id=f'"{SSlibKey.from_crypto(public).keyid}"')


def curve_entry():
    public = ec.generate_private_key(ec.SECP521R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return entry(public=f'"""{pem}"""', id=f'"{SSlibKey.from_crypto(public).keyid}"')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not TOML"),
        ("keys = 1\n", "unknown member keys"),
        ("key = 1\n", "one .*key.* table"),
        ("key = [1]\n", "one .*key.* table"),
        (entry() + entry(), "key 2 .*twice"),
        (entry(rank='"admin"'), "unknown member rank"),
        (entry(roles=None), "no roles"),
        (entry(id=None), "no id"),
        (entry(id=f'"{"0" * 64}"'), "not that of the public key"),
        (entry(id=f'"{OTHER.keyid}"'), "not that of the public key"),
        (entry(name="3"), "name: must be a string"),
        (entry(name='""'), "name: 1 to"),
        (entry(name='" Ada"'), "name: 1 to"),
        (entry(name=f'"{"a" * 121}"'), "name: 1 to"),
        (entry(name='"Ada\\u001b[2K"'), "control or invisible"),
        (entry(name='"Ada\\nApproved"'), "control or invisible"),
        (entry(name='"Ada\\u202e"'), "control or invisible"),
        (entry(name='"Ada\\u2028x"'), "control or invisible"),
        (entry(identity='"ada lovelace"'), "no blanks"),
        (entry(identity='"\\u00ada"'), "control or invisible"),
        (entry(identity='"ad\\uff41"'), "NFKC"),
        (entry(roles="[]"), "at least one role"),
        (entry(roles='"verifier"'), "at least one role"),
        (entry(roles="[1]"), "at least one role"),
        (entry(roles='["root"]'), "unknown role root"),
        (entry(roles='["verifier", "verifier"]'), "twice"),
        (entry(not_before='"2026-01-01"'), "not_before: .* is not a UTC time"),
        (entry(not_before='"2026-13-01T00:00:00Z"'), "not_before: .* is not a UTC time"),
        (entry(not_after='"2026-01-01T00:00:00+00:00"'), "not_after: .* is not a UTC time"),
        (entry(not_after='"2026-01-01T00:00:00.5Z"'), "not_after: .* is not a UTC time"),
        (entry(revoked_at='"yesterday"'), "revoked_at: .* is not a UTC time"),
        (entry(not_before="2026-01-01T00:00:00Z"), "not_before: must be a string in quotes"),
        (
            entry(not_before='"2026-01-02T00:00:00Z"', not_after='"2026-01-01T00:00:00Z"'),
            "is after not_after",
        ),
        (entry(public='"no key"'), "not a public key"),
        (entry(public='"-----BEGIN PRIVATE KEY-----"'), "this is a private key"),
        (rsa_entry(), "RSA"),
        (curve_entry(), "secp521r1"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_entry(tmp_path, text, said):
    path = tmp_path / "trust.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        trust.read_trust(path)
    assert str(path) in str(caught.value)
    if text.startswith("[[key]]"):
        assert "key 1 (" in str(caught.value) or "key 2 (" in str(caught.value)


VALID = (entry(identity='"ada"', not_after='"2027-01-01T00:00:00Z"') + "# end\n").encode()


@given(st.integers(0, len(VALID) - 1), st.integers(1, 255))
def test_a_changed_byte_never_makes_another_key_or_role_of_it(position, mask):
    changed = bytearray(VALID)
    changed[position] ^= mask
    try:
        (key,) = trust.parse_trust(changed.decode(errors="replace"), "t").keys or (None,)
    except UsageError:
        return
    assert key is None or (key.keyid, key.public, key.roles) == (
        PUBLIC.keyid,
        PUBLIC,
        ("verifier",),
    )


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    for candidate in (text, f"key = {text}", f"[[key]]\nid = {text}", f"[[key]]\n{text} = 1"):
        with contextlib.suppress(UsageError):
            trust.parse_trust(candidate, "t")


def test_a_file_nested_without_end_is_refused():
    with pytest.raises(UsageError, match="not TOML"):
        trust.parse_trust("key = " + "[" * 100_000, "t")


def test_an_absent_or_empty_file_trusts_nobody_and_a_binary_one_is_refused(tmp_path):
    path = tmp_path / "trust.toml"
    assert trust.read_trust(path).keys == ()
    path.write_text("# nobody yet\n")
    assert trust.read_trust(path).keys == ()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        trust.read_trust(path)
    with pytest.raises(UsageError, match="directory"):
        trust.read_trust(tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "Ada\x07"}, "control"),
        ({"identity": "a b"}, "blanks"),
        ({"roles": ("root",)}, "unknown role"),
        ({"roles": ()}, "at least one role"),
        ({"not_after": "2026-01-01"}, "not a UTC time"),
        ({"not_after": "2020-01-01T00:00:00Z"}, "is after not_after"),
    ],
)
def test_nothing_is_added_that_could_not_be_read(tmp_path, fields, said):
    path = tmp_path / "trust.toml"
    with pytest.raises(UsageError, match=said):
        added(path, **fields)
    assert not path.exists()


def test_a_file_that_lists_its_keys_otherwise_is_left_as_it_is(tmp_path):
    path = tmp_path / "trust.toml"
    path.write_text("key = []\n")
    with pytest.raises(UsageError, match="not TOML"):
        added(path)
    assert path.read_text() == "key = []\n"


def test_a_revocation_keeps_comments_and_everything_else(tmp_path):
    path = tmp_path / "trust.toml"
    added(path)
    added(path, OTHER, name="Größe O'Neil")
    text = path.read_text().replace("[[key]]", "# reviewed 2026-01-01, ticket 7\n[[key]]", 1)
    path.write_text(text)
    key = trustfile.revoke(path, PUBLIC.keyid[:8].upper(), "2026-05-01T00:00:00Z", "laptop stolen")
    assert (key.revoked_at, key.revocation_reason) == ("2026-05-01T00:00:00Z", "laptop stolen")
    lines = set(text.splitlines())
    after = path.read_text().splitlines()
    assert lines <= set(after)
    assert [line for line in after if line not in lines] == [
        'revoked_at = "2026-05-01T00:00:00Z"',
        'revocation_reason = "laptop stolen"',
    ]
    assert not trustfile.pick(trust.read_trust(path), OTHER.keyid).revoked_at
    with pytest.raises(UsageError, match=r"revoked at .* already"):
        trustfile.revoke(path, PUBLIC.keyid, "2026-06-01T00:00:00Z", "")


def test_a_prefix_must_name_one_key(tmp_path):
    path = tmp_path / "trust.toml"
    key = added(path)
    with pytest.raises(UsageError, match="at least 8"):
        trustfile.revoke(path, PUBLIC.keyid[:7], trust.now(), "")
    with pytest.raises(UsageError, match="no key with id"):
        trustfile.revoke(path, "f" * 64, trust.now(), "")
    twin = dataclasses.replace(key, keyid=key.keyid[:8] + "0" * 56)
    with pytest.raises(UsageError, match="2 keys with id"):
        trustfile.pick(trust.Trust((key, twin), "t"), key.keyid[:8])


def test_a_linked_trust_file_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "trust.toml"
    link.symlink_to(tmp_path / "real" / "trust.toml")
    added(link)
    trustfile.revoke(link, PUBLIC.keyid, "2026-05-01T00:00:00Z", "")
    assert link.is_symlink()
    assert trust.read_trust(tmp_path / "real" / "trust.toml").keys[0].revoked_at


def test_writers_at_once_lose_nothing(tmp_path):
    """Threads here and a second process write one file; every key is there in the end."""
    path = tmp_path / "trust.toml"
    script = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from securesystemslib.signer import CryptoSigner
        from harness.attestations import trustfile
        for n in range(10):
            public = CryptoSigner.generate_ed25519().public_key
            trustfile.add(Path(sys.argv[1]), public, f"process {n}", ("verifier",))
        """
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(path)])

    def write(n):
        for i in range(5):
            added(path, CryptoSigner.generate_ed25519().public_key, name=f"thread {n} {i}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait(60) == 0
    assert len(trust.read_trust(path).keys) == 25
    assert [p.name for p in tmp_path.iterdir()] == ["trust.toml"], "no lock or part is left"


KEY = trust.TrustedKey(
    "ab" * 32, PUBLIC, "Ada", ("verifier",), "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"
)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("2026-06-01T00:00:00Z", ""),
        ("2026-06-01T00:00:00.123Z", ""),
        ("", "without a time"),
        ("soon", "no UTC time"),
        ("2026-06-01T00:00:00", "no UTC time"),
        ("2025-12-31T23:59:59Z", "valid only from"),
        ("2026-01-01T05:00:00+09:00", "valid only from"),
        ("2026-12-31T00:00:01Z", "expired"),
        ("2026-12-30T23:00:00-05:00", "expired"),
    ],
)
def test_validity_is_decided_on_moments_and_not_on_texts(when, said):
    found = KEY.refusal("verifier", when)
    assert said in found if said else not found


def test_states():
    assert KEY.state("2026-06-01T00:00:00Z") == "valid"
    assert KEY.state("2025-06-01T00:00:00Z") == "not yet"
    assert KEY.state("2027-06-01T00:00:00Z") == "expired"
    gone = dataclasses.replace(KEY, revoked_at="2026-05-01T00:00:00Z")
    assert gone.state("2026-04-01T00:00:00Z") == "revoked"
    assert "revoked" in gone.refusal("verifier", "2026-04-01T00:00:00Z")


@given(st.text(max_size=40))
def test_any_name_is_kept_as_it_is_or_refused(text):
    try:
        trust.printable("name", text, 120)
    except ValueError:
        return
    assert text == text.strip()
    assert len(text.splitlines()) == 1
