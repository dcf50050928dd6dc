"""Lineage and verdicts as in-toto statements, and lineage back from its statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import __version__
from harness.attestations.dsse import BadEvidence
from harness.errors import UsageError
from harness.files import root_digest
from harness.model import FileEntry, Lineage, Outcome, Role, Version
from harness.record import load, plain

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
VSA = "https://slsa.dev/verification_summary/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
REPRODUCTION = "https://repro-harness.dev/reproduction/v1"
BUILD_TYPE = "https://repro-harness.dev/training/v1"
BUILDER = "https://repro-harness.dev/harness"


def subjects(name: str, files: tuple[FileEntry, ...]) -> list[dict[str, Any]]:
    """Return the OMS root digest and every file as subjects, in path order."""
    models = [f for f in files if f.role == Role.MODEL]
    root = {"name": name, "digest": {"sha256": root_digest(models)}}
    ordered = sorted(files, key=lambda f: f.path)
    return [root, *({"name": f.path, "digest": {"sha256": f.sha256}} for f in ordered)]


def _statement(kind: str, about: list[dict[str, Any]], predicate: Any) -> dict[str, Any]:
    return {"_type": STATEMENT, "subject": about, "predicateType": kind, "predicate": predicate}


def provenance(lineage: Lineage) -> dict[str, Any]:
    """Return the lineage as SLSA Provenance v1 (slsa.dev/spec/v1.0/provenance)."""
    assert lineage.version is not None, "lineage is signed once the version is known"
    body = plain(lineage)
    environment = body["environment"]
    dependencies = [
        {
            "uri": f"git+{lineage.code.url}",
            "digest": {"gitCommit": lineage.code.commit},
            "annotations": {"tree": lineage.code.tree, "folder": lineage.code.folder},
        },
        *(_data(d) for d in body["data"]),
        {"name": environment["lock_path"], "digest": {"sha256": environment["lock_sha256"]}},
    ]
    for kind in ("base", "image"):
        hexdigest = environment[kind].rpartition("sha256:")[2]
        if hexdigest:
            dependencies.append({"name": kind, "digest": {"sha256": hexdigest}})
    internal = ("environment", "sandbox", "bootstrap", "annotations", "outputs", "author")
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "version": body["version"],
            "origin": lineage.origin,
            "recipe": {"path": lineage.recipe_path, "text": lineage.recipe_text},
            "profile": body["profile"],
        },
        "internalParameters": {k: body[k] for k in internal},
        "resolvedDependencies": dependencies,
    }
    run = {
        "builder": {"id": BUILDER, "version": {"repro-harness": __version__}},
        "metadata": {"startedOn": lineage.started_at, "finishedOn": lineage.finished_at},
        "byproducts": [{"name": "hardware", "annotations": body["hardware"]}],
    }
    about = subjects(lineage.version.name, lineage.outputs)
    return _statement(PROVENANCE, about, {"buildDefinition": definition, "runDetails": run})


def _data(entry: dict[str, Any]) -> dict[str, Any]:
    digests = {k: entry[k] for k in ("md5", "sha256") if entry[k]}
    notes = {k: entry[k] for k in ("size", "target", "remote")}
    return {"name": entry["path"], "digest": digests, "annotations": {"data": notes}}


def lineage(statement: Mapping[str, Any], version: Version) -> Lineage:
    """Read a lineage back and hold it against the version it was found at.

    Raises: BadEvidence when it is of another kind or about another version, or its subjects
    are not the files that it lists.
    """
    try:
        definition = statement["predicate"]["buildDefinition"]
        run = statement["predicate"]["runDetails"]
        if statement["predicateType"] != PROVENANCE or definition["buildType"] != BUILD_TYPE:
            raise BadEvidence("the lineage is a statement of another kind")
        external = definition["externalParameters"]
        code, *others = definition["resolvedDependencies"]
        found = load(
            Lineage,
            {
                **definition["internalParameters"],
                "version": external["version"],
                "origin": external["origin"],
                "recipe_path": external["recipe"]["path"],
                "recipe_text": external["recipe"]["text"],
                "profile": external["profile"],
                "code": {
                    "url": code["uri"].removeprefix("git+"),
                    "commit": code["digest"]["gitCommit"],
                    **code["annotations"],
                },
                "data": [
                    {"path": d["name"], **d["digest"], **d["annotations"]["data"]}
                    for d in others
                    if "data" in d.get("annotations", {})
                ],
                "hardware": run["byproducts"][0]["annotations"],
                "started_at": run["metadata"]["startedOn"],
                "finished_at": run["metadata"]["finishedOn"],
                "artifact_digest": statement["subject"][0]["digest"]["sha256"],
            },
            "lineage",
        )
    except (KeyError, TypeError, IndexError, ValueError, UsageError) as error:
        raise BadEvidence(f"the lineage statement cannot be read: {error!r}") from None
    return _bound(found, statement, version)


def _bound(found: Lineage, statement: Mapping[str, Any], version: Version) -> Lineage:
    if found.version is None or (found.version.name, found.version.number) != (
        version.name,
        version.number,
    ):
        raise BadEvidence(f"the lineage is about another version than {version.uri}")
    if subjects(version.name, found.outputs) != statement["subject"]:
        raise BadEvidence("the lineage's subjects are not the files that it lists")
    return found


def reproduction(record: Mapping[str, Any], about: list[dict[str, Any]]) -> dict[str, Any]:
    """Return our own predicate: the whole record, for every outcome."""
    return _statement(REPRODUCTION, about, plain(record))


def verification_summary(
    record: Mapping[str, Any], decision: Mapping[str, Any], about: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return a SLSA VSA v1 for a decided record, None where the format has no word for it."""
    if record["outcome"] not in {Outcome.REPRODUCED, Outcome.DIVERGED, Outcome.TAMPERED}:
        return None
    passed = bool(decision["meets"])
    policy = record["policy"]
    predicate = {
        "verifier": {"id": BUILDER, "version": {"repro-harness": __version__}},
        "timeVerified": record["created_at"],
        "resourceUri": f"models:/{record['model']}/{record['version']}",
        "policy": {"uri": policy["uri"], "digest": {"sha256": policy["digest"]}},
        "inputAttestations": [
            {"uri": "harness:lineage", "digest": {"sha256": record["lineage_digest"]}}
        ],
        "verificationResult": "PASSED" if passed else "FAILED",
        "verifiedLevels": [f"REPRO_{record['grade']}"] if passed else ["FAILED"],
    }
    return _statement(VSA, about, predicate)


def test_result(
    record: Mapping[str, Any], decision: Mapping[str, Any], about: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return an in-toto test-result v0.1 for the same outcomes as the VSA."""
    if record["outcome"] not in {Outcome.REPRODUCED, Outcome.DIVERGED, Outcome.TAMPERED}:
        return None
    result = "FAILED"
    if record["outcome"] == Outcome.REPRODUCED:
        result = "PASSED" if decision["meets"] else "WARNED"
    good = {"BITWISE", "EXACT", "TOLERANCE", "BEHAVIOURAL"}
    names = {True: [], False: []}  # type: dict[bool, list[str]]
    for artifact in record["artifacts"]:
        names[artifact["grade"] in good].append(artifact["path"])
    predicate = {
        "result": result,
        # Conforma takes the first name as the name of the test.
        "configuration": [
            {"name": "model-reproduction", "digest": {"sha256": record["policy"]["digest"]}}
        ],
        "passedTests": names[True],
        "failedTests": names[False],
        "created_at": record["created_at"],
    }
    return _statement(TEST_RESULT, about, predicate)
