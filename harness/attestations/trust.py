"""The operator's trust file: which public key may do what, from when to when, and whose it is."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey

from harness.attestations.publickeys import public_key
from harness.errors import UsageError

ROLES = ("recorder", "verifier", "approver", "policy")
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
    text = text_of(path)
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
            key = key_of(entry)
        except (TypeError, ValueError) as error:
            raise _wrong(where, what, str(error)) from None
        if key.keyid in found:
            raise _wrong(where, what, "this key id is there twice")
        found[key.keyid] = key
    return Trust(tuple(found.values()), where)


def _wrong(where: str, what: str, why: str) -> UsageError:
    return UsageError(": ".join(p for p in (where, what, why) if p), "correct the trust file")


def text_of(path: Path) -> str | None:
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


def key_of(entry: Mapping[str, Any]) -> TrustedKey:
    """Return the key that an entry of the file says.

    Raises: ValueError saying what is wrong.
    """
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
