"""Pure: comparisons + recipe + what was observed -> Verdict, or one more run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.model import (
    Cause,
    Comparison,
    Difference,
    Grade,
    NeedRun,
    Outcome,
    Role,
    Status,
    Verdict,
)

# Wider tolerances than these cannot tell a model from another one; a policy may be stricter.
MAX_RTOL = 0.1
MAX_ATOL = 1.0

GRADES = {
    Status.IDENTICAL: Grade.BITWISE,
    Status.EXACT: Grade.EXACT,
    Status.WITHIN_TOLERANCE: Grade.TOLERANCE,
    Status.BEHAVIOURAL: Grade.BEHAVIOURAL,
}
DIFFERS = {Status.DIFFERENT, Status.MISSING, Status.EXTRA}


@dataclass(frozen=True)
class Earlier:
    """What an earlier signed record of this version says."""

    digest: str
    outcome: str
    cause: str
    conditional: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """Everything a verdict follows from.

    `against` holds, per rerun, its comparisons with the recorded version, or None for a rerun
    that failed; `between` those of each later rerun with the first. `copied` are model outputs
    that are copies of an input, `other_class` says how the hardware class differs (empty: it
    does not), `conditional` what differs around the training, `reruns` how many diagnostic
    reruns are allowed, `earlier` the trusted records of this version so far.
    """

    against: tuple[tuple[Comparison, ...] | None, ...]
    between: tuple[tuple[Comparison, ...] | None, ...] = ()
    copied: tuple[str, ...] = ()
    other_class: str = ""
    conditional: tuple[str, ...] = ()
    reruns: int = 1
    earlier: tuple[Earlier, ...] = ()


def judge(case: Case) -> Verdict | NeedRun:
    """Return the verdict of a case, or ask for the run that it still needs."""
    verdict = _judge(case)
    if isinstance(verdict, Verdict):
        return Verdict(
            verdict.outcome, verdict.grade, verdict.cause, verdict.reasons, case.conditional
        )
    return verdict


def _judge(case: Case) -> Verdict | NeedRun:
    first = case.against[0]
    assert first is not None, "a first run that failed is RERUN_FAILED before it is judged"
    if case.copied:
        return _inconclusive(*(f"copied input: {path}" for path in case.copied))
    if _different(first):
        return _differing(case, first)
    if any(c is not None and _different(c) for c in case.against[1:]):
        return Verdict(Outcome.DIVERGED, cause=Cause.FLAKY, reasons=_count(case))
    if blocked := _unproven(first):
        return _inconclusive(*blocked)
    if earlier := _earlier_difference(case):
        why = f"an earlier verification found a difference (record {earlier.digest[:12]})"
        return Verdict(Outcome.DIVERGED, cause=Cause.FLAKY, reasons=(why,))
    return Verdict(Outcome.REPRODUCED, grade=_weakest(first), reasons=_set_aside(first))


def _differing(case: Case, first: tuple[Comparison, ...]) -> Verdict | NeedRun:
    names = tuple(f"{d.status}: {where}" for where, d in _worst(first))
    if case.other_class:
        return _inconclusive(f"differs on another hardware class: {case.other_class}", *names)
    done = len(case.against) - 1
    if done < min(case.reruns, 1):
        return NeedRun("to tell a flaky training from a stable difference")
    if done == 0:
        return Verdict(
            Outcome.DIVERGED, cause=Cause.UNEXPLAINED, reasons=("no second rerun allowed", *names)
        )
    if done < case.reruns and all(c is not None for c in case.against[1:]):
        return NeedRun(f"rerun {done + 1} of {case.reruns} that were asked for")
    return Verdict(Outcome.DIVERGED, cause=_cause(case), reasons=(*_count(case), *names))


def _cause(case: Case) -> Cause:
    if any(c is None for c in case.against):
        return Cause.UNEXPLAINED
    if any(not _different(c) for c in case.against[1:] if c is not None):
        return Cause.FLAKY
    for pair in case.between:
        if pair is None or not _same(pair):
            return Cause.FLAKY
    # Once seen to be flaky, always flaky: two reruns can also agree by chance.
    known = _earlier_difference(case, Cause.FLAKY)
    return Cause.FLAKY if known else Cause.STABLE


def _count(case: Case) -> tuple[str, ...]:
    agreeing = sum(1 for c in case.against if c is not None and not _different(c))
    return (f"{agreeing} of {len(case.against)} runs agree with the recorded version",)


def _earlier_difference(case: Case, cause: Cause | None = None) -> Earlier | None:
    """Return an earlier difference found under the same or fewer conditions than now."""
    now = set(case.conditional)
    for record in case.earlier:
        if record.outcome != Outcome.DIVERGED or not set(record.conditional) <= now:
            continue
        if cause is None or record.cause == cause:
            return record
    return None


def _unproven(comparisons: tuple[Comparison, ...]) -> tuple[str, ...]:
    """Return why matching comparisons still prove nothing; empty when they do."""
    reasons = [
        f"{c.path}: {c.difference.reason or 'no comparator could read it, and its bytes differ'}"
        for c in comparisons
        if grade(c) is None
    ]
    models = [c for c in comparisons if c.role == Role.MODEL]
    if not models:
        reasons.append("no model output was compared")
    elif not any(c.difference.values for c in models):
        reasons.append("no model output has a single value to compare")
    # Equal bytes of an empty file are equal; a difference that was set aside whole proves nothing.
    reasons += [
        f"{c.path}: it differs, and nothing in it was compared"
        for c in models
        if not c.difference.values and c.difference.status != Status.IDENTICAL
    ]
    for c in models:
        for node in walk(c.difference):
            d = node.distances
            if d is not None and d.differing and (d.rtol > MAX_RTOL or d.atol > MAX_ATOL):
                reasons.append(
                    f"{c.path}: {node.name}: a tolerance of rtol {d.rtol:g}, atol {d.atol:g} "
                    f"proves nothing (at most {MAX_RTOL:g} and {MAX_ATOL:g})"
                )
    return tuple(reasons)


def _inconclusive(*reasons: str) -> Verdict:
    return Verdict(Outcome.INCONCLUSIVE, reasons=reasons)


def grade(comparison: Comparison) -> Grade | None:
    """Return the grade that one artifact reached; None when it differs or cannot be compared."""
    return GRADES.get(comparison.difference.status)


def _weakest(comparisons: tuple[Comparison, ...]) -> Grade:
    return max((g for c in comparisons if (g := grade(c))), key=lambda g: g.rank)


def _different(comparisons: tuple[Comparison, ...]) -> bool:
    return any(c.difference.status in DIFFERS for c in comparisons)


def _same(comparisons: tuple[Comparison, ...]) -> bool:
    return all((g := grade(c)) is not None and g.meets(Grade.EXACT) for c in comparisons)


def _worst(comparisons: tuple[Comparison, ...]) -> Iterator[tuple[str, Difference]]:
    for c in comparisons:
        if c.difference.status in DIFFERS:
            leaf = next(
                (n for n in walk(c.difference) if n.status in DIFFERS and not n.children),
                c.difference,
            )
            name = c.path if leaf is c.difference else f"{c.path}: {leaf.name}"
            told = f"{name} ({leaf.reason})" if leaf.reason else name
            yield told if leaf is c.difference else told + _behaviour(c), leaf


def _behaviour(comparison: Comparison) -> str:
    """Return what the probe inputs showed of an artifact that still differs."""
    seen = (n for n in comparison.difference.children if n.name == "behaviour" and n.reason)
    return "".join(f"; behaviour: {n.reason}" for n in seen)


def _set_aside(comparisons: tuple[Comparison, ...]) -> tuple[str, ...]:
    return tuple(
        f"{c.path}: set aside {s.what}: {s.why}"
        for c in comparisons
        for node in walk(c.difference)
        for s in node.set_aside
    )[:20]


def walk(node: Difference) -> Iterator[Difference]:
    """Yield every node of a difference tree, parents before children."""
    yield node
    for child in node.children:
        yield from walk(child)
