"""Public keys in PEM: Ed25519 and ECDSA P-256, and no other kind."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.signer import SSlibKey


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
