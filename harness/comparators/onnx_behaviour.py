"""Two ONNX models by what they predict: largest difference, flipped decisions, their bound."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare, Context
from harness.comparators.document import clip
from harness.comparators.tensor import Tensor, distances
from harness.model import Difference, Status, ToleranceRule

TIMEOUT = 600
CONFIDENCE = 0.95


def behaviour(recorded: Path, reproduced: Path, context: Context) -> Difference:
    """Run both models, each in a limited process of its own, and compare their predictions.

    BEHAVIOURAL only when no decision flipped and every output is within the tolerance.
    Raises: CannotCompare without onnxruntime.
    """
    if find_spec("onnxruntime") is None:
        raise CannotCompare(
            "behaviour needs onnxruntime", "pip install 'repro-harness[onnx]' and compare again"
        )
    with tempfile.TemporaryDirectory(dir=context.scratch) as folder:
        results = []
        for number, model in enumerate((recorded, reproduced)):
            out = Path(folder, f"{number}.npz")
            if problem := _run(model.resolve(), out, context):
                return Difference("behaviour", Status.UNCOMPARABLE, "onnx", problem)
            with np.load(out, allow_pickle=False) as held:
                results.append({name: held[name] for name in held.files})
    return _judged(results[0], results[1], _rule(context), context)


def _run(model: Path, out: Path, context: Context) -> str:
    task = {
        "model": str(model),
        "probe": str(context.probe.resolve()) if context.probe else None,
        "seed": context.seed,
        "out": str(out),
    }
    script = Path(__file__).with_name("onnx_probe.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(script), json.dumps(task)],
            cwd=out.parent,
            env={"OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{model.name}: did not finish its predictions within {TIMEOUT} s"
    if done.returncode or not out.is_file():
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return f"{model.name}: cannot predict: {clip(last[0] if last else done.returncode)}"
    return ""


def _rule(context: Context) -> ToleranceRule:
    rules = context.tolerance.rules
    named = [r for r in rules if r.match == "behaviour"]
    return next(iter(named or [r for r in rules if r.match == "*"]), ToleranceRule())


def _judged(
    one: dict[str, Any], two: dict[str, Any], rule: ToleranceRule, context: Context
) -> Difference:
    if one.keys() != two.keys():
        return Difference("behaviour", Status.DIFFERENT, "onnx", "the outputs have other names")
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
    source = "recorded probe inputs" if context.probe else f"inputs drawn by seed {context.seed}"
    reason = f"{flips} of {decisions} decisions flipped{bound}; max |Δ| {largest:.4g}; on {source}"
    return Difference("behaviour", status, "onnx", reason, values=values, children=tuple(children))


def _output(name: str, a: Any, b: Any, rule: ToleranceRule) -> tuple[Difference, int, int]:
    shown = f"{a.dtype} {list(a.shape)}", f"{b.dtype} {list(b.shape)}"
    label = clip(name)
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return Difference(label, Status.DIFFERENT, "", "shape or type", a.size, *shown), 1, 1
    flipped, made = _flips(a, b)
    if a.dtype.kind not in "fc":
        status = Status.DIFFERENT if flipped else Status.BEHAVIOURAL
        return Difference(label, status, values=a.size), flipped, made
    left, right = Tensor.of(a), Tensor.of(b.astype(a.dtype))
    found = distances(left, right, rule)
    status = Status.DIFFERENT if found.beyond or flipped else Status.BEHAVIOURAL
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
