"""The list of a dossier's files with their digests: what is signed, so that nothing can change."""

from __future__ import annotations

from collections.abc import Mapping

from harness.attestations.dsse import BadEvidence, strict_json
from harness.record import canonical, digest

INDEX, SIGNED = "index.json", "index.intoto.json"


def index(files: Mapping[str, bytes]) -> bytes:
    """Return the index of every file, as canonical JSON."""
    rows = [{"path": p, "size": len(d), "sha256": digest(d)} for p, d in sorted(files.items())]
    return canonical({"schema": 1, "files": rows})


def listed(data: bytes) -> dict[str, str]:
    """Return the sha256 of every listed file by its path.

    Raises: BadEvidence when the index is malformed or lists a path twice.
    """
    value = strict_json(data)
    try:
        rows = [(str(r["path"]), str(r["sha256"])) for r in value["files"]]
    except (KeyError, TypeError) as error:
        raise BadEvidence(f"{INDEX}: cannot be read: {error!r}") from None
    found = dict(rows)
    if value.get("schema") != 1 or len(found) != len(rows):
        raise BadEvidence(f"{INDEX}: another schema, or a path is listed twice")
    return found
