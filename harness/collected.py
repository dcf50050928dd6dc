"""What a training logged to its private MLflow store: the model directory, metric histories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import Inconclusive

MAX_METRIC_BYTES = 4 << 20
Curve = tuple[tuple[float, float], ...]


def logged_model(store: Path, name: str) -> Path | None:
    """Return the one model directory that the script logged, None when it logged none.

    `name` picks one of several: the folder, or the name it was logged under.

    Raises: Inconclusive when several were logged and the recipe does not say which.
    """
    found = sorted(p.parent for p in store.rglob("MLmodel") if not p.is_symlink())
    # A model within a model directory (a pipeline's parts) belongs to the outer one.
    found = [p for p in found if not any(o != p and o in p.parents for o in found)]
    if name:
        found = [p for p in found if name in _names(p)]
    if len(found) > 1:
        names = ", ".join(sorted({_names(p)[0] for p in found}))
        raise Inconclusive(
            f"the script logged {len(found)} models: {names}",
            hint='name one in the recipe: [train] logged_model = "…"',
        )
    return found[0] if found else None


def _names(model: Path) -> tuple[str, ...]:
    """Return the logged name of a model directory, then every folder name that leads to it."""
    import yaml

    meta = model.parent / "meta.yaml"
    logged = ""
    if meta.is_file() and meta.stat().st_size < 1 << 20:
        try:
            content = yaml.safe_load(meta.read_text(errors="replace"))
            logged = str(content.get("name", "")) if isinstance(content, Mapping) else ""
        except yaml.YAMLError:
            logged = ""
    return (logged or model.name, model.name, model.parent.name)


def metric_histories(store: Path) -> Iterator[tuple[str, Curve]]:
    """Yield (name, ((step, value), …)) of every metric of an MLflow file store.

    Source: MLflow's file store keeps a line `timestamp value step` per logged value.
    """
    for folder in sorted(store.glob("*/*/metrics")):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                curve = tuple(_points(path))
                if curve:
                    yield path.relative_to(folder).as_posix(), curve


def _points(path: Path) -> Iterator[tuple[float, float]]:
    if path.stat().st_size > MAX_METRIC_BYTES:
        return
    for line in path.read_text(errors="replace").splitlines():
        fields = line.split()
        if len(fields) > 3:
            continue  # the same value once more, linked to a logged model
        try:
            yield (float(fields[2]) if len(fields) > 2 else 0.0), float(fields[1])
        except (ValueError, IndexError):
            return


def logged_params(store: Path) -> dict[str, str]:
    """Return the parameters that the script logged, each cut at 500 characters."""
    found = {}
    for folder in sorted(store.glob("*/*/params")):
        for path in sorted(folder.rglob("*"))[:200]:
            if path.is_file() and not path.is_symlink():
                name = path.relative_to(folder).as_posix()
                found[name] = path.read_bytes()[:500].decode(errors="replace")
    return found


def numbers(value: Any, prefix: str = "", depth: int = 8) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, number or list of numbers) of a metrics document."""
    if depth == 0:
        return
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield prefix or "value", float(value)
    elif isinstance(value, list):
        if value and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
            yield prefix, [float(v) for v in value]
        elif all(isinstance(v, Mapping) for v in value):
            keys = {k for v in value for k in v}
            for key in sorted(keys, key=str):
                series = [v[key] for v in value if isinstance(v.get(key), int | float)]
                yield from numbers(series, f"{prefix}.{key}" if prefix else str(key), depth - 1)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from numbers(inner, f"{prefix}.{key}" if prefix else str(key), depth - 1)
