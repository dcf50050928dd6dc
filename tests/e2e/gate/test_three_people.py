"""Record, verify, approve, promote, roll back and audit as three people, through a real server."""

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.mlflow_server import mlflow_url  # noqa: F401
from support.projects import SCRIPT
from support.projects import project as make_project

POLICY = """schema = 1
minimum_grade = "EXACT"
[[rule]]
models = ["Credit*"]
stages = ["Staging"]
max_age = "7d"
[[rule]]
models = ["Credit*"]
stages = ["Production"]
max_age = "7d"
approvals = 1
"""
PEOPLE = {
    "dora": ("Dora Developer", ["recorder"]),
    "vera": ("Vera Verifier", ["verifier"]),
    "ada": ("Ada Approver", ["approver"]),
}


@pytest.fixture
def people(tmp_path, mlflow_url, monkeypatch, capsys):  # noqa: F811
    """Return a command line per person: an own home and key, one server, one trust file."""
    from harness.cli import run

    caches = tmp_path / "caches"
    for name in ("HARNESS_HOME", "HARNESS_POLICY", "MLFLOW_TRACKING_URI", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_REGISTRY", mlflow_url)
    monkeypatch.setenv("HARNESS_RUNTIME", "venv")
    monkeypatch.setenv("HARNESS_TRUST", str(tmp_path / "trust.toml"))
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)

    def call(person, *words):
        monkeypatch.setenv("HARNESS_HOME", str(tmp_path / person))
        monkeypatch.setenv("HARNESS_POLICY", str(tmp_path / "policy.toml"))
        monkeypatch.setenv("HARNESS_KEY_FILE", str(tmp_path / person / "keys" / f"{person}.pem"))
        capsys.readouterr()
        code = run([*map(str, words), "--json", "--quiet"])
        out = capsys.readouterr()
        return code, (json.loads(out.out) if out.out.strip() else {}), out.err

    for person, (name, roles) in PEOPLE.items():
        (tmp_path / person).mkdir()
        for cache in ("wheels", "envs", "uv"):
            (caches / cache).mkdir(parents=True, exist_ok=True)
            (tmp_path / person / cache).symlink_to(caches / cache)
        monkeypatch.delenv("HARNESS_KEY_FILE", raising=False)
        monkeypatch.setenv("HARNESS_HOME", str(tmp_path / person))
        assert run(["keys", "new", person]) == 0
        words = ["keys", "trust", str(tmp_path / person / "keys" / f"{person}.pub")]
        words += ["--name", name, "--identity", f"{person}@bank.example"]
        assert run([*words, *(w for r in roles for w in ("--role", r))]) == 0
    return call


def test_the_whole_path(people, tmp_path):
    made = make_project(tmp_path / "project", SCRIPT)
    name = "Credit-three-people"
    for number in ("1", "2"):
        code, answer, err = people("dora", "record", "--model", name, made.root)
        assert code == 0, err
        assert answer["version"] == number
        uri = f"models:/{name}/{number}"
        # Dora's key may record, and nothing else.
        assert people("dora", "promote", uri, "--to", "Staging")[0] == 5
        assert people("vera", "gate", uri, "--to", "Staging")[0] == 5
        code, answer, err = people("vera", "verify", uri)
        assert (code, answer["grade"]) == (0, "BITWISE"), err
        assert people("vera", "promote", uri, "--to", "Staging")[0] == 0
        assert people("vera", "promote", uri, "--to", "Production")[0] == 5
        assert people("vera", "approve", uri, "--to", "Production", "--reason", "mine")[0] == 5
        code, answer, err = people("ada", "approve", uri, "--to", "Production", "--reason", "ok")
        assert (code, answer["counts"]) == (0, True), err
        code, answer, err = people("vera", "promote", uri, "--to", "Production")
        assert code == 0, err
        if number == "1":
            time.sleep(1.1)
            then = datetime.now(UTC).isoformat()
            time.sleep(1.1)
    assert answer["replaced"] == "1"
    code, answer, err = people(
        "vera",
        "promote",
        f"models:/{name}@production",
        "--to",
        "Production",
        "--rollback",
        "--reason",
        "drift in the second version",
    )
    assert (code, answer["version"], answer["kind"]) == (0, "1", "rollback"), err
    assert people("vera", "gate", f"models:/{name}@production", "--to", "Production")[0] == 0
    ask = ("audit", name, "--alias", "production", "--at", then, "--verify")
    code, answer, err = people("vera", *ask, "-o", tmp_path / "paper" / "dossier.zip")
    assert (code, answer["version"]) == (0, "1"), (answer, err)
    assert people("vera", "history", f"models:/{name}/1")[1]["rows"][1:], "it was made again"
    shutil.copy(tmp_path / "trust.toml", tmp_path / "paper")
    code, answer = ten_years_later(tmp_path / "paper", tmp_path)
    assert (code, answer["whole"], answer["version"]) == (0, True, "1"), answer
    assert any("Ada Approver signed approval for Production" in line for line in answer["proves"])


def ten_years_later(paper, gone):
    """Check the dossier where there is no network, no registry, no repository and no home."""
    command = ["bwrap", "--unshare-net", "--clearenv", "--setenv", "HARNESS_HOME", "/mnt/none"]
    command += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    # Everything that the three people had is out of reach; the dossier and the trust file stay.
    command += ["--tmpfs", "/mnt", "--ro-bind", str(paper), "/mnt/paper", "--tmpfs", str(gone)]
    command += [str(Path(sys.executable).with_name("harness")), "audit-verify", "--json", "--quiet"]
    command += ["/mnt/paper/dossier.zip", "--trust", "/mnt/paper/trust.toml"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr
