"""The inventory of a dossier as a CycloneDX 1.6 ML-BOM: model card, files, data, environment."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name

from harness.dossier import told
from harness.dossier.machine import address, command, data, md5, outputs, sha256, text, utc
from harness.dossier.model import Dossier, Facts
from harness.dossier.told import facts, listed
from harness.record import canonical, digest
from harness.reporters import words

Json = dict[str, Any]
MODEL, CODE, LOCK, PYTHON = "model", "code", "lock", "python"


def render(value: Dossier) -> bytes:
    """Return the BOM as canonical JSON; the same facts always give the same bytes.

    Its serial number is derived from the lineage's digest: the BOM of one training has one name.
    """
    tool, _, version = value.tool.partition(" ")
    parts = list(_components(value))
    training, others = [CODE, LOCK, PYTHON], [p["bom-ref"] for p in parts]
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, _name(value))}",
        "version": 1,
        "metadata": {
            **_when("timestamp", value.made_at),
            "tools": {
                "components": [{"type": "application", "name": tool, "version": version or "0"}]
            },
            "component": _model(value),
            "properties": _properties(
                {
                    "harness:lineage-sha256": value.lineage_digest,
                    "harness:decision": "meets" if value.decision.get("meets") else "does not meet",
                    "harness:verdict": told.badge(value),
                    "harness:stage": value.stage,
                }
            ),
        },
        "components": parts,
        "dependencies": [{"ref": MODEL, "dependsOn": others}],
        "formulation": [_formulation(value, [r for r in training if r in others])],
    }
    return canonical(bom)


def _name(value: Dossier) -> str:
    known = value.lineage_digest or digest(canonical(value.question))
    return f"https://repro-harness.dev/lineage/{known}"


def _properties(found: dict[str, object]) -> list[Json]:
    return [{"name": text(k), "value": text(v)} for k, v in found.items() if v not in (None, "")]


def _when(name: str, value: object) -> Json:
    moment = utc(value)
    return {name: moment} if moment else {}


def _hashes(value: object, older: object = None) -> Json:
    """Return the digests of a part: its sha256, and the md5 under which DVC keeps it."""
    found = {"SHA-256": sha256(value), "MD5": md5(older)}
    known = [{"alg": alg, "content": hexdigest} for alg, hexdigest in found.items() if hexdigest]
    return {"hashes": known} if known else {}


def _model(value: Dossier) -> Json:
    """Return the model version with its files and its card."""
    asked = value.question
    card: Json = {
        "modelParameters": {"datasets": [{"ref": f"data/{i}"} for i, _ in enumerate(data(value))]},
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(value))},
        "considerations": {"technicalLimitations": told.limits(value)},
        "properties": _properties(
            {f"parameter:{k}": v for k, v in facts(_notes(value).get("params")).items()}
        ),
    }
    if value.intended_use:
        card["considerations"]["useCases"] = [text(value.intended_use)]
    files = [
        {
            "type": "file",
            "bom-ref": f"file/{i}",
            "name": text(o.get("path")),
            **_hashes(o.get("sha256")),
            "properties": _properties({"role": o.get("role"), "size": o.get("size")}),
        }
        for i, o in enumerate(outputs(value))
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": text(asked.get("model")),
        "version": text(asked.get("version")),
        "modelCard": card,
        "components": files,
        "properties": _properties(
            {
                "harness:registry": asked.get("registry"),
                "harness:oms-root-sha256": value.lineage.get("artifact_digest"),
                "harness:owner": value.owner,
                "harness:risk-tier": value.risk_tier,
            }
        ),
    }


def _notes(value: Dossier) -> Facts:
    return facts(value.lineage.get("annotations"))


def _metrics(value: Dossier) -> Iterator[Json]:
    for name, number in sorted(facts(_notes(value).get("metrics")).items()):
        yield {"type": text(name), "value": text(number), "slice": "as recorded"}


def _components(value: Dossier) -> Iterator[Json]:
    """Yield code, lock, interpreter, image, data and packages, as far as they were recorded."""
    made = value.lineage
    if not made:
        return
    source, environment = facts(made.get("code")), facts(made.get("environment"))
    yield {
        "type": "application",
        "bom-ref": CODE,
        "name": text(source.get("url")),
        "version": text(source.get("commit")),
        **_repository(source),
        "properties": _properties({"tree": source.get("tree"), "folder": source.get("folder")}),
    }
    yield {
        "type": "file",
        "bom-ref": LOCK,
        "name": text(environment.get("lock_path")),
        **_hashes(environment.get("lock_sha256")),
    }
    yield {
        "type": "platform",
        "bom-ref": PYTHON,
        "name": "python",
        "version": text(environment.get("python")),
        "properties": _properties(
            {"runtime": environment.get("runtime"), "installed": environment.get("content_digest")}
        ),
    }
    yield from _images(environment)
    yield from (_dataset(i, d) for i, d in enumerate(data(value)))
    yield from _packages(environment)


def _repository(source: Facts) -> Json:
    if not (place := address(source.get("url"))):
        return {}
    return {"externalReferences": [{"type": "vcs", "url": place}]}


def _images(environment: Facts) -> Iterator[Json]:
    for kind in ("base", "image"):
        if name := str(environment.get(kind) or ""):
            found = _hashes(name.rpartition("sha256:")[2])
            yield {"type": "container", "bom-ref": kind, "name": text(name), **found}


def _dataset(number: int, entry: Facts) -> Json:
    contents = {
        k: entry[k] for k in ("size", "md5", "target", "remote") if entry.get(k) not in (None, "")
    }
    return {
        "type": "data",
        "bom-ref": f"data/{number}",
        "name": text(entry.get("path")),
        **_hashes(entry.get("sha256"), entry.get("md5")),
        "data": [
            {
                "type": "dataset",
                "name": text(entry.get("path")),
                "contents": {"properties": _properties(contents)},
            }
        ],
    }


def _packages(environment: Facts) -> Iterator[Json]:
    seen = set()
    for entry in map(facts, listed(environment.get("inventory"))):
        name, version = text(entry.get("name")), text(entry.get("version"))
        purl = f"pkg:pypi/{quote(canonicalize_name(name), safe='')}@{quote(version, safe='')}"
        if purl not in seen:
            seen.add(purl)
            yield {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "purl": purl,
            }


def _formulation(value: Dossier, inputs: list[str]) -> Json:
    """Return how the model was made, and each time that it was made again."""
    refs = [*inputs, *(f"data/{i}" for i, _ in enumerate(data(value)))]
    came_in = {"inputs": [{"resource": {"ref": r}} for r in refs]} if refs else {}
    training = {
        "bom-ref": "training",
        "uid": "training",
        "name": "training, as recorded",
        "taskTypes": ["build"],
        **_when("timeStart", value.lineage.get("started_at")),
        **_when("timeEnd", value.lineage.get("finished_at")),
        "steps": [{"name": "train", "commands": [{"executed": command(value)}]}],
        **came_in,
        "outputs": [{"type": "artifact", "resource": {"ref": MODEL}}],
    }
    again = [_again(i, key, record, came_in) for i, (key, record) in enumerate(value.records)]
    return {"bom-ref": "formula", "workflows": [training, *again] if value.lineage else again}


def _again(number: int, key: str, record: Facts, came_in: Json) -> Json:
    runs = [facts(r) for r in listed(record.get("runs"))]
    return {
        "bom-ref": f"verification/{number}",
        "uid": text(record.get("id")),
        "name": f"verification: {words.verdict(record)}",
        "taskTypes": ["test"],
        **_when("timeStart", runs[0].get("started_at") if runs else None),
        **_when("timeEnd", record.get("created_at")),
        **came_in,
        "properties": _properties(
            {
                "harness:record-sha256": key,
                "harness:runs": len(runs),
                "harness:verifier-key": facts(record.get("verifier")).get("keyid"),
            }
        ),
    }
