"""Signing keys on disk or in the environment, and the operator's file of trusted keys."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from harness.errors import UsageError
from harness.files import write_atomic

ROLES = ("recorder", "verifier", "approver", "policy")
ENVIRONMENT = "HARNESS_SIGNING_KEY"
LOCAL = "local"


@dataclass(frozen=True)
class PrivateKey:
    """A key that can sign; `keyid` is the sha256 of its public part as securesystemslib has it."""

    keyid: str
    signer: CryptoSigner
    where: str


@dataclass(frozen=True)
class TrustedKey:
    """A public key, what it may do, from when to when (UTC, ISO 8601), and the printed name."""

    keyid: str
    public: SSlibKey
    name: str
    roles: tuple[str, ...]
    not_before: str = ""
    not_after: str = ""
    revoked_at: str = ""

    def refusal(self, role: str, when: str) -> str:
        """Return why this key may not act in `role` at `when`; empty when it may."""
        short = self.keyid[:12]
        if role not in self.roles:
            return f"key {short} ({self.name}) may not act as {role}"
        if self.revoked_at:
            return f"key {short} ({self.name}) was revoked at {self.revoked_at}"
        if not when:
            return f"key {short} ({self.name}) signed without a time"
        if self.not_before and when < self.not_before:
            return f"key {short} ({self.name}) is valid only from {self.not_before}"
        if self.not_after and when > self.not_after:
            return f"key {short} ({self.name}) expired at {self.not_after}"
        return ""


@dataclass(frozen=True)
class Trust:
    """The trusted keys and where they were read."""

    keys: tuple[TrustedKey, ...]
    where: str


def now() -> str:
    """Return the current UTC time as RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def create(path: Path, algorithm: str = "ed25519") -> PrivateKey:
    """Make a key file with mode 0600; an existing one is never overwritten.

    Raises: UsageError when the file exists or the algorithm is not known.
    """
    makers = {"ed25519": CryptoSigner.generate_ed25519, "ecdsa": CryptoSigner.generate_ecdsa}
    if algorithm not in makers:
        raise UsageError(f"unknown key algorithm {algorithm!r}", f"one of: {', '.join(makers)}")
    if path.exists():
        raise UsageError(f"{path}: exists already", "choose another name")
    signer = makers[algorithm]()
    write_atomic(path, signer.private_bytes, mode=0o600)
    return PrivateKey(signer.public_key.keyid, signer, str(path))


def load(pem: bytes, where: str) -> PrivateKey:
    """Read a private key in PEM.

    Raises: UsageError when it is none, or of a kind other than Ed25519 or ECDSA P-256.
    """
    try:
        signer = CryptoSigner(load_pem_private_key(pem, None))
    except Exception as error:
        raise UsageError(f"{where}: not a private key: {error}", "harness keys new") from None
    return PrivateKey(signer.public_key.keyid, signer, where)


def local(home: Path, progress_note: Any = None) -> PrivateKey:
    """Return the signing key: from the environment, else this machine's own, made on first use.

    A key made here is trusted here as recorder and verifier, and `progress_note` is told so.
    """
    if pem := os.environ.get(ENVIRONMENT):
        return load(pem.encode(), f"${ENVIRONMENT}")
    path = home / "keys" / f"{LOCAL}.pem"
    if path.exists():
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path}: others can read this key", f"chmod 600 {path}")
        return load(path.read_bytes(), str(path))
    key = create(path)
    add(home / "trust.toml", key.signer.public_key, "local key of this machine", ROLES[:2])
    if progress_note:
        progress_note(f"made a signing key for this machine: {path}")
    return key


def read_trust(path: Path) -> Trust:
    """Read the trust file; an absent one trusts nobody.

    Raises: UsageError naming the file and the key that is wrong.
    """
    if not path.exists():
        return Trust((), str(path))
    try:
        entries = tomllib.loads(path.read_text())["key"]
        return Trust(tuple(_entry(e) for e in entries), str(path))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: not a trust file: {error}", "correct the entry") from None


def _entry(entry: dict[str, Any]) -> TrustedKey:
    public = SSlibKey.from_crypto(load_pem_public_key(entry["public"].encode()))
    unknown = set(entry["roles"]) - set(ROLES)
    if unknown or public.keyid != entry["id"]:
        raise ValueError(f"key {entry['id']}: {unknown or 'id and public key do not fit'}")
    times = (str(entry.get(k, "")) for k in ("not_before", "not_after", "revoked_at"))
    return TrustedKey(public.keyid, public, entry["name"], tuple(entry["roles"]), *times)


def add(path: Path, public: SSlibKey, name: str, roles: tuple[str, ...], **times: str) -> None:
    """Append a key to the trust file."""
    fields = {
        "id": public.keyid,
        "name": name,
        "roles": list(roles),
        "not_before": times.get("not_before") or now(),
        **{k: v for k, v in times.items() if v and k != "not_before"},
        "public": public.keyval["public"] if "BEGIN" in public.keyval["public"] else _pem(public),
    }
    # A JSON string or list of strings is also a TOML one.
    lines = [f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in fields.items()]
    before = path.read_text() if path.exists() else "# Which key may do what, from when to when.\n"
    write_atomic(path, (before + "\n[[key]]\n" + "\n".join(lines) + "\n").encode())


def _pem(public: SSlibKey) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public.keyval["public"]))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
