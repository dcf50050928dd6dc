"""Signing keys on disk or in the environment; whom we trust is in the trust file beside."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from harness.attestations.publickeys import accepted, public_pem
from harness.attestations.trust import ROLES, Trust, TrustedKey, now, read_trust
from harness.attestations.trustfile import add, alone
from harness.errors import UsageError
from harness.files import write_atomic

ENVIRONMENT = "HARNESS_SIGNING_KEY"
LOCAL = "local"
ALGORITHMS = ("ed25519", "ecdsa")
__all__ = [
    "ALGORITHMS",
    "ENVIRONMENT",
    "LOCAL",
    "PrivateKey",
    "ROLES",
    "Trust",
    "TrustedKey",
    "UsageError",
    "add",
    "create",
    "load",
    "local",
    "now",
    "public_pem",
    "read_trust",
]


@dataclass(frozen=True)
class PrivateKey:
    """A key that can sign; `keyid` is the sha256 of its public part as securesystemslib has it."""

    keyid: str
    signer: CryptoSigner
    where: str


def create(path: Path, algorithm: str = "ed25519") -> PrivateKey:
    """Make a key file with mode 0600 (PKCS8 PEM); an existing one is never overwritten.

    Raises: UsageError when the file exists or the algorithm is not known.
    """
    makers = {"ed25519": CryptoSigner.generate_ed25519, "ecdsa": CryptoSigner.generate_ecdsa}
    if algorithm not in makers:
        raise UsageError(f"unknown key algorithm {algorithm!r}", f"one of: {', '.join(makers)}")
    signer = makers[algorithm]()
    staged = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_atomic(staged, signer.private_bytes, mode=0o600)
    try:
        # A link is refused where the name is taken, unlike a rename.
        os.link(staged, path)
    except FileExistsError:
        raise UsageError(f"{path}: exists already", "choose another name") from None
    finally:
        staged.unlink()
    return PrivateKey(signer.public_key.keyid, signer, str(path))


def load(pem: bytes, where: str) -> PrivateKey:
    """Read a private key in PEM.

    Raises: UsageError when it is none, or of a kind other than Ed25519 or ECDSA P-256.
    """
    # No text of an error below is shown: it may quote what was read.
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise UsageError(
            f"{where}: the key is encrypted, and nobody is there to ask for its passphrase",
            "decrypt it into a file of mode 0600 (openssl pkey), or harness keys new",
        ) from None
    except Exception:
        raise UsageError(f"{where}: not a private key in PEM", "harness keys new") from None
    try:
        accepted(key.public_key())
    except ValueError as error:
        raise UsageError(f"{where}: {error}", "harness keys new") from None
    signer = CryptoSigner(key)
    return PrivateKey(signer.public_key.keyid, signer, where)


def load_file(path: Path) -> PrivateKey:
    """Read a private key file that nobody else can read.

    Raises: UsageError when it is absent, open to others, or no key.
    """
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise UsageError(f"{path}: others can read this key", f"chmod 600 {path}")
            pem = file.read(1 << 16)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a private key in PEM") from None
    return load(pem, str(path))


def present(home: Path, file: Path | None = None) -> PrivateKey | None:
    """Return the key that this machine signs with; None where it has none yet.

    It is the one in the environment, else the file that the settings name, else our own.
    """
    if pem := os.environ.get(ENVIRONMENT):
        return load(pem.encode(), f"${ENVIRONMENT}")
    path = file or home / "keys" / f"{LOCAL}.pem"
    return load_file(path) if file or path.exists() else None


def local(
    home: Path, note: Callable[[str], None] | None = None, file: Path | None = None
) -> PrivateKey:
    """Return the key that this machine signs with; its own is made on first use.

    A key made here is trusted here as recorder and verifier, and `note` is told so.
    """
    if (key := present(home, file)) is not None:
        return key
    path = home / "keys" / f"{LOCAL}.pem"
    with alone(path):
        if path.exists():  # made meanwhile by another command
            return load_file(path)
        key = create(path)
        # Whoever keeps the operator's trust file asks this machine for it.
        write_atomic(path.with_suffix(".pub"), public_pem(key.signer.public_key))
        name = "local key of this machine"
        add(home / "trust.toml", key.signer.public_key, name, ROLES[:2], identity=LOCAL)
    if note:
        note(f"made a signing key for this machine: {path}")
    return key
