"""Dossiers made of real domain values: a good one, an unverified one, a hostile one."""

import dataclasses
from pathlib import Path

from harness.attestations import keys
from harness.dossier.model import Dossier
from harness.files import root_digest
from harness.model import (
    CodeRef,
    DataObject,
    EnvironmentRecord,
    FileEntry,
    Hardware,
    Lineage,
    Package,
    Profile,
    Role,
    Version,
)
from harness.record import canonical, digest, plain

EVIL = "<script>alert(1)</script>\x1b[31m\u202e\"'\n${x}{{7*7}}"
RECIPE = """schema = 1
name = "credit"
[train]
command = ["python", "train.py", "--trees", "120"]
[environment]
lock = "requirements.lock"
python = "3.11"
[[output]]
path = "model.safetensors"
role = "model"
tolerance = { rtol = 1e-6, atol = 0.0, rationale = "sums of floats in another order" }
[[output]]
path = "metrics.json"
role = "metrics"
"""
KEYIDS = {"rita": "1" * 64, "vera": "2" * 64, "ada": "3" * 64}
OUTPUTS = (
    FileEntry("metrics.json", 120, "c" * 64, Role.METRICS),
    FileEntry("model.safetensors", 2048, "a" * 64),
    FileEntry("sub/größe.json", 64, "b" * 64),
)


def lineage(**changes):
    packages = tuple(Package(f"package-{i:02}", f"1.{i}") for i in range(30))
    hardware = Hardware("x86_64", "Xeon", ("avx2",), "AVX2", {"OMP_NUM_THREADS": 1})
    found = Lineage(
        "recorded",
        CodeRef("https://git.example/credit.git", "d" * 40, "e" * 40),
        "recipe.toml",
        RECIPE,
        (DataObject("data/loans.csv", 277551, "f" * 32, "9" * 64, "data.dvc", "store"),),
        EnvironmentRecord("venv", "requirements.lock", "8" * 64, "3.11.7", inventory=packages),
        Profile(seed=20260901),
        hardware,
        OUTPUTS,
        root_digest(f for f in OUTPUTS if f.role == Role.MODEL),
        "bubblewrap",
        started_at="2026-11-01T10:00:00Z",
        finished_at="2026-11-01T10:01:30Z",
        author="Dora Dev <dora@bank.example>",
        annotations={"metrics": {"auc": 0.7127, "log_loss": 0.504}, "params": {"trees": "120"}},
        version=Version("sqlite:///r.db", "credit", "3"),
    )
    return dataclasses.replace(found, **changes)


def record(made=None, outcome="REPRODUCED", grade="TOLERANCE", **changes):
    made = plain(made or lineage())
    close = {"values": 666, "differing": 12, "beyond": 0, "max_abs": 1e-9, "max_rel": 3e-8}
    close |= {"rel_l2": 2e-9, "first": [0, 3], "rtol": 1e-6, "atol": 0.0}
    layer = {"name": "encoder.weight", "status": "WITHIN_TOLERANCE", "distances": close}
    aside = [{"what": "header order", "why": "a map has no order"}]
    tree = {"name": "model.safetensors", "status": "WITHIN_TOLERANCE", "children": [layer]}
    tree |= {"set_aside": aside}
    same = {"name": "metrics.json", "status": "IDENTICAL", "children": []}
    run = {"exit_status": 0, "seconds": 91.5, "sandbox": "bubblewrap", "outputs": []}
    run |= {"started_at": "2026-11-02T09:00:00Z", "finished_at": "2026-11-02T09:01:31Z"}
    run |= {"bootstrap": {"pinned": True}, "unlimited": ["pids"], "log_tail": "done"}
    found = {
        "schema": 1,
        "id": "20261102-090000-aaaaaa",
        "model": "credit",
        "version": "3",
        "outcome": outcome,
        "grade": grade if outcome == "REPRODUCED" else None,
        "cause": "STABLE" if outcome == "DIVERGED" else None,
        "conditional": ["interpreter patch: 3.11.7 was recorded, 3.11.9 ran"],
        "reasons": [],
        "stages": [{"name": "retrain", "status": "done", "seconds": 91.5}],
        "lineage": made,
        "lineage_digest": "7" * 64,
        "environment": {
            "recorded": made["environment"],
            "reproduced": {**made["environment"], "python": "3.11.9"},
        },
        "hardware": {"recorded": made["hardware"], "reproduced": made["hardware"]},
        "runs": [run],
        "artifacts": [
            {
                "path": "model.safetensors",
                "role": "model",
                "grade": grade,
                "recorded_sha256": "a" * 64,
                "reproduced_sha256": "5" * 64,
                "distances": close,
                "difference": tree,
            },
            {
                "path": "metrics.json",
                "role": "metrics",
                "grade": "BITWISE",
                "recorded_sha256": "c" * 64,
                "reproduced_sha256": "c" * 64,
                "distances": None,
                "difference": same,
            },
        ],
        "policy": {"uri": "policy.toml", "digest": "6" * 64},
        "comparators": ["safetensors@1", "json@1"],
        "created_at": "2026-11-02T09:01:40Z",
        "registry": "sqlite:///r.db",
        "previous_record_digest": "",
        "verifier": {"keyid": KEYIDS["vera"], "tool": "repro-harness 0.1.0", "host": "h"},
    }
    return {**found, **changes}


def approval(**changes):
    found = {"decision": "approved", "stage": "Production", "printed_name": "Ada Approver"}
    found |= {"identity": "ada@bank.example", "keyid": KEYIDS["ada"], "digest": "4" * 64}
    found |= {"created_at": "2026-11-03T08:00:00Z", "reason": "validation report 17 read"}
    found |= {"meaning": "approval", "record_digest": "0" * 64, "policy_digest": "6" * 64}
    return {**found, **changes}


def move(version, stage, at, kind="promote", before="", **changes):
    found = {"alias": stage.lower(), "stage": stage, "version": version, "kind": kind}
    found |= {"previous_version": before, "created_at": at, "printed_name": "Ada Approver"}
    found |= {"identity": "ada@bank.example", "keyid": KEYIDS["ada"], "reason": "released"}
    return {**found, "digest": digest(canonical([version, stage, at])), **changes}


MOVES = (
    move("2", "Staging", "2026-10-01T08:00:00Z"),
    move("2", "Production", "2026-10-02T08:00:00Z"),
    move("3", "Staging", "2026-11-02T10:00:00Z"),
    move("3", "Production", "2026-11-03T09:00:00Z", before="2"),
    move("2", "Archived", "2026-11-03T09:00:00Z", kind="archive"),
)


def dossier(**changes):
    """Return a version that was verified twice, approved and promoted."""
    made = lineage()
    records = [
        record(made, "DIVERGED", created_at="2026-11-01T12:00:00Z"),
        record(made),
    ]
    listed = tuple((digest(canonical(r)), r) for r in records)
    waiver = {"code": "gap:author", "stage": "Production", "reason": "known", "digest": "4" * 64}
    waiver |= {"printed_name": "Ada Approver", "identity": "ada@bank.example"}
    waiver |= {"created_at": "2026-11-03T08:00:00Z", "expires_at": "2027-01-01T00:00:00Z"}
    found = Dossier(
        question={
            "registry": "sqlite:///r.db",
            "model": "credit",
            "version": "3",
            "asked": {"alias": "production", "at": "2026-11-04T12:00:00Z"},
        },
        stage="Production",
        intended_use="refuse or grant consumer loans up to 20 000 EUR",
        owner="Retail Credit",
        risk_tier="1",
        lineage=plain(made),
        lineage_digest="7" * 64,
        records=listed,
        deciding=listed[-1][0],
        decision={"meets": True, "reasons": [], "policy_digest": "6" * 64, "exit_code": 0},
        policy={"uri": "policy.toml", "digest": "6" * 64, "text": "schema = 1\n# ours\n"},
        approvals=(approval(record_digest=listed[-1][0]),),
        waivers=(waiver,),
        moves=MOVES,
        problems=(),
        notes=(),
        made_at="2026-11-23T10:00:00Z",
        tool="repro-harness 0.1.0",
    )
    return dataclasses.replace(found, **changes)


def unverified():
    """Return a version of which only the lineage is known."""
    return dossier(
        records=(),
        deciding="",
        approvals=(),
        waivers=(),
        moves=(),
        stage="Development",
        intended_use="",
        owner="",
        risk_tier="",
        decision={"meets": False, "reasons": ["no evidence"], "policy_digest": "6" * 64},
    )


def bare():
    """Return a version of which nothing at all is known."""
    return dataclasses.replace(unverified(), lineage={}, lineage_digest="", problems=("forged",))


def evil(value):
    """Return a value with every text in it replaced by a hostile one, times and digests too."""
    if isinstance(value, dict):
        return {k: evil(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(evil(v) for v in value)
    return EVIL if isinstance(value, str) else value


def hostile():
    """Return the good dossier with hostile text everywhere but in what decides its shape."""
    good = dossier()
    changed = {f.name: evil(getattr(good, f.name)) for f in dataclasses.fields(good)}
    bad = record(evil(plain(lineage())) | {"origin": "recorded"})
    bad = {**evil(bad), "outcome": "REPRODUCED", "created_at": "2026-11-02T09:01:40Z"}
    changed |= {"records": ((EVIL, bad),), "deciding": EVIL, "made_at": good.made_at}
    return Dossier(**changed)


def trusted(tmp_path: Path):
    """Return a trust file's bytes that names a key, as a dossier carries it."""
    path = tmp_path / "trust.toml"
    signer = keys.create(tmp_path / "key.pem").signer
    keys.add(path, signer.public_key, "Ada Approver", ("approver",), identity="ada@bank.example")
    return path.read_bytes()
