"""`harness keys`: the whole way of a key through the command line."""

import json
import subprocess
from pathlib import Path

import pytest

from harness.attestations import files, keys
from harness.attestations.dsse import BadEvidence
from harness.cli import run


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    monkeypatch.setenv("HARNESS_HOME", str(home))
    for name in ("HARNESS_TRUST", "HARNESS_KEY_FILE", "HARNESS_SIGNING_KEY", "HARNESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = run(["keys", *map(str, words)])
        out = capsys.readouterr()
        found = json.loads(out.out) if "--json" in words and not code else out.out
        return code, found, out.err

    return call


def test_the_way_of_a_key(cli, tmp_path):
    code, made, _ = cli("new", "ada", "--json")
    assert code == 0
    private, public = Path(made["private"]), Path(made["public"])
    assert private == tmp_path / "home/keys/ada.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    assert public.name == "ada.pub"
    assert public.read_text().startswith("-----BEGIN PUBLIC KEY-----")
    more = ("--identity", "ada@bank.example", "--role", "verifier", "--role", "approver")
    code, row, _ = cli("trust", public, "--name", "Ada Lovelace", *more, "--json")
    assert code == 0
    assert row["keyid"] == made["keyid"]
    code, answer, _ = cli("list", "--json")
    (key,) = answer["keys"]
    expected = {"keyid", "name", "identity", "roles", "not_before", "not_after", "revoked_at"}
    assert set(key) == expected | {"state"}
    assert (key["state"], key["roles"]) == ("valid", ["verifier", "approver"])
    assert answer["signing"] is None
    code, _, err = cli("trust", public, "--name", "Ada Again", "--role", "policy")
    assert code == 2
    assert "trusted already" in err
    code, row, _ = cli("revoke", made["keyid"][:8], "--reason", "left the bank", "--json")
    assert (code, row["state"]) == (0, "revoked")
    code, text, _ = cli("list")
    assert "Ada Lovelace" in text
    assert "revoked" in text
    assert cli("revoke", made["keyid"])[0] == 2


def test_nothing_is_overwritten(cli, tmp_path):
    assert cli("new", "ada")[0] == 0
    before = (tmp_path / "home/keys/ada.pem").read_bytes()
    assert cli("new", "ada")[0] == 2
    (tmp_path / "home/keys/ada.pub").unlink()
    assert cli("new", "ada")[0] == 2
    assert (tmp_path / "home/keys/ada.pem").read_bytes() == before
    (tmp_path / "b.pub").write_text("mine")
    assert cli("new", "b", "-o", tmp_path / "b.pem")[0] == 2
    assert not (tmp_path / "b.pem").exists()
    assert cli("new", "c", "-o", tmp_path / "c.pub")[0] == 2


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_a_key_name_is_no_path(cli, name):
    code, _, err = cli("new", name)
    assert code == 2
    assert "key name" in err


def test_the_public_part_is_what_openssl_reads(cli, tmp_path):
    for algorithm in keys.ALGORITHMS:
        cli("new", algorithm, "--algorithm", algorithm, "-o", tmp_path / f"{algorithm}.pem")
        command = ["openssl", "pkey", "-in", str(tmp_path / f"{algorithm}.pem"), "-pubout"]
        done = subprocess.run(command, capture_output=True, check=True)
        assert done.stdout == (tmp_path / f"{algorithm}.pub").read_bytes()


def test_a_private_key_is_not_trusted_and_not_shown(cli, tmp_path):
    cli("new", "ada")
    private = tmp_path / "home/keys/ada.pem"
    code, out, err = cli("trust", private, "--name", "Ada", "--role", "verifier")
    assert code == 2
    assert "private key" in err
    assert private.read_text().splitlines()[1] not in out + err
    assert not (tmp_path / "home/trust.toml").exists()


def test_an_approver_without_an_identity_is_warned_about(cli):
    _, made, _ = cli("new", "ada", "--json")
    _, row, _ = cli("trust", "ada.pub", "--name", "Ada", "--role", "approver", "--json")
    assert "four-eyes" in row["warnings"][0]
    assert (row["roles"], row["keyid"]) == (["approver"], made["keyid"])
    assert cli("trust", "bob.pub", "--name", "Bob", "--role", "approver")[0] == 2


def test_a_revocation_in_the_future_is_refused(cli, tmp_path):
    _, made, _ = cli("new", "ada", "--json")
    cli("trust", made["public"], "--name", "Ada", "--role", "verifier")
    code, _, err = cli("revoke", made["keyid"], "--at", "2999-01-01T00:00:00Z")
    assert code == 2
    assert "not_after" in err
    assert cli("revoke", made["keyid"], "--at", "yesterday")[0] == 2


def test_the_public_part_of_this_machines_own_key_can_be_trusted_elsewhere(cli, tmp_path):
    mine = keys.local(tmp_path / "home")
    operators = tmp_path / "operators.toml"
    public = keys.read_trust(tmp_path / "home/trust.toml").keys[0].public
    beside = tmp_path / "home/keys/local.pub"
    assert beside.read_bytes() == keys.public_pem(public)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_TRUST", str(operators))
        assert cli("trust", "local.pub", "--name", "CI", "--role", "verifier")[0] == 0
    assert keys.read_trust(operators).keys[0].keyid == mine.keyid


def test_a_trust_file_that_is_not_there_is_no_verdict_on_a_model(
    cli, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HARNESS_TRUST", str(tmp_path / "typo.toml"))
    assert run(["history", "M"]) == 2
    assert "$HARNESS_TRUST" in capsys.readouterr().err
    (tmp_path / "policy.toml").write_text("schema = 1\n")
    assert cli("sign", "policy.toml")[0] == 0


def test_the_list_says_which_key_signs_and_what_is_wrong_with_it(cli, tmp_path, monkeypatch):
    _, made, _ = cli("new", "ada", "--json")
    monkeypatch.setenv("HARNESS_KEY_FILE", made["private"])
    assert cli("list", "--json")[1]["signing"]["keyid"] == made["keyid"]
    Path(made["private"]).chmod(0o644)
    assert "others can read" in cli("list", "--json")[1]["signing_problem"]
    monkeypatch.setenv("HARNESS_SIGNING_KEY", "nonsense")
    assert "HARNESS_SIGNING_KEY" in cli("list")[1]


def test_a_signed_policy_is_accepted_and_a_changed_one_is_not(cli, tmp_path, monkeypatch):
    _, made, _ = cli("new", "grace", "--json")
    (tmp_path / "harness.toml").write_text('key = "home/keys/grace.pem"\n')
    policy = tmp_path / "policy.toml"
    policy.write_text("schema = 1\n")
    code, answer, _ = cli("sign", policy, "--json")
    assert code == 0
    assert "not trusted yet" in answer["warnings"][0]
    cli("trust", made["public"], "--name", "Grace Hopper", "--role", "policy")
    code, answer, _ = cli("sign", policy, "--json")
    assert (code, answer["warnings"], answer["keyid"]) == (0, [], made["keyid"])
    envelope = (tmp_path / "policy.toml.intoto.json").read_bytes()
    trust = keys.read_trust(tmp_path / "home/trust.toml")
    assert files.verify_file(policy.read_bytes(), envelope, trust, "policy").name == "Grace Hopper"
    with pytest.raises(BadEvidence, match="not the one that was signed"):
        files.verify_file(b"schema = 2\n", envelope, trust, "policy")
    assert cli("sign", tmp_path / "absent.toml")[0] == 2
