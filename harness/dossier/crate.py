"""A dossier as a Process Run Crate: the training and every verification as actions on files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from harness.attestations.statements import BUILDER
from harness.dossier import told
from harness.dossier.machine import address, command, data, outputs, sha256, statements, text, utc
from harness.dossier.model import Dossier, Facts
from harness.dossier.told import facts, listed
from harness.record import canonical
from harness.record import digest as hexdigest
from harness.reporters import words

NAME = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
# RO-Crate 1.1 has no word for the digest of a file; this is the one of its workflow-run terms.
CONTEXT = [f"{CRATE}/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
Json = dict[str, Any]
_FORMATS = {
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".txt": "text/plain",
    ".xml": "application/xml",
}
_FAILED = {"RERUN_FAILED", "ERROR", "SOURCE_UNAVAILABLE", "INCOMPLETE_LINEAGE"}


def render(value: Dossier, files: Mapping[str, bytes], people: Mapping[str, str]) -> bytes:
    """Return the crate's metadata; `files` is everything in the dossier but the index and this.

    Args: `people` are the printed names of the trusted keys by key id.
    """
    actions = list(_actions(value, files, people))
    made = [e for e in actions if e["@type"] == "CreateAction"]
    graph = [
        {
            "@id": NAME,
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": _ref(CRATE),
        },
        _root(value, files, made),
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {
            "@id": "#terms",
            "@type": "CreativeWork",
            "name": "All rights reserved",
            "description": "A dossier grants no licence; ask the model's owner.",
        },
        *(_file(path, content) for path, content in sorted(files.items())),
        *actions,
    ]
    unique = {str(e["@id"]): _flat(e) for e in graph}
    return canonical({"@context": CONTEXT, "@graph": list(unique.values())})


def _flat(entity: Json) -> Json:
    """Return an entity whose lists have two members at least, as RO-Crate recommends."""
    kept = {k: v for k, v in entity.items() if v != []}
    return {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in kept.items()}


def _ref(name: str) -> Json:
    return {"@id": name}


def _refs(entities: list[Json]) -> list[Json]:
    return [_ref(str(e["@id"])) for e in entities]


def _root(value: Dossier, files: Mapping[str, bytes], actions: list[Json]) -> Json:
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Audit dossier of {told.name(value)}",
        "description": told.verdict(value),
        "datePublished": utc(value.made_at) or "1980-01-01T00:00:00+00:00",
        "license": _ref("#terms"),
        "conformsTo": _ref(PROFILE),
        "hasPart": [_ref(quote(path)) for path in sorted(files)],
        "mentions": _refs(actions),
    }


def _file(path: str, content: bytes) -> Json:
    return {
        "@id": quote(path),
        "@type": "File",
        "name": path,
        "contentSize": str(len(content)),
        "encodingFormat": _FORMATS.get(PurePosixPath(path).suffix, "application/octet-stream"),
        "sha256": hexdigest(content),
    }


def _thing(name: str, entry: Facts, digest: object) -> Json:
    """Return a file that the dossier names by digest and does not hold."""
    found: Json = {"@id": name, "@type": "CreativeWork", "name": text(entry.get("path"))}
    if known := sha256(digest):
        found["sha256"] = known
    if isinstance(entry.get("size"), int):
        found["contentSize"] = str(entry["size"])
    return found


def _local(kind: str, name: object) -> str:
    return f"#{kind}/{quote(str(name), safe='')}"


def _actions(
    value: Dossier, files: Mapping[str, bytes], people: Mapping[str, str]
) -> Iterator[Json]:
    """Yield the actions, and whatever they speak about."""
    inputs = [_thing(_local("data", d.get("path")), d, d.get("sha256")) for d in data(value)]
    recorded = [
        _thing(_local("recorded", o.get("path")), o, o.get("sha256")) for o in outputs(value)
    ]
    code = _code(value.lineage)
    if value.lineage:
        yield from [*inputs, *recorded, *code, *_training(value, files, inputs, recorded)]
    yield {
        "@id": BUILDER,
        "@type": "SoftwareApplication",
        "name": "Harness",
        "url": BUILDER,
        "softwareVersion": text(value.tool.partition(" ")[2]),
    }
    places = statements(files)
    for number, (_, record) in enumerate(value.records):
        place = places.get(str(record.get("id")), "")
        yield from _verification(number, record, [*recorded, *code, *inputs], place, people)


def _code(made: Facts) -> list[Json]:
    """Return the training code at its commit; nothing where no lineage was recorded."""
    source = facts(made.get("code"))
    place, commit = text(source.get("url")), quote(str(source.get("commit")))
    code = {
        "@id": f"{place}#{commit}" if address(source.get("url")) else "#code",
        "@type": "SoftwareSourceCode",
        "name": text(made.get("recipe_path")),
        "url": place,
        "codeRepository": place,
        "version": text(source.get("commit")),
    }
    return [code] if made else []


def _training(
    value: Dossier, files: Mapping[str, bytes], inputs: list[Json], recorded: list[Json]
) -> Iterator[Json]:
    made = value.lineage
    profile = facts(made.get("profile"))
    settings = [
        {
            "@id": _local("setting", name),
            "@type": "PropertyValue",
            "name": name,
            "value": text(profile.get(name)),
        }
        for name in ("level", "seed", "threads")
        if profile.get(name) is not None
    ]
    yield from settings
    name = str(_code(made)[0]["@id"])
    yield {"@id": "#author", "@type": "Person", "name": text(made.get("author"))}
    signed = [p for p in sorted(files) if p.startswith("evidence/lineage/")]
    yield {
        "@id": "#training",
        "@type": "CreateAction",
        "name": f"Training of {told.name(value)}",
        "description": command(value),
        "instrument": _ref(name),
        "agent": _ref("#author"),
        "object": _refs([*inputs, *settings]),
        "result": [*_refs(recorded), *(_ref(quote(p)) for p in signed)],
        "actionStatus": "http://schema.org/CompletedActionStatus",
        **_times(made.get("started_at"), made.get("finished_at")),
    }


def _times(start: object, end: object) -> Json:
    found = {"startTime": utc(start), "endTime": utc(end)}
    return {name: moment for name, moment in found.items() if moment}


def _verification(
    number: int, record: Facts, objects: list[Json], place: str, people: Mapping[str, str]
) -> Iterator[Json]:
    runs = [facts(r) for r in listed(record.get("runs"))]
    keyid = str(facts(record.get("verifier")).get("keyid"))
    person = {
        "@id": _local("key", keyid),
        "@type": "Person",
        "name": text(people.get(keyid) or f"holder of key {keyid[:12]}"),
    }
    results = [
        _thing(_local(f"reproduced-{number}", a.get("path")), a, a.get("reproduced_sha256"))
        for a in map(facts, listed(record.get("artifacts")))
        if a.get("reproduced_sha256")
    ]
    verdict = {
        "@id": f"#verdict-{number}",
        "@type": "PropertyValue",
        "name": "verdict",
        "value": words.verdict(record),
    }
    yield from [person, verdict, *results]
    failed = record.get("outcome") in _FAILED
    reasons = "; ".join(map(text, listed(record.get("reasons")))) or words.verdict(record)
    yield {
        "@id": f"#verification-{number}",
        "@type": "CreateAction",
        "name": f"Verification of {words.title(record)}",
        "description": words.sentence(record),
        "instrument": _ref(BUILDER),
        "agent": _ref(str(person["@id"])),
        "object": _refs(objects),
        "result": [*_refs([verdict, *results]), *([_ref(quote(place))] if place else [])],
        "actionStatus": f"http://schema.org/{'Failed' if failed else 'Completed'}ActionStatus",
        **({"error": reasons} if failed else {}),
        **_times(runs[0].get("started_at") if runs else None, record.get("created_at")),
    }
