"""One version on the desk of one command: registry, trust, policy and its case, read once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import casefile, comparing, evidence, gating, stages
from harness.attestations import dsse, governance, keys
from harness.attestations.governance import Approval, Waiver
from harness.casefile import CaseFile
from harness.errors import RefusedByPolicy, Tampered
from harness.gating import Answer, Asked
from harness.house import House
from harness.lineages import check_intact
from harness.model import Stage
from harness.policy import Policy, Refusal
from harness.progress import Progress, timed
from harness.record import digest
from harness.settings import Settings


class Desk:
    """One version on the desk of one command: registry, trust, policy and the case, read once."""

    def __init__(self, settings: Settings, ref: str, progress: Progress) -> None:
        self.house = House(settings, progress)
        self.progress = progress
        self.registry = self.house.registry()
        self.version = self.registry.resolve(ref)
        self.signing = self.house.signing()
        self.policy: Policy = self.house.policy()
        self.case = self.read()
        self._rehashed: tuple[Refusal, ...] | None = None

    def read(self) -> CaseFile:
        """Read the case as it is now."""
        return casefile.read(
            self.registry,
            self.version,
            self.signing.trust,
            evidence.waiting(self.version, self.signing),
            stages.seen(self.house.home, self.version),
        )

    def me(self, role: str) -> keys.TrustedKey:
        """Return our own key as the trust file has it.

        Raises: RefusedByPolicy when it may not act in this role.
        """
        keyid, trust = self.signing.key.keyid, self.signing.trust
        mine = next((k for k in trust.keys if k.keyid == keyid), None)
        if mine is None:
            raise RefusedByPolicy(
                f"our key {keyid[:12]} is not in {trust.where}", "harness keys trust adds it"
            )
        if reason := mine.refusal(role, keys.now()):
            raise RefusedByPolicy(
                reason, "HARNESS_KEY_FILE (or HARNESS_SIGNING_KEY) names a key that has this role"
            )
        return mine

    def evaluate(self, stage: Stage, *, requester: str = "", rollback: bool = False) -> Answer:
        """Decide, with the registered files read again where the policy asks for it."""
        asked = Asked(stage, keys.now(), requester, comparing.in_force(), rollback)
        criteria = self.policy.criteria(self.version.name, stage)
        more = self.rehash() if criteria.rehash else ()
        answer = gating.evaluate(self.case, self.policy, asked, more)
        stages.remember(self.house.home, self.case)
        return answer

    def rehash(self) -> tuple[Refusal, ...]:
        """Hold the registered files against the signed manifest, once a command."""
        if self._rehashed is None:
            self._rehashed = tuple(self._wrong_files())
        return self._rehashed

    def _wrong_files(self) -> Iterator[Refusal]:
        if self.case.lineage is None:
            return
        with (
            timed(self.progress, "re-hash"),
            tempfile.TemporaryDirectory(dir=_scratch(self.house.home)) as folder,
        ):
            root = Path(folder)
            self.registry.download(self.version, root / "model")
            self.registry.download_outputs(self.version, root / "other")
            try:
                check_intact(root, self.case.lineage.value)
            except Tampered as error:
                yield from (Refusal("tampered", reason) for reason in error.reasons)

    def put(self, folder: str, value: Approval | Waiver) -> str:
        """Sign a statement and store it with the version; return its digest."""
        assert self.case.lineage is not None, "checked by `bound`"
        data = dsse.sign(governance.statement(value, self.case.lineage.value), self.signing.key)
        name = digest(data)
        documents = {
            f"{name[:32]}.intoto.json": data,
            f"{name[:32]}.sigstore.json": dsse.bundle(data),
        }
        self.registry.put_documents(self.version, folder, documents, {})
        return name

    def bound(self) -> governance.Binding:
        """Return what a statement about this version is bound to.

        Raises: RefusedByPolicy when its lineage is missing or not as it was signed.
        """
        if self.case.binding is None:
            reasons = "; ".join(p.detail for p in self.case.problems)
            raise RefusedByPolicy(f"{self.version.uri}: {reasons}", "harness check says more")
        return self.case.binding


def _scratch(home: Path) -> Path:
    folder = home / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
