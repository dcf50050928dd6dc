"""Statements about one file, a policy or a dossier's index: signed beside it, checked on use."""

from __future__ import annotations

import hashlib
from typing import Any

from harness.attestations import dsse
from harness.attestations.dsse import BadEvidence
from harness.attestations.keys import PrivateKey, Trust, TrustedKey, now

POLICY = "https://repro-harness.dev/policy/v1"
DOSSIER = "https://repro-harness.dev/dossier/v1"


def statement(
    name: str, content: bytes, printed_name: str = "", kind: str = POLICY
) -> dict[str, Any]:
    """Return the statement that says: these are the bytes of the file that I vouch for."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}],
        "predicateType": kind,
        "predicate": {
            **({"printed_name": printed_name} if printed_name else {}),
            "created_at": now(),
        },
    }


def sign_file(
    name: str, content: bytes, key: PrivateKey, printed_name: str = "", kind: str = POLICY
) -> bytes:
    """Return the envelope of a file's statement, signed with `key`."""
    return dsse.sign(statement(name, content, printed_name, kind), key)


def verify_file(
    content: bytes, envelope: bytes, trust: Trust, role: str = "policy", kind: str = POLICY
) -> TrustedKey:
    """Return the trusted key of `role` that signed exactly these bytes.

    Raises: BadEvidence with the reason in one sentence.
    """
    found, key = dsse.verify(envelope, trust, role)
    if found.get("predicateType") != kind:
        raise BadEvidence("the statement is about a file of another kind")
    subjects = found["subject"]
    if len(subjects) != 1 or "sha256" not in subjects[0]["digest"]:
        raise BadEvidence("the statement is not about one file")
    if subjects[0]["digest"]["sha256"] != hashlib.sha256(content).hexdigest():
        raise BadEvidence(
            "the file is not the one that was signed", "harness keys sign FILE signs it again"
        )
    return key
