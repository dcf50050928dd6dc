"""The moves of a model through its stages, in the order in which each follows another."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from harness.attestations import dsse
from harness.attestations.governance import Move
from harness.attestations.keys import Trust
from harness.model import Version
from harness.reading import MOVERS, Reader, Signed, Source, written
from harness.record import canonical, digest

CLOCK_SKEW = timedelta(minutes=5)


def history(source: Source, version: Version, trust: Trust) -> tuple[Signed[Move], ...]:
    """Return the signed moves of a version's model, in the order of their chain.

    Raises: BadEvidence when a move is forged, or one is gone.
    """
    reader = Reader(source, version, trust)
    documents = written(source.kept(version.name))
    moves = chained(reader, reader.each(documents, MOVERS, reader.move))
    for problem in reader.problems:
        raise dsse.BadEvidence(problem.detail)
    return moves


def chained(reader: Reader, found: Iterator[Signed[Move]]) -> tuple[Signed[Move], ...]:
    """Return the moves of a model in the order of their chain; of two that claim one place the
    earlier one holds, by time and digest, so that every reader decides alike."""
    waiting: dict[str, list[Signed[Move]]] = {}
    for move in found:
        waiting.setdefault(move.value.previous, []).append(move)
    chain: list[Signed[Move]] = []
    branch = waiting.pop("", [])
    while branch:
        # Not by the envelope's digest: an ECDSA signature has a second form that anyone can make.
        winner, *others = sorted(
            branch, key=lambda m: (m.value.created_at, digest(canonical(m.value)), m.digest)
        )
        losers = [m for m in others if m.value != winner.value]
        for lost in losers:
            v = lost.value
            reader.note(
                f"move {lost.digest[:12]} of version {v.binding.version} to {v.stage} is void: "
                f"{winner.digest[:12]} came first"
            )
        if chain and backdated(winner.value.created_at, chain[-1]):
            reader.wrong(
                "chain",
                f"move {winner.digest[:12]} of version {winner.value.binding.version} is dated "
                f"{winner.value.created_at}, before the one that it follows",
            )
        chain.append(winner)
        twins = [m for m in branch if m.value == winner.value]
        branch = [m for twin in twins for m in waiting.pop(twin.digest, [])]
    for previous, rest in waiting.items():
        for move in rest:
            reader.wrong(
                "chain",
                f"move {move.digest[:12]} of version {move.value.binding.version} follows "
                f"{previous[:12]}, which is void or gone from the registry",
            )
    return tuple(chain)


def backdated(moment: str, last: Signed[Move]) -> bool:
    """Return whether a UTC time lies before a move, by more than clocks are apart."""
    before = datetime.fromisoformat(last.value.created_at) - CLOCK_SKEW
    return datetime.fromisoformat(moment) < before
