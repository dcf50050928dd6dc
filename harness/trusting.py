"""`harness keys`: whom this machine trusts."""

from __future__ import annotations

from typing import Any

from harness.attestations import keys
from harness.house import House
from harness.progress import Quiet
from harness.settings import Settings


def listed(settings: Settings) -> dict[str, Any]:
    """Return the trusted keys and where they were read."""
    trust = keys.read_trust(House(settings, Quiet()).trust_file())
    names = ("keyid", "name", "roles", "not_before", "not_after", "revoked_at")
    rows = [{n: getattr(key, n) for n in names} for key in trust.keys]
    return {"schema": 1, "trust": trust.where, "keys": rows, "exit_code": 0}
