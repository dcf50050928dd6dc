"""Changes of the trust file: one writer at a time, whole or not at all, comments kept."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey

from harness.attestations.publickeys import public_pem
from harness.attestations.trust import (
    Trust,
    TrustedKey,
    key_of,
    now,
    parse_trust,
    read_trust,
    text_of,
)
from harness.errors import UsageError
from harness.files import write_atomic

SHORTEST_PREFIX = 8
HEADER = "# Which key may do what, from when to when.\n"


def add(path: Path, public: SSlibKey, name: str, roles: tuple[str, ...], **more: str) -> TrustedKey:
    """Append a key to the trust file; `more` are `identity`, `not_before`, `not_after`.

    Raises: UsageError when it is there already, or a text or time is malformed.
    """
    times = {"not_before": more.get("not_before") or now()}
    fields: dict[str, Any] = {"id": public.keyid, "name": name, "roles": list(roles)}
    fields |= times | {k: v for k, v in more.items() if v and k not in times}
    fields["public"] = public_pem(public).decode()
    try:
        key = key_of(fields)
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
        before = (text_of(path) or HEADER).rstrip("\n")
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
        document = tomlkit.parse(text_of(path) or "")
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
