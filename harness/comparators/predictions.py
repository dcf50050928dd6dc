"""Predictions of two models on the same inputs: largest difference, flips, and their bound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import Bounds, CannotCompare, Context
from harness.comparators.document import clip
from harness.comparators.npy import NpzComparator
from harness.comparators.tensor import Tensor, distances
from harness.model import Difference, Status, Tolerance, ToleranceRule

CONFIDENCE = 0.95
BOUNDS = Bounds(expanded=1 << 30, member=1 << 28, entries=64)
Arrays = dict[str, Any]


def read(path: Path) -> Arrays:
    """Return the arrays of an .npz, as hostile bytes. Raises: CannotCompare."""
    try:
        content = NpzComparator().parse(path, Context(bounds=BOUNDS)).content
        if not all(isinstance(held, Tensor) for held in content.values()):
            raise CannotCompare(f"{path.name}: an array of Python objects is a pickle")
        return {
            name: np.frombuffer(t.data, np.dtype(t.dtype)).reshape(t.shape)
            for name, t in content.items()
        }
    except CannotCompare:
        raise
    except Exception as error:  # hostile bytes: parsers raise what they please
        raise CannotCompare(f"{path.name}: cannot be read: {clip(error)}") from error


def rule_of(tolerance: Tolerance) -> ToleranceRule:
    """Return the rule for predictions: one named `behaviour`, else the one for everything."""
    named = [r for r in tolerance.rules if r.match == "behaviour"]
    general = [r for r in tolerance.rules if r.match == "*"]
    return next(iter(named or general), ToleranceRule())


def judged(
    one: Arrays, two: Arrays, rule: ToleranceRule, source: str, comparator: str
) -> Difference:
    """Compare two sets of predictions, by output name.

    BEHAVIOURAL only when no decision flipped and every output is within the tolerance; without
    a tolerance every output has to be the same bit by bit.
    """
    if one.keys() != two.keys():
        reason = "the outputs have other names"
        return Difference("behaviour", Status.DIFFERENT, comparator, reason)
    children = []
    flips = decisions = values = 0
    for name, left in one.items():
        node, flipped, made = _output(name, left, two[name], rule)
        children.append(node)
        flips, decisions, values = flips + flipped, decisions + made, values + node.values
    different = flips or not values or any(c.status == Status.DIFFERENT for c in children)
    status = Status.DIFFERENT if different else Status.BEHAVIOURAL
    largest = max((c.distances.max_abs for c in children if c.distances), default=0.0)
    bound = f", flip rate at most {upper_bound(flips, decisions):.4g} at 95 %" if decisions else ""
    reason = f"{flips} of {decisions} decisions flipped{bound}; max |Δ| {largest:.4g}; on {source}"
    return Difference(
        "behaviour", status, comparator, reason, values=values, children=tuple(children)
    )


def _output(name: str, a: Any, b: Any, rule: ToleranceRule) -> tuple[Difference, int, int]:
    shown = f"{a.dtype} {list(a.shape)}", f"{b.dtype} {list(b.shape)}"
    label = clip(name)
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return Difference(label, Status.DIFFERENT, "", "shape or type", a.size, *shown), 1, 1
    flipped, made = _flips(a, b)
    if a.dtype.kind not in "fc":
        status = Status.DIFFERENT if flipped else Status.BEHAVIOURAL
        return Difference(label, status, values=a.size), flipped, made
    if not (np.isfinite(a).any() and np.isfinite(b).any()):
        reason = "not one finite value"
        return Difference(label, Status.DIFFERENT, "", reason, a.size, *shown), flipped, made
    found = distances(Tensor.of(a), Tensor.of(b.astype(a.dtype)), rule)
    bits = rule.rtol or rule.atol or a.tobytes() == b.tobytes()
    status = Status.BEHAVIOURAL if bits and not (found.beyond or flipped) else Status.DIFFERENT
    return Difference(label, status, "", "", a.size, *shown, distances=found), flipped, made


def _flips(a: Any, b: Any) -> tuple[int, int]:
    """Return how many decisions flipped, and how many there are: labels, or the largest score."""
    if a.dtype.kind not in "fc":
        return int((a != b).sum()), int(a.size)
    if a.ndim < 2 or a.shape[-1] < 2 or a.dtype.kind == "c":
        return 0, 0
    one, two = a.argmax(axis=-1), b.argmax(axis=-1)
    return int((one != two).sum()), int(one.size)


def upper_bound(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided Clopper-Pearson upper bound of a rate."""
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        at_most = sum(
            math.exp(
                math.lgamma(trials + 1)
                - math.lgamma(k + 1)
                - math.lgamma(trials - k + 1)
                + k * math.log(middle)
                + (trials - k) * math.log1p(-middle)
            )
            for k in range(events + 1)
        )
        low, high = (middle, high) if at_most > 1 - confidence else (low, middle)
    return high
