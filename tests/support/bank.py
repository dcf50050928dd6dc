"""Three people with a key each over one real registry; verdicts are signed, not trained.

The training has its own end-to-end tests: here a record is written as `verify` writes it, with
the same functions, so that a hundred attacks on it do not need a hundred trainings.
"""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import evidence, policy, policyfile
from harness.attestations import dsse, keys, statements
from harness.files import entries, root_digest, walk
from harness.lineages import LINEAGE, tags
from harness.model import (
    CodeRef,
    EnvironmentRecord,
    Hardware,
    Lineage,
    Outcome,
    Profile,
    Role,
    Verdict,
)
from harness.record import canonical, digest, plain
from harness.registries.base import NewVersion
from harness.registries.mlflow import MlflowRegistry

RECIPE = """schema = 1
name = "m"
[train]
command = ["python", "train.py"]
[environment]
lock = "requirements.lock"
python = "3.11"
[[output]]
path = "model.bin"
role = "model"
"""
PEOPLE = {
    "rita": ("Rita Recorder", "rita@bank.example", ("recorder",)),
    "vera": ("Vera Verifier", "vera@bank.example", ("verifier",)),
    "otto": ("Otto Verifier", "otto@bank.example", ("verifier",)),
    "ada": ("Ada Approver", "ada@bank.example", ("approver",)),
    "alan": ("Alan Approver", "alan@bank.example", ("approver",)),
}
HARDWARE = Hardware("x86_64", "cpu", (), "AVX2")


@dataclass
class Bank:
    """A registry and the people around it, each with a home of their own."""

    root: Path
    uri: str
    keys: dict = field(default_factory=dict)

    def __post_init__(self):
        self.trust_file = self.root / "trust.toml"
        for person, (name, identity, roles) in PEOPLE.items():
            home = self.root / person
            self.keys[person] = keys.create(home / "keys" / "local.pem")
            public = self.keys[person].signer.public_key
            keys.add(
                self.trust_file,
                public,
                name,
                roles,
                identity=identity,
                not_before="2026-01-01T00:00:00Z",
            )
        self.registry = MlflowRegistry(self.uri, self.root / "rita")

    @property
    def trust(self):
        return keys.read_trust(self.trust_file)

    def signing(self, person):
        return evidence.Signing(self.keys[person], self.trust, self.root / person / "records")

    def version(self, name="M", content=b"weights", author="Dora Dev <dora@bank.example>"):
        """Register a version with its signed lineage."""
        folder = self.root / f"new-{digest(content)[:8]}"
        folder.mkdir(exist_ok=True)
        (folder / "model.bin").write_bytes(content)
        version = self.registry.register(NewVersion(name, folder, None, {"auc": 0.9}, {}, {}))
        files = entries(folder, walk(folder), Role.MODEL)
        lineage = Lineage(
            "recorded",
            CodeRef("https://git.example/m.git", "a" * 40, "b" * 40),
            "recipe.toml",
            RECIPE,
            (),
            EnvironmentRecord("venv", "requirements.lock", "c" * 64, "3.11.7"),
            Profile(),
            HARDWARE,
            files,
            root_digest(files),
            "bubblewrap",
            started_at="2026-11-01T10:00:00Z",
            finished_at="2026-11-01T10:01:00Z",
            author=author,
            version=version,
        )
        envelope = dsse.sign(statements.provenance(lineage), self.keys["rita"])
        self.registry.put_documents(
            version, "lineage", {LINEAGE: envelope}, tags(lineage, digest(envelope))
        )
        return version

    def lineage(self, version):
        data = self.registry.documents(version, "lineage")[LINEAGE]
        found, _ = dsse.verify(data, self.trust, "recorder")
        return statements.lineage(found, version), digest(data)

    def judged(self, version, person="vera", verdict=None, grade="BITWISE", **changes):
        """Sign and publish a record of a version, as `verify` does at its end."""
        verdict = verdict or Verdict(Outcome.REPRODUCED, grade)
        lineage, name = self.lineage(version)
        signing = self.signing(person)
        known = evidence.trusted_records(version, self.registry, signing)
        number = len(known) + 1
        rules = policyfile.built_in()
        body = {
            "id": f"run-{version.number}-{number}",
            "stages": [],
            "lineage": lineage,
            "lineage_digest": name,
            "environment": {"recorded": lineage.environment, "reproduced": lineage.environment},
            "runs": [{"sandbox": "bubblewrap"}],
            "artifacts": [
                {
                    "path": "model.bin",
                    "role": "model",
                    "grade": grade,
                    "recorded_sha256": lineage.outputs[0].sha256,
                    "reproduced_sha256": lineage.outputs[0].sha256,
                    "distances": {},
                    "difference": {"name": "model.bin", "comparator": "bytes", "children": []},
                }
            ],
            "hardware": {"recorded": HARDWARE, "reproduced": HARDWARE},
            "policy": {"uri": rules.uri, "digest": rules.digest},
            "comparators": ("bytes@1",),
            "created_at": keys.now(),
            **changes,
        }
        previous = evidence.previous(known, signing.key.keyid)
        record = plain(evidence.finish(body, verdict, version, signing, previous))
        if "host" in changes:
            record["verifier"]["host"] = changes["host"]
        decision = policy.decide(rules, record)
        finished = evidence.save(record, decision, lineage, version, signing, {})
        evidence.publish(finished, version, self.registry)
        return finished.digest

    def policy(self, text):
        path = self.root / "policy.toml"
        path.write_text(text)
        return path


def cli(bank, monkeypatch, capsys):
    """Return a function that runs a command line as one of the people."""
    from harness.cli import run

    for name in ("MLFLOW_TRACKING_URI", "GITHUB_ACTIONS", "HARNESS_POLICY", "HARNESS_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(person, *words):
        monkeypatch.setenv("HARNESS_HOME", str(bank.root / person))
        monkeypatch.setenv("HARNESS_REGISTRY", bank.uri)
        monkeypatch.setenv("HARNESS_TRUST", str(bank.trust_file))
        if (bank.root / "policy.toml").exists():
            monkeypatch.setenv("HARNESS_POLICY", str(bank.root / "policy.toml"))
        capsys.readouterr()
        code = run([*map(str, words), "--json", "--quiet"])
        out = capsys.readouterr()
        return code, (json.loads(out.out) if out.out.strip() else {}), out.err

    return call


def forged(data, change):
    """Return an envelope whose payload was edited, with its old signature."""
    import base64

    envelope = json.loads(data)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement)
    envelope["payload"] = base64.b64encode(canonical(statement)).decode()
    return canonical(envelope)


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    from harness.registries.mlflow import MlflowRegistry

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowRegistry(f"sqlite:///{path}", path.parent)._client.search_registered_models()
    return path


@pytest.fixture
def bank(tmp_path, empty_registry):
    shutil.copy(empty_registry, tmp_path / "mlflow.db")
    return Bank(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def run(bank, monkeypatch, capsys):
    return cli(bank, monkeypatch, capsys)


@pytest.fixture
def gate(run):
    """Ask the gate as the CI's verifier; return the exit code and the codes of what is against."""

    def ask(version, to="Staging", *words):
        code, answer, err = run("vera", "gate", version.uri, "--to", to, *words)
        assert answer, err
        return code, {f["code"] for f in answer["findings"] if not f["waived"]}, answer

    return ask
