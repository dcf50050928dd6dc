"""What every export for programs needs: times, digests and commands that their schemas accept."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from harness.attestations.statements import REPRODUCTION
from harness.dossier.model import Dossier, Facts
from harness.dossier.sides import code
from harness.dossier.told import facts, listed
from harness.reporters import words

LONGEST = 4000
_ADDRESS = re.compile(r"https?://[\w.~:/?@!$&'()*+,;=%-]+", re.ASCII)


def text(value: object) -> str:
    """Return untrusted text on one printable line; `unknown` where there is none."""
    return words.plain(value, LONGEST) or "unknown"


def utc(value: object) -> str | None:
    """Return a time as RFC 3339 in UTC with its offset written out; None for what is none."""
    try:
        moment = datetime.fromisoformat(str(value))
        return moment.astimezone(UTC).isoformat(timespec="seconds") if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def sha256(value: object) -> str | None:
    """Return a sha256 in hex; None for what is none."""
    return str(value) if re.fullmatch(r"[0-9a-f]{64}", str(value)) else None


def md5(value: object) -> str | None:
    """Return an md5 in hex; None for what is none, such as DVC's digest of a folder."""
    return str(value) if re.fullmatch(r"[0-9a-f]{32}", str(value)) else None


def address(value: object) -> str:
    """Return an address on the web; empty for what is none, such as a path on some machine."""
    return str(value) if _ADDRESS.fullmatch(str(value)) else ""


def command(value: Dossier) -> str:
    """Return how the version was trained, on one line."""
    return text(dict(code(value)).get("command"))


def outputs(value: Dossier) -> list[Facts]:
    """Return the recorded outputs."""
    return [facts(o) for o in listed(value.lineage.get("outputs"))]


def data(value: Dossier) -> list[Facts]:
    """Return the recorded data files."""
    return [facts(d) for d in listed(value.lineage.get("data"))]


def statements(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the path of each verification's signed statement by the id of its record."""
    found = {}
    for path, envelope in sorted(files.items()):
        if not path.startswith("evidence/records/") or not path.endswith(".intoto.json"):
            continue
        try:
            statement = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
            if statement["predicateType"] == REPRODUCTION:
                found[str(statement["predicate"]["id"])] = path
        except (ValueError, KeyError, TypeError):
            continue
    return found
