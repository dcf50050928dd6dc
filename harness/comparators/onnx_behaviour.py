"""Two ONNX models by what they predict, each run in a limited process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from harness.comparators.base import CannotCompare, Context
from harness.comparators.document import clip
from harness.comparators.predictions import judged, rule_of
from harness.model import Difference, Status

TIMEOUT = 600


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
    source = "recorded probe inputs" if context.probe else f"inputs drawn by seed {context.seed}"
    return judged(results[0], results[1], rule_of(context.tolerance), source, "onnx")


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
