"""DSSE envelopes around in-toto statements: signed as bytes, parsed strictly on the way in."""

from __future__ import annotations

import json
import re
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError

from harness.attestations.keys import PrivateKey, Trust, TrustedKey
from harness.errors import HarnessError
from harness.record import canonical

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 64 << 20
_HEX = {"sha256": 64, "gitCommit": 40, "md5": 32}


class BadEvidence(HarnessError):
    """Evidence that is malformed, unsigned, signed by nobody we trust, or about something else."""

    exit_code = 5


class UnknownSigner(BadEvidence):
    """The evidence may be whole, but no key that may sign it has signed it."""


def sign(statement: dict[str, Any], key: PrivateKey) -> bytes:
    """Return the envelope, as JSON bytes, of a statement signed with `key`."""
    envelope = Envelope(canonical(statement), PAYLOAD_TYPE, {})
    envelope.sign(key.signer)
    return canonical(envelope.to_dict())


def verify(data: bytes, trust: Trust, role: str) -> tuple[dict[str, Any], TrustedKey]:
    """Return the statement of an envelope and the trusted key of `role` that signed it.

    Raises: BadEvidence with the reason in one sentence.
    """
    envelope = _parse(data)
    known = [k for k in trust.keys if k.keyid in envelope.signatures]
    if not known:
        signers = ", ".join(sorted(k[:12] for k in envelope.signatures)) or "nobody"
        raise UnknownSigner(
            f"signed by {signers}: no key in {trust.where}", "harness keys trust adds a key"
        )
    statement = strict_json(envelope.payload)
    _check_statement(statement)
    when = signed_at(statement)
    refusals = []
    for key in known:
        try:
            envelope.verify([key.public], 1)
        except VerificationError:
            raise BadEvidence(
                f"the signature of key {key.keyid[:12]} does not fit the content"
            ) from None
        if not (reason := key.refusal(role, when)):
            return statement, key
        refusals.append(reason)
    raise UnknownSigner("; ".join(refusals), "harness keys list shows what each key may do")


def signed_at(statement: dict[str, Any]) -> str:
    """Return the UTC time that the signer claims: any of the predicates' time fields."""
    predicate = _member(statement, "predicate")
    run = _member(_member(predicate, "runDetails"), "metadata")
    found = predicate.get("timeVerified") or run.get("finishedOn") or predicate.get("created_at")
    return str(found or "")


def _member(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _parse(data: bytes) -> Envelope:
    if len(data) > MAX_BYTES:
        raise BadEvidence(f"envelope of {len(data)} bytes", f"at most {MAX_BYTES}")
    raw = strict_json(data)
    if set(raw) != {"payload", "payloadType", "signatures"}:
        raise BadEvidence("not a DSSE envelope: wrong members")
    if raw["payloadType"] != PAYLOAD_TYPE:
        raise BadEvidence(f"payload type {raw['payloadType']!r} is not {PAYLOAD_TYPE}")
    try:
        envelope = Envelope.from_dict(raw)
    except Exception as error:
        raise BadEvidence(f"not a DSSE envelope: {error}") from None
    # A second encoding of the same bytes would be a second digest of the same evidence, and so
    # would a signature that anybody adds beside the one that counts.
    if len(envelope.signatures) > 1:
        raise BadEvidence("the envelope has more than one signature")
    try:
        same = canonical(envelope.to_dict()) == data
    except ValueError:
        same = False
    if not same:
        raise BadEvidence("the envelope is not in canonical form")
    return envelope


def strict_json(data: bytes) -> dict[str, Any]:
    """Return a JSON object that has one reading only.

    Raises: BadEvidence when it is none, or names a member twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [k for k, _ in pairs]
        if len(keys) != len(set(keys)):
            raise ValueError("duplicate member")
        return dict(pairs)

    try:
        value = json.loads(data, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise BadEvidence(f"not strict JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadEvidence("not a JSON object")
    return value


def _check_statement(statement: dict[str, Any]) -> None:
    if statement.get("_type") != "https://in-toto.io/Statement/v1":
        raise BadEvidence("not an in-toto Statement v1")
    subjects = statement.get("subject")
    if not isinstance(subjects, list) or not subjects:
        raise BadEvidence("the statement has no subject")
    for subject in subjects:
        digests = subject.get("digest") if isinstance(subject, dict) else None
        if not isinstance(digests, dict) or not digests:
            raise BadEvidence("a subject has no digest")
        for algorithm, value in digests.items():
            length = _HEX.get(algorithm)
            if length is None or not re.fullmatch(rf"[0-9a-f]{{{length}}}", str(value)):
                raise BadEvidence(f"a subject has a malformed {algorithm} digest")
    if not isinstance(statement.get("predicate"), dict):
        raise BadEvidence("the statement has no predicate")


def bundle(envelope: bytes) -> bytes:
    """Return an envelope as Sigstore bundle v0.3, with the key id as hint and no log entry."""
    value = json.loads(envelope)
    (signature,) = value["signatures"]
    value["signatures"] = [{"sig": signature["sig"]}]
    return canonical(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "publicKey": {"hint": signature["keyid"]},
                # Readers that are not made of protobuf want it there, though empty.
                "tlogEntries": [],
            },
            "dsseEnvelope": value,
        }
    )
