"""A version's way through the stages: signed moves first, then the alias, then the tags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness import casefile, gating
from harness.attestations import dsse, governance, keys
from harness.attestations.governance import Move
from harness.casefile import CaseFile
from harness.errors import InfrastructureError, RefusedByPolicy
from harness.files import write_atomic
from harness.model import Stage, Version
from harness.movechain import backdated
from harness.reading import Signed
from harness.record import canonical, digest, load
from harness.registries.base import Registry


@dataclass(frozen=True)
class Step:
    """One move to make: which kind, to which stage, on which evidence, and why."""

    kind: str
    stage: Stage
    record_digest: str
    policy_digest: str
    relied_on: tuple[str, ...]
    printed_name: str
    reason: str


@contextmanager
def alone(home: Path, name: str) -> Iterator[None]:
    """Hold a model's lock: of two promotions on one host the second is refused, not queued.

    Raises: RefusedByPolicy when another one holds it.
    """
    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"stages-{digest(name.encode())[:24]}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RefusedByPolicy(
            f"another promotion of {name} is under way here", "look at its end, then try again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def take(
    registry: Registry, case: CaseFile, step: Step, key: keys.PrivateKey, trust: keys.Trust
) -> Signed[Move] | None:
    """Sign and store a move, then let alias and tags follow it; return the move if one was made.

    A step that was cut off after its statement is finished by the same call: nothing is signed
    twice. Raises: RefusedByPolicy when another promotion took the same place first.
    """
    version = case.version
    last = gating.entry(case, version.number)
    stands = gating.stage_of(case, version.number) == step.stage
    done = stands and last is not None and (last.value.kind != "break-glass")
    replaces = gating.holders(case.moves).get(step.stage, "")
    if done and last is not None:
        replaces = last.value.replaces
        _follow(registry, version, step.stage, replaces)
        return None
    made = _sign(case, step, key, "" if replaces == version.number else replaces)
    name = f"move-{digest(made)[:32]}.intoto.json"
    registry.keep(version.name, {name: made})
    # Nothing was moved yet: whoever came first by the chain has the place.
    again = casefile.read(registry, version, trust)
    if not again.moves or again.moves[-1].digest != digest(made):
        raise RefusedByPolicy(
            f"another promotion of {version.name} came first; nothing was moved",
            f"harness gate {version.uri} --to {step.stage}, then try again",
        )
    _follow(registry, version, step.stage, replaces)
    return again.moves[-1]


def _sign(case: CaseFile, step: Step, key: keys.PrivateKey, replaces: str) -> bytes:
    assert case.lineage is not None, "without a lineage there is nothing to bind a move to"
    assert case.binding is not None, "a lineage has its binding"
    now = keys.now()
    if case.moves and backdated(now, case.moves[-1]):
        last = case.moves[-1].value.created_at
        raise RefusedByPolicy(
            f"it is {now} here, and the last move of {case.version.name} is dated {last}",
            "set the clock of this machine, or ask who signed that move",
        )
    move = Move(
        case.binding,
        step.kind,
        step.stage,
        replaces,
        case.moves[-1].digest if case.moves else "",
        step.record_digest,
        step.policy_digest,
        step.relied_on,
        step.printed_name,
        step.reason,
        now,
    )
    return dsse.sign(governance.statement(move, case.lineage.value), key)


def _follow(registry: Registry, version: Version, stage: Stage, replaces: str) -> None:
    """Let alias and tags say what was signed; each step may be done again."""
    try:
        if stage.alias:
            registry.set_alias(version, stage.alias)
        for alias in {s.alias for s in Stage if s.alias and s != stage}:
            if alias in registry.info(version).aliases:
                registry.delete_alias(version.name, alias)
        if replaces and replaces != version.number:
            before = Version(version.registry, version.name, replaces)
            registry.set_tags(before, {"harness.stage": str(Stage.ARCHIVED)})
        registry.set_tags(version, {"harness.stage": str(stage)})
    except InfrastructureError as error:
        raise InfrastructureError(
            f"the move of {version.uri} to {stage} is signed, but the registry failed before "
            f"alias and tags followed: {error.message}",
            "run the same command again: it finishes the move",
        ) from error


def seen(home: Path, version: Version) -> frozenset[str]:
    """Return the digests of the evidence that this machine has seen of a version before."""
    path = _memory(home, version)
    return (
        frozenset(load(list[str], path.read_bytes(), str(path))) if path.exists() else frozenset()
    )


def remember(home: Path, case: CaseFile) -> None:
    """Note what was seen: evidence that is deleted later is missed, and named."""
    known = seen(home, case.version) | case.digests
    write_atomic(_memory(home, case.version), canonical(sorted(known)))


def _memory(home: Path, version: Version) -> Path:
    return home / "seen" / f"{digest(canonical(version))[:24]}.json"
