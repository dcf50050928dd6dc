"""A dossier with every kind of fact in it, and the ways in which one can be hostile or empty."""

import pytest

from harness.dossier.model import Dossier

SHA = {name: digit * 64 for name, digit in zip("abcdef", "123456", strict=True)}
VERA, ADA, ALAN = "a1" * 32, "b2" * 32, "c3" * 32
PEOPLE = {VERA: "Vera Verifier"}
RECIPE = """schema = 1
name = "credit"
[train]
command = ["python", "train.py", "--trees", "120"]
[environment]
lock = "requirements.lock"
python = "3.11"
[[output]]
path = "metrics.json"
role = "metrics"
tolerance = { rtol = 1e-6, ignore = ["train_seconds"], rationale = "summation order" }
"""


def environment(**changes):
    return {
        "runtime": "venv",
        "lock_path": "requirements.lock",
        "lock_sha256": SHA["c"],
        "python": "3.11.7",
        "base": "",
        "image": "",
        "content_digest": SHA["d"],
        "inventory": [
            {"name": "numpy", "version": "2.4.6"},
            {"name": "scikit-learn", "version": "1.9.1"},
        ],
        **changes,
    }


def hardware(**changes):
    return {
        "arch": "x86_64",
        "cpu_model": "Intel Xeon",
        "cpu_flags": ["avx2"],
        "cpu_capability": "AVX2",
        "threads": {"OMP_NUM_THREADS": 1},
        "gpus": [],
        "libraries": {"numpy": "2.4.6"},
        **changes,
    }


def lineage():
    return {
        "origin": "recorded",
        "code": {
            "url": "https://git.example/credit.git",
            "commit": "d568dcc4c6685c8aebe2953ac5cccfd9588ddaa1",
            "tree": "51c294ae2fdb965c4c83d43fc5e55eabbf75a617",
            "folder": ".",
        },
        "recipe_path": "recipe.toml",
        "recipe_text": RECIPE,
        "data": [
            {
                "path": "data/loans.csv",
                "size": 277551,
                "md5": "23" * 16,
                "sha256": SHA["e"],
                "target": "data/loans.csv.dvc",
                "remote": "warehouse",
            }
        ],
        "environment": environment(),
        "profile": {"level": "strict", "seed": 20260902, "threads": 1, "isa": "", "clock": ""},
        "hardware": hardware(),
        "outputs": [
            {"path": "model.onnx", "role": "model", "sha256": SHA["a"], "size": 1505642},
            {"path": "metrics.json", "role": "metrics", "sha256": SHA["b"], "size": 149},
        ],
        "artifact_digest": SHA["f"],
        "sandbox": "bubblewrap",
        "bootstrap": {"pinned": True, "level": "strict"},
        "started_at": "2026-08-30T09:00:00Z",
        "finished_at": "2026-08-30T09:04:00Z",
        "author": "Dora Dev <dora@bank.example>",
        "annotations": {"metrics": {"auc": 0.7127601412408472}, "params": {"trees": "120"}},
    }


def artifact(**changes):
    return {
        "path": "model.onnx",
        "role": "model",
        "grade": "BITWISE",
        "recorded_sha256": SHA["a"],
        "reproduced_sha256": SHA["a"],
        "distances": {},
        "difference": {"name": "model.onnx", "status": "IDENTICAL", "children": []},
        **changes,
    }


def record(**changes):
    return {
        "schema": 1,
        "id": "20260901-1",
        "model": "Credit-Risk",
        "version": "7",
        "outcome": "REPRODUCED",
        "grade": "BITWISE",
        "cause": None,
        "conditional": [],
        "reasons": [],
        "stages": [],
        "lineage": lineage(),
        "environment": {"recorded": environment(), "reproduced": environment()},
        "hardware": {"recorded": hardware(), "reproduced": hardware()},
        "runs": [
            {
                "exit_status": 0,
                "seconds": 240.5,
                "sandbox": "bubblewrap",
                "bootstrap": {"pinned": True},
                "started_at": "2026-09-01T08:00:00Z",
                "finished_at": "2026-09-01T08:04:00Z",
                "unlimited": [],
                "log_tail": "epoch 5",
            }
        ],
        "artifacts": [artifact()],
        "policy": {"uri": "policy.toml", "digest": SHA["d"]},
        "created_at": "2026-09-01T08:05:00Z",
        "previous_record_digest": "",
        "verifier": {"keyid": VERA, "tool": "repro-harness 0.1.0", "host": "3dd217b885f6ae38"},
        **changes,
    }


def tolerated(**changes):
    """Return a record whose metrics differ within tolerance, on another processor."""
    distances = {
        "values": 4,
        "differing": 1,
        "beyond": 0,
        "max_abs": 2.5e-9,
        "max_rel": 3.5e-9,
        "rel_l2": 1.5e-9,
        "first": [2],
        "rtol": 1e-6,
        "atol": 0.0,
    }
    leaf = {
        "name": "auc",
        "status": "WITHIN_TOLERANCE",
        "comparator": "json",
        "values": 1,
        "recorded": "0.71276014",
        "reproduced": "0.71276015",
        "distances": distances,
    }
    tree = {
        "name": "metrics.json",
        "status": "WITHIN_TOLERANCE",
        "values": 4,
        "set_aside": [{"what": "train_seconds", "why": "the recipe ignores it"}],
        "children": [leaf],
    }
    metrics = artifact(
        path="metrics.json",
        role="metrics",
        grade="TOLERANCE",
        recorded_sha256=SHA["b"],
        reproduced_sha256=SHA["c"],
        distances=distances,
        difference=tree,
    )
    return record(
        **{
            "grade": "TOLERANCE",
            "conditional": ["another processor: AMD EPYC"],
            "hardware": {
                "recorded": hardware(),
                "reproduced": hardware(cpu_model="AMD EPYC", cpu_capability="AVX512"),
            },
            "artifacts": [artifact(), metrics],
            **changes,
        }
    )


def diverged(**changes):
    """Return a record of a model that came out different."""
    bad = {
        "values": 100,
        "differing": 90,
        "beyond": 90,
        "max_abs": 0.5,
        "max_rel": 0.25,
        "rel_l2": 0.125,
        "first": [0, 1],
        "histogram": [10, 0, 0, 4, 40, 46],
        "rtol": 0.0,
        "atol": 0.0,
    }
    layers = [
        {"name": f"layer{n}.weight", "status": "DIFFERENT", "values": 50, "distances": bad}
        for n in range(2)
    ]
    tree = {"name": "model.onnx", "status": "DIFFERENT", "values": 100, "children": layers}
    changed = artifact(
        grade="DIFFERENT", reproduced_sha256=SHA["f"], distances=bad, difference=tree
    )
    return record(
        **{
            "outcome": "DIVERGED",
            "grade": None,
            "cause": "FLAKY",
            "reasons": ["0 of 2 runs agree with the recorded version", "DIFFERENT: model.onnx"],
            "artifacts": [changed],
            "runs": [record()["runs"][0]] * 2,
            "created_at": "2026-08-31T07:00:00Z",
            **changes,
        }
    )


def signed(**changes):
    return {
        "printed_name": "Ada Approver",
        "identity": "ada@bank.example",
        "keyid": ADA,
        "created_at": "2026-09-02T10:00:00Z",
        "digest": "d1" * 32,
        "decision": "approved",
        "stage": "Production",
        "reason": "calibration report was handed in",
        "meaning": "approval",
        "record_digest": "e1" * 32,
        "policy_digest": "f1" * 32,
        **changes,
    }


REJECTION = signed(
    printed_name="Alan Approver",
    identity="alan@bank.example",
    keyid=ALAN,
    created_at="2026-09-01T10:00:00Z",
    digest="d2" * 32,
    decision="rejected",
    meaning="rejection",
    reason="calibration report was missing",
)
WAIVER = {
    "printed_name": "Wanda Waiver",
    "identity": "wanda@bank.example",
    "keyid": ALAN,
    "created_at": "2026-09-01T11:00:00Z",
    "digest": "d3" * 32,
    "code": "hardware",
    "stage": "Production",
    "reason": "the old hosts were decommissioned",
    "expires_at": "2026-12-01T00:00:00Z",
}


def move(stage, version, when, previous="", kind="promote"):
    return {
        "printed_name": "Vera Verifier",
        "identity": "vera@bank.example",
        "keyid": VERA,
        "created_at": when,
        "digest": "a9" * 32,
        "alias": stage.lower() if stage != "Archived" else "",
        "stage": stage,
        "version": version,
        "previous_version": previous,
        "kind": kind,
        "reason": f"{kind} of version {version}",
    }


MOVES = (
    move("Staging", "6", "2026-08-01T09:00:00Z"),
    move("Production", "6", "2026-08-03T09:00:00Z"),
    move("Staging", "7", "2026-09-01T09:00:00Z"),
    move("Production", "7", "2026-09-03T09:00:00Z", "6"),
    move("Production", "6", "2026-09-20T09:00:00Z", "7", "rollback"),
)


def make(found=None, **changes):
    """Return a dossier that has every fact; `found` is the record that decides."""
    deciding = tolerated() if found is None else found
    return Dossier(
        **{
            "question": {
                "registry": "https://mlflow.bank.example",
                "model": "Credit-Risk",
                "version": "7",
                "asked": {"alias": "production", "at": "2026-09-10T12:00:00Z"},
            },
            "stage": "Production",
            "intended_use": "Retail credit scoring",
            "owner": "Retail Risk",
            "risk_tier": "Tier 1",
            "lineage": lineage(),
            "lineage_digest": "0a" * 32,
            "records": (("e0" * 32, diverged()), ("e1" * 32, deciding)),
            "deciding": "e1" * 32,
            "decision": {
                "meets": True,
                "reasons": [],
                "policy_digest": "f1" * 32,
                "exit_code": 0,
            },
            "policy": {"uri": "policy.toml", "digest": "f1" * 32, "text": "schema = 1\n"},
            "approvals": (REJECTION, signed()),
            "waivers": (WAIVER,),
            "moves": MOVES,
            "problems": (),
            "notes": ("record e1e1 was decided again under the policy in force",),
            "made_at": "2026-11-23T10:44:20Z",
            "tool": "repro-harness 0.1.0",
            **changes,
        }
    )


def bare():
    """Return the dossier of a version about which nothing is known."""
    return make(
        {},
        question={"registry": "r", "model": "M", "version": "1", "asked": {"alias": "", "at": ""}},
        stage="Development",
        intended_use="",
        owner="",
        risk_tier="",
        lineage={},
        lineage_digest="",
        records=(),
        deciding="",
        decision={"meets": False, "reasons": ["no trusted verifier has judged it yet"]},
        policy={"uri": "harness:built-in-policy", "digest": "f1" * 32, "text": ""},
        approvals=(),
        waivers=(),
        moves=(),
        notes=(),
    )


def poisoned(value, text):
    """Return a JSON value with every string in it replaced; times and digests as well."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {k: poisoned(v, text) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(poisoned(v, text) for v in value)
    return value


@pytest.fixture
def dossiers():
    """Return the ways to make a dossier, as a namespace."""
    import types

    return types.SimpleNamespace(**{k: v for k, v in globals().items() if not k.startswith("_")})
