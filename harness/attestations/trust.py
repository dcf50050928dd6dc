"""The operator's trust file: which public key may do what, from when to when, and whose it is."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.signer import SSlibKey

from harness.errors import UsageError
from harness.files import write_atomic

ROLES = ("recorder", "verifier", "approver", "policy")
SHORTEST_PREFIX = 8
HEADER = "# Which key may do what, from when to when.\n"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_TIMES = ("not_before", "not_after", "revoked_at")
_NEEDED = {"id", "name", "roles", "public"}
_MEMBERS = _NEEDED | {"identity", "revocation_reason", *_TIMES}
_MAX_BYTES = 4 << 20
_MAX_NAME = 120
_MAX_IDENTITY = 254


@dataclass(frozen=True)
class TrustedKey:
    """A public key, what it may do, from when to when (UTC, RFC 3339), and the printed name.

    `identity` is a stable e-mail or account name: several keys may share one, and rules about
    people compare `person`, never the printed name.
    """

    keyid: str
    public: SSlibKey
    name: str
    roles: tuple[str, ...]
    not_before: str = ""
    not_after: str = ""
    revoked_at: str = ""
    identity: str = ""
    revocation_reason: str = ""

    @property
    def person(self) -> str:
        """Return who holds the key, as rules compare it: the identity, else the key itself."""
        return self.identity.casefold() or self.keyid

    def refusal(self, role: str, when: str) -> str:
        """Return why this key may not act in `role` at `when`; empty when it may.

        A revoked key is refused whatever time it claims: who stole it can claim any.
        """
        short = f"key {self.keyid[:12]} ({self.name})"
        if role not in self.roles:
            return f"{short} may not act as {role}"
        if self.revoked_at:
            return f"{short} was revoked at {self.revoked_at}"
        if not when:
            return f"{short} signed without a time"
        moment = _moment(when)
        if moment is None:
            return f"{short} signed at {when[:40]!r}, which is no UTC time"
        if self.not_before and moment < datetime.fromisoformat(self.not_before):
            return f"{short} is valid only from {self.not_before}"
        if self.not_after and moment > datetime.fromisoformat(self.not_after):
            return f"{short} expired at {self.not_after}"
        return ""

    def state(self, when: str) -> str:
        """Return `valid`, `not yet`, `expired` or `revoked`, at a UTC time."""
        if self.revoked_at:
            return "revoked"
        if self.not_before and when < self.not_before:
            return "not yet"
        return "expired" if self.not_after and when > self.not_after else "valid"


@dataclass(frozen=True)
class Trust:
    """The trusted keys and where they were read."""

    keys: tuple[TrustedKey, ...]
    where: str


def now() -> str:
    """Return the current UTC time as RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_trust(path: Path) -> Trust:
    """Read the trust file; an absent one trusts nobody.

    Raises: UsageError naming the file and the key that is wrong.
    """
    text = _text(path)
    return parse_trust(text, str(path)) if text is not None else Trust((), str(path))


def parse_trust(text: str, where: str) -> Trust:
    """Read the text of a trust file that was found at `where`.

    Raises: UsageError naming the file and the key that is wrong.
    """
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(where, "", f"not TOML: {error}") from None
    if unknown := set(raw) - {"key"}:
        raise _wrong(where, "", f"unknown member {', '.join(sorted(unknown))}")
    entries = raw.get("key", [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise _wrong(where, "", "each key is one [[key]] table")
    found: dict[str, TrustedKey] = {}
    for number, entry in enumerate(entries, 1):
        what = f"key {number} ({str(entry.get('id', 'no id'))[:12]})"
        try:
            key = _entry(entry)
        except (TypeError, ValueError) as error:
            raise _wrong(where, what, str(error)) from None
        if key.keyid in found:
            raise _wrong(where, what, "this key id is there twice")
        found[key.keyid] = key
    return Trust(tuple(found.values()), where)


def _wrong(where: str, what: str, why: str) -> UsageError:
    return UsageError(": ".join(p for p in (where, what, why) if p), "correct the trust file")


def _text(path: Path) -> str | None:
    """Return a trust file's text; None when there is none."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _wrong(str(path), "", f"larger than {_MAX_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        why = f"{path}: {error.strerror}"
        raise UsageError(why, "name a trust file that can be read") from None
    except UnicodeDecodeError:
        raise _wrong(str(path), "", "not UTF-8 text") from None


def _entry(entry: Mapping[str, Any]) -> TrustedKey:
    if unknown := set(entry) - _MEMBERS:
        raise ValueError(f"unknown member {', '.join(sorted(unknown))}")
    if missing := _NEEDED - set(entry):
        raise ValueError(f"no {', '.join(sorted(missing))}")
    texts = {k: v for k, v in entry.items() if k != "roles"}
    if wrong := [k for k, v in texts.items() if not isinstance(v, str)]:
        raise ValueError(f"{', '.join(wrong)}: must be a string in quotes")
    public = public_key(entry["public"].encode())
    if public.keyid != entry["id"]:
        raise ValueError("the id is not that of the public key")
    optional = {k: str(entry.get(k, "")) for k in (*_TIMES, "identity", "revocation_reason")}
    key = TrustedKey(public.keyid, public, entry["name"], _roles(entry["roles"]), **optional)
    check(key)
    return key


def _roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(r, str) for r in value):
        raise ValueError("roles: must be a list of at least one role")
    if unknown := sorted(set(value) - set(ROLES)):
        raise ValueError(f"unknown role {', '.join(unknown)}; one of: {', '.join(ROLES)}")
    if len(set(value)) < len(value):
        raise ValueError("roles: one role is there twice")
    return tuple(value)


def check(key: TrustedKey) -> None:
    """Check the texts of a key: printable and bounded names, well-formed times in order.

    Raises: ValueError saying what is wrong.
    """
    printable("name", key.name, _MAX_NAME)
    if key.identity:
        printable("identity", key.identity, _MAX_IDENTITY)
        if any(c.isspace() for c in key.identity):
            raise ValueError("identity: an e-mail or account name has no blanks")
        # Two spellings of one name would be two people.
        if unicodedata.normalize("NFKC", key.identity) != key.identity:
            raise ValueError("identity: write it in its plain (NFKC) form")
    if key.revocation_reason:
        printable("revocation_reason", key.revocation_reason, 500)
    for name in _TIMES:
        if value := getattr(key, name):
            check_time(name, value)
    if key.not_before and key.not_after and key.not_before > key.not_after:
        raise ValueError(f"not_before {key.not_before} is after not_after {key.not_after}")


def printable(what: str, text: str, longest: int) -> None:
    """Check that a text fits on one line and shows all that it holds.

    Raises: ValueError saying what is wrong.
    """
    if not text.strip() or text != text.strip() or len(text) > longest:
        raise ValueError(f"{what}: 1 to {longest} characters without blanks around them")
    # C*: controls and invisible format marks; Zl, Zp: line ends. They make one name look another.
    if any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in "ZlZp" for c in text):
        raise ValueError(f"{what}: has a control or invisible character")


def check_time(what: str, text: str) -> None:
    """Check a time: RFC 3339, UTC, to the second.

    Raises: ValueError saying what is wrong.
    """
    if not _TIME.fullmatch(text) or _moment(text) is None:
        raise ValueError(f"{what}: {text[:40]!r} is not a UTC time such as 2026-01-31T09:00:00Z")


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def public_key(pem: bytes) -> SSlibKey:
    """Read a public key in PEM: Ed25519 or ECDSA P-256.

    Raises: ValueError saying what it is instead.
    """
    if b"PRIVATE KEY" in pem:
        raise ValueError("this is a private key; whom to trust is said with the public one")
    try:
        found = load_pem_public_key(pem)
    except Exception:  # cryptography raises many kinds, and their texts may quote the input
        raise ValueError("not a public key in PEM") from None
    accepted(found)
    return SSlibKey.from_crypto(found)


def accepted(key: object) -> None:
    """Check the kind of a public key.

    Raises: ValueError when it is neither Ed25519 nor ECDSA P-256.
    """
    curve = key.curve if isinstance(key, EllipticCurvePublicKey) else None
    if not isinstance(key, Ed25519PublicKey) and not isinstance(curve, SECP256R1):
        kind = f"curve {curve.name}" if curve else type(key).__name__.removesuffix("PublicKey")
        raise ValueError(f"a key of kind {kind}; only Ed25519 and ECDSA P-256 are accepted")


def public_pem(public: SSlibKey) -> bytes:
    """Return a public key in PEM, whatever securesystemslib keeps of it."""
    text = public.keyval["public"]
    if "BEGIN" in text:
        return str(text).encode()
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def add(path: Path, public: SSlibKey, name: str, roles: tuple[str, ...], **more: str) -> TrustedKey:
    """Append a key to the trust file; `more` are `identity`, `not_before`, `not_after`.

    Raises: UsageError when it is there already, or a text or time is malformed.
    """
    times = {"not_before": more.get("not_before") or now()}
    fields: dict[str, Any] = {"id": public.keyid, "name": name, "roles": list(roles)}
    fields |= times | {k: v for k, v in more.items() if v and k not in times}
    fields["public"] = public_pem(public).decode()
    try:
        key = _entry(fields)
    except ValueError as error:
        raise UsageError(str(error), "harness keys trust --help") from None
    # A JSON string or list of strings is also a TOML one.
    lines = [f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in fields.items()]
    with alone(path):
        if any(k.keyid == key.keyid for k in read_trust(path).keys):
            raise UsageError(
                f"{path}: key {key.keyid[:12]} is trusted already",
                "edit its entry, or harness keys revoke it",
            )
        before = (_text(path) or HEADER).rstrip("\n")
        text = "\n".join([before, "", "[[key]]", *lines, ""])
        parse_trust(text, str(path))  # a file that lists its keys in another way takes no more
        _write(path, text)
    return key


def revoke(path: Path, prefix: str, at: str, reason: str) -> TrustedKey:
    """Mark the one key whose id begins with `prefix` as revoked; all else stays as written.

    Raises: UsageError when none or several fit, or it is revoked already.
    """
    import tomlkit

    with alone(path):
        key = pick(read_trust(path), prefix)
        if key.revoked_at:
            raise UsageError(
                f"{path}: key {key.keyid[:12]} was revoked at {key.revoked_at} already",
                "nothing to do",
            )
        document = tomlkit.parse(_text(path) or "")
        entry = next(e for e in document["key"] if e["id"] == key.keyid)
        entry["revoked_at"] = at
        if reason:
            entry["revocation_reason"] = reason
        text = tomlkit.dumps(document)
        changed = parse_trust(text, str(path))
        _write(path, text)
    return pick(changed, key.keyid)


def pick(trust: Trust, prefix: str) -> TrustedKey:
    """Return the one key whose id begins with `prefix`.

    Raises: UsageError when the prefix is too short, or none or several fit.
    """
    wanted = prefix.lower()
    if len(wanted) < SHORTEST_PREFIX:
        raise UsageError(
            f"key id {prefix!r}: at least {SHORTEST_PREFIX} characters", "harness keys list"
        )
    found = [k for k in trust.keys if k.keyid.startswith(wanted)]
    if len(found) != 1:
        said = f"{len(found)} keys" if found else "no key"
        raise UsageError(f"{trust.where}: {said} with id {prefix}…", "harness keys list")
    return found[0]


def _write(path: Path, text: str) -> None:
    # A link to the file, as configuration managers make, stays a link.
    write_atomic(path.resolve(), text.encode())


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a file's folder, so that two writers lose nothing and no lock file is left there."""
    folder = path.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
