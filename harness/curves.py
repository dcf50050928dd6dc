"""Metric histories and final metrics of a run, bounded, from files and the MLflow store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.collected import Curve, metric_histories, numbers
from harness.model import FileEntry, Role

MAX_CURVES = 20
MAX_POINTS = 2000
MAX_BYTES = 4 << 20


def histories(folder: Path, outputs: tuple[FileEntry, ...]) -> Mapping[str, Curve]:
    """Return histories by metric name, each thinned to at most MAX_POINTS points."""
    found: dict[str, Curve] = {}
    for name, value in _documents(folder, outputs):
        if isinstance(value, list) and len(value) > 1:
            found[name] = tuple((float(i), v) for i, v in enumerate(value))
    for name, curve in metric_histories(folder / "collected" / "mlflow"):
        if len(curve) > 1:
            found.setdefault(name, curve)
    return {n: c[:: 1 + len(c) // MAX_POINTS] for n, c in list(found.items())[:MAX_CURVES]}


def metrics(folder: Path, outputs: tuple[FileEntry, ...]) -> Mapping[str, float]:
    """Return the final number of every metric: of the metrics files, then of the store."""
    found: dict[str, float] = {}
    for name, value in _documents(folder, outputs):
        last = value[-1] if isinstance(value, list) else value
        if math.isfinite(last):
            found[name] = last
    for name, curve in metric_histories(folder / "collected" / "mlflow"):
        if math.isfinite(curve[-1][1]):
            found.setdefault(name, curve[-1][1])
    return dict(list(found.items())[:200])


def _documents(folder: Path, outputs: tuple[FileEntry, ...]) -> Iterator[tuple[str, Any]]:
    for output in outputs:
        if output.role == Role.METRICS and output.path.endswith(".json"):
            if output.size > MAX_BYTES:
                continue
            try:
                document = json.loads((folder / "other" / output.path).read_bytes())
            except (ValueError, RecursionError):
                continue
            yield from numbers(document)
