"""The exports for programs, held against validators and readers that are not ours."""

import dataclasses
import hashlib
import json
import sys
from importlib import resources
from pathlib import Path
from urllib.parse import unquote

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from rocrate.rocrate import ROCrate

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import dossiers

from harness.dossier import bom, crate, rendering
from harness.dossier.machine import utc
from harness.record import canonical, digest

SAMPLES = ("dossier", "unverified", "bare", "hostile")
PEOPLE = {dossiers.KEYIDS["vera"]: "Vera Verifier"}


@pytest.fixture(params=SAMPLES)
def value(request):
    return getattr(dossiers, request.param)()


def inventory(value):
    return json.loads(bom.render(value))


def wrong(found):
    """Return what CycloneDX's own strict validator has against a BOM."""
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found))


def test_the_inventory_is_valid_cyclonedx(value):
    assert wrong(inventory(value)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b["metadata"]["component"]["components"][0]["hashes"][0].update(content="xyz"),
        lambda b: b["metadata"]["component"].update(type="model"),
        lambda b: b["formulation"][0]["workflows"][0].pop("taskTypes"),
        lambda b: b.update(verdict="REPRODUCED"),
        lambda b: b.update(serialNumber="urn:uuid:1"),
    ],
)
def test_the_validator_would_find_a_wrong_inventory(change):
    found = inventory(dossiers.dossier())
    change(found)
    assert wrong(found) is not None


def test_the_inventory_says_what_the_model_is_made_of():
    found = inventory(dossiers.dossier())
    model = found["metadata"]["component"]
    assert (model["name"], model["version"]) == ("credit", "3")
    assert {f["name"]: f["hashes"][0]["content"] for f in model["components"]} == {
        o.path: o.sha256 for o in dossiers.OUTPUTS
    }
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {m["type"]: m["value"] for m in metrics} == {"auc": "0.7127", "log_loss": "0.504"}
    parts = {p["bom-ref"]: p for p in found["components"]}
    assert parts["code"]["version"] == "d" * 40
    assert parts["data/0"]["hashes"][0]["content"] == "9" * 64
    packages = [p for p in found["components"] if p["type"] == "library"]
    assert len(packages) == 30
    assert all(PackageURL.from_string(p["purl"]).to_string() == p["purl"] for p in packages)
    training, *again = found["formulation"][0]["workflows"]
    assert training["steps"][0]["commands"][0]["executed"] == "python train.py --trees 120"
    assert [w["name"] for w in again] == [
        "verification: DIVERGED STABLE",
        "verification: REPRODUCED TOLERANCE",
    ]
    known = {*parts, *(c["bom-ref"] for c in model["components"]), "model"}
    refs = {r["resource"]["ref"] for w in [training, *again] for r in w["inputs"]}
    assert refs | set(found["dependencies"][0]["dependsOn"]) <= known


def test_the_inventory_has_one_name_and_one_sequence_of_bytes():
    one, two = dossiers.dossier(), dossiers.dossier()
    assert bom.render(one) == bom.render(two)
    other = dataclasses.replace(one, lineage_digest="8" * 64)
    assert inventory(one)["serialNumber"] != inventory(other)["serialNumber"]


FILES = {"dossier.json": b"{}", "evidence/lineage/größe 1.intoto.json": b"{}", "a.txt": b"x"}


def graph(value, files=FILES):
    found = json.loads(crate.render(value, files, PEOPLE))
    return {e["@id"]: e for e in found["@graph"]}


def many(value):
    return value if isinstance(value, list) else [] if value is None else [value]


OUTSIDE = {"https://w3id.org/ro/crate/1.1"}


def violations(entities):
    """Return what a crate lacks by RO-Crate 1.1 and the Process Run Crate 0.5 profile."""
    actions = [e for e in entities.values() if e["@type"] == "CreateAction"]
    links = {
        member["@id"]
        for entity in entities.values()
        for members in entity.values()
        for member in many(members)
        if isinstance(member, dict)
    }
    found = [f"{link} is not in the crate" for link in links - set(entities) - OUTSIDE]
    return [*found, *lacking(entities), *(w for a in actions for w in unfit(entities, a))]


def lacking(entities):
    """Return what the descriptor and the root lack."""
    descriptor, root = entities.get("ro-crate-metadata.json", {}), entities.get("./", {})
    profiles = [p["@id"] for p in many(root.get("conformsTo"))]
    files = {i for i, e in entities.items() if e["@type"] == "File"}
    needed = {
        "no RO-Crate 1.1": descriptor.get("conformsTo") == {"@id": "https://w3id.org/ro/crate/1.1"},
        "no root": descriptor.get("about") == {"@id": "./"} and root.get("@type") == "Dataset",
        "no profile": profiles == ["https://w3id.org/ro/wfrun/process/0.5"],
        "hasPart is not the files": files == {p["@id"] for p in many(root.get("hasPart"))},
        **{k: root.get(k) for k in ("name", "description", "datePublished", "license")},
    }
    return [name for name, holds in needed.items() if not holds]


def unfit(entities, action):
    """Return what an action lacks."""

    def kinds(key):
        return {entities.get(i["@id"], {}).get("@type") for i in many(action.get(key))}

    failed = action.get("actionStatus", "").endswith("/FailedActionStatus")
    about = {"File", "CreativeWork", "PropertyValue"}
    given = {*about, "SoftwareSourceCode"}
    needed = {
        "instrument": kinds("instrument") in ({"SoftwareApplication"}, {"SoftwareSourceCode"}),
        "agent": kinds("agent") == {"Person"},
        "object": kinds("object") <= given,
        "result": kinds("result") and kinds("result") <= about,
        "error and status disagree": bool(action.get("error")) == failed,
        "the root does not mention the action": {"@id": action["@id"]}
        in many(entities.get("./", {}).get("mentions")),
        **{k: action.get(k) for k in ("name", "description")},
    }
    return [name for name, holds in needed.items() if not holds]


def terms():
    """Return every term of RO-Crate's context, as the rocrate package carries it."""
    text = resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_text()
    return {*json.loads(text)["@context"], "@id", "@type"}


def unknown(entities, inline):
    """Return the terms that no context defines: a reader would silently drop them."""
    used = {k for e in entities.values() for k in e} | {e["@type"] for e in entities.values()}
    return used - terms() - set(inline)


def test_the_crate_conforms_to_its_profile(value):
    found = json.loads(crate.render(value, FILES, PEOPLE))
    entities = {e["@id"]: e for e in found["@graph"]}
    assert len(entities) == len(found["@graph"])
    assert violations(entities) == []
    assert found["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    assert unknown(entities, found["@context"][1]) == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g["#training"].pop("instrument"), "instrument"),
        (lambda g: g["#training"].pop("agent"), "agent"),
        (lambda g: g["#verification-0"].pop("result"), "result"),
        (lambda g: g["#verification-0"].update(error="x"), "error and status disagree"),
        (lambda g: g["./"].pop("conformsTo"), "no profile"),
        (lambda g: g["./"].update(mentions=[]), "the root does not mention the action"),
        (lambda g: g.pop("a.txt"), "hasPart is not the files"),
        (lambda g: g.pop("#author"), "author"),
    ],
)
def test_a_crate_that_does_not_conform_is_found(change, said):
    entities = graph(dossiers.dossier())
    change(entities)
    assert said in " ".join(violations(entities))


def test_a_term_that_no_context_defines_is_found():
    entities = graph(dossiers.dossier())
    entities["./"]["verdict"] = "REPRODUCED"
    assert unknown(entities, {"sha256"}) == {"verdict"}


def test_the_crate_tells_the_training_and_every_verification():
    entities = graph(dossiers.dossier())
    training = entities["#training"]
    assert training["endTime"] == "2026-11-01T10:01:30+00:00"
    source = entities[training["instrument"]["@id"]]
    assert source["version"] == "d" * 40
    data = [entities[o["@id"]] for o in training["object"] if o["@id"].startswith("#data/")]
    assert [d["sha256"] for d in data] == ["9" * 64]
    last = entities["#verification-1"]
    assert entities[last["agent"]["@id"]]["name"] == "Vera Verifier"
    assert "within the declared tolerances" in last["description"]
    results = [entities[r["@id"]] for r in last["result"]]
    assert {"verdict", "model.safetensors", "metrics.json"} == {r["name"] for r in results}
    assert "5" * 64 in {r.get("sha256") for r in results}


def test_a_training_that_failed_is_a_failed_action():
    record = dossiers.record(outcome="RERUN_FAILED", reasons=["exit status 1"], artifacts=[])
    found = graph(dataclasses.replace(dossiers.dossier(), records=(("1" * 64, record),)))
    action = found["#verification-0"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert action["error"] == "exit status 1"
    assert violations(found) == []


def test_a_whole_dossier_is_read_by_the_rocrate_package(tmp_path):
    value = dossiers.dossier()
    given = {"trust.toml": dossiers.trusted(tmp_path), "dossier.json": canonical(value)}
    given["evidence/records/x/größe 1.txt"] = b"log"
    files = {**given, **rendering.render(value, given)}
    folder = tmp_path / "dossier"
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    read = ROCrate(folder)
    assert read.root_dataset["name"] == "Audit dossier of credit version 3"
    assert len(read.root_dataset["mentions"]) == 3
    listed = {}
    for entity in read.data_entities:
        path = folder / unquote(entity.id)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entity["sha256"]
        assert path.stat().st_size == int(entity["contentSize"])
        listed[unquote(entity.id)] = entity
    assert set(listed) == set(files) - {crate.NAME}
    assert wrong(json.loads(files["bom.cdx.json"])) is None


def test_the_same_facts_give_the_same_files(tmp_path):
    value = dossiers.dossier()
    given = {"trust.toml": dossiers.trusted(tmp_path), "dossier.json": canonical(value)}
    one, two = rendering.render(value, given), rendering.render(value, dict(given))
    assert {p: digest(d) for p, d in one.items()} == {p: digest(d) for p, d in two.items()}
    assert set(one) == {
        "README.txt",
        "bom.cdx.json",
        "dossier.html",
        "dossier.pdf",
        "ro-crate-metadata.json",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00+00:00"),
        ("2026-11-01T12:00:00.25+02:00", "2026-11-01T10:00:00+00:00"),
        ("2026-11-01T10:00:00", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_are_written_with_their_offset(text, expected):
    assert utc(text) == expected
