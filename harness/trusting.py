"""`harness keys`: keys of our own, whom this machine trusts, and signed files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.attestations import files, keys, publickeys, trust, trustfile
from harness.errors import UsageError
from harness.files import write_atomic
from harness.house import House
from harness.progress import Progress, Quiet
from harness.settings import Settings

ROW = ("keyid", "name", "identity", "roles", "not_before", "not_after", "revoked_at")
_MAX_FILE = 16 << 20
_PLAIN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def new(
    settings: Settings, name: str, algorithm: str = "ed25519", output: Path | None = None
) -> dict[str, Any]:
    """Make a key pair: the private part 0600, the public part beside it."""
    if output is None and (not name or set(name) - _PLAIN or name[0] == "."):
        raise UsageError(f"key name {name!r}", "letters, digits, '.', '_' and '-'")
    path = output or settings.home / "keys" / f"{name}.pem"
    public = path.parent / f"{name if output is None else path.stem}.pub"
    if public.exists() or public == path:
        raise UsageError(f"{public}: exists already", "choose another name")
    key = keys.create(path, algorithm)
    write_atomic(public, keys.public_pem(key.signer.public_key))
    answer = {"keyid": key.keyid, "private": str(path), "public": str(public)}
    return {"schema": 1, **answer, "algorithm": algorithm, "exit_code": 0}


def add(
    settings: Settings, public: Path, name: str, roles: tuple[str, ...], **more: str
) -> dict[str, Any]:
    """Trust a public key; `more` are `identity`, `not_before` and `not_after`.

    A bare file name that is not here is looked for where `keys new` writes.
    """
    made = settings.home / "keys" / public.name
    if public == Path(public.name) and not public.exists() and made.exists():
        public = made
    pem = _read(public, 1 << 16)
    try:
        key = publickeys.public_key(pem)
    except ValueError as error:
        raise UsageError(f"{public}: {error}", "harness keys new writes a .pub file") from None
    path = _trust_file(settings)
    row = _row(keys.add(path, key, name, roles, **more))
    lacking = "approver" in roles and not row["identity"]
    warnings = ["without --identity no four-eyes rule counts this approver"] if lacking else []
    return {"schema": 1, "trust": str(path), **row, "warnings": warnings}


def listed(settings: Settings) -> dict[str, Any]:
    """Return the trusted keys, where they were read, and the key that this machine signs with."""
    found = keys.read_trust(_trust_file(settings))
    try:
        mine, problem = keys.present(settings.home, settings.key), ""
    except UsageError as error:
        mine, problem = None, error.message
    rows = [_row(key) for key in found.keys]
    return {
        "schema": 1,
        "trust": found.where,
        "keys": [{k: v for k, v in row.items() if k != "exit_code"} for row in rows],
        "signing": {"keyid": mine.keyid, "where": mine.where} if mine else None,
        "signing_problem": problem,
        "exit_code": 0,
    }


def revoke(settings: Settings, prefix: str, at: str = "", reason: str = "") -> dict[str, Any]:
    """Revoke a trusted key: all that it signed is refused from now on."""
    when = at or keys.now()
    try:
        trust.check_time("--at", when)
        if reason:
            trust.printable("--reason", reason, 500)
    except ValueError as error:
        raise UsageError(str(error), "harness keys revoke --help") from None
    if when > keys.now():
        raise UsageError(
            f"--at {when} is in the future", "a key that ends later is given not_after instead"
        )
    path = _trust_file(settings)
    return {"schema": 1, "trust": str(path), **_row(trustfile.revoke(path, prefix, when, reason))}


def sign(settings: Settings, file: Path, progress: Progress) -> dict[str, Any]:
    """Sign an operator's file with this machine's key; the envelope lies beside it."""
    content = _read(file, _MAX_FILE)
    house = House(settings, progress)
    key = keys.local(settings.home, progress.note, settings.key)
    mine = next((k for k in keys.read_trust(house.trust_file()).keys if k.keyid == key.keyid), None)
    envelope = files.sign_file(file.name, content, key, mine.name if mine else "")
    target = file.with_name(f"{file.name}.intoto.json")
    write_atomic(target, envelope)
    why = mine.refusal("policy", keys.now()) if mine else f"key {key.keyid[:12]} is not trusted yet"
    warnings = [f"{why}: nobody accepts this signature as it stands"] if why else []
    answer = {"file": str(file), "envelope": str(target), "keyid": key.keyid, "warnings": warnings}
    return {"schema": 1, **answer, "exit_code": 0}


def _trust_file(settings: Settings) -> Path:
    return House(settings, Quiet()).trust_file()


def _row(key: keys.TrustedKey) -> dict[str, Any]:
    row: Mapping[str, Any] = {n: getattr(key, n) for n in ROW}
    return {**row, "state": key.state(keys.now()), "exit_code": 0}


def _read(path: Path, longest: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(longest + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a file that can be read") from None
    if len(content) > longest:
        raise UsageError(f"{path}: larger than {longest} bytes", "is this the right file?")
    return content
