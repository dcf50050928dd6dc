"""The facts of a dossier, as plain values that every export is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Dossier:
    """What an auditor is told about one version; every member has only JSON values.

    `question` says registry, model, version and `asked` {alias, at}; `stage` where it stands;
    `intended_use`, `owner` and `risk_tier` are the asker's words, maybe empty; `lineage` is the
    `model.Lineage`, `records` (digest, record) oldest first, `deciding` the digest of the one
    that decides; `decision` {meets, reasons, policy_digest, exit_code}; `approvals` with
    {decision, stage, printed_name, identity, keyid, created_at, reason, meaning, record_digest,
    policy_digest, digest}; `waivers` {code, stage, reason, expires_at, …}; `moves` {alias, stage,
    version, previous_version, kind, reason, …} of the whole model; `problems` what is wrong with
    the evidence. Times are UTC, RFC 3339.
    """

    question: Facts
    stage: str
    intended_use: str
    owner: str
    risk_tier: str
    lineage: Facts
    lineage_digest: str
    records: tuple[tuple[str, Facts], ...]
    deciding: str
    decision: Facts
    policy: Facts
    approvals: tuple[Facts, ...]
    waivers: tuple[Facts, ...]
    moves: tuple[Facts, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    made_at: str
    tool: str
    schema: int = 1
