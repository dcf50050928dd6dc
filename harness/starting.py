"""`harness init`: a recipe and a lock from what a repository has."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import recipe
from harness.errors import UsageError
from harness.files import write_atomic
from harness.recording import RECIPE

LOCKS = ("requirements.lock", "pylock.toml", "uv.lock")
SCRIPTS = ("train.py", "main.py", "src/train.py", "scripts/train.py")


@dataclass
class Findings:
    """What the repository says of itself, and what it does not."""

    train: str = ""
    outputs: list[tuple[str, str]] = field(default_factory=list)
    lock: str = ""
    missing: list[str] = field(default_factory=list)


def init(path: Path) -> dict[str, Any]:
    """Write recipe.toml, its schema for editors, and a lock where one can be made.

    Raises: UsageError when there is a recipe already.
    """
    target = path / RECIPE
    if target.exists():
        raise UsageError(f"{target}: exists already", "edit it, or remove it first")
    found = Findings()
    _training(path, found)
    written = _lock(path, found)
    text = _text(path, found)
    recipe.parse(text, str(target))
    write_atomic(target, text.encode())
    schema = path / ".recipe.schema.json"
    write_atomic(schema, json.dumps(recipe.json_schema(), indent=1).encode() + b"\n")
    return {
        "schema": 1,
        "written": [str(target), str(schema), *written],
        "missing": found.missing,
        "exit_code": 0,
    }


def _yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(path.read_text()) if path.is_file() else None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {error}", "correct it") from None
    return value if isinstance(value, Mapping) else {}


def _training(path: Path, found: Findings) -> None:
    stages = _yaml(path / "dvc.yaml").get("stages")
    points = _yaml(path / "MLproject").get("entry_points")
    script = next((s for s in SCRIPTS if (path / s).is_file()), None)
    if isinstance(stages, Mapping) and stages:
        found.train = f"stages = {json.dumps(list(map(str, stages)))}"
        _pipeline_outputs(stages, found)
    elif isinstance(points, Mapping) and points:
        name = "main" if "main" in points else next(iter(points))
        found.train = f"entry_point = {json.dumps(str(name))}"
    else:
        found.train = f"command = {json.dumps(['python', script or 'train.py'])}"
        if script is None:
            found.missing.append("train.command: no dvc.yaml, MLproject or train.py was found")
    if not any(role == "model" for _, role in found.outputs):
        found.missing.append(
            "[[output]]: which file the training writes as its model; a model that the script "
            "logs to MLflow is collected without any"
        )


def _pipeline_outputs(stages: Mapping[str, Any], found: Findings) -> None:
    last = next(reversed(list(stages.values())))
    for stage in stages.values():
        for key, role in (("metrics", "metrics"), ("plots", "report")):
            found.outputs += [(name, role) for name in _names(stage.get(key))]
    found.outputs += [(name, "model") for name in _names(last.get("outs"))]


def _names(items: Any) -> list[str]:
    return [str(next(iter(i)) if isinstance(i, Mapping) else i) for i in items or ()]


def _lock(path: Path, found: Findings) -> list[str]:
    found.lock = next((name for name in LOCKS if (path / name).is_file()), "")
    if found.lock:
        return []
    found.lock = LOCKS[0]
    source = next((s for s in ("requirements.txt", "pyproject.toml") if (path / s).is_file()), "")
    if not source:
        found.missing.append("environment.lock: no lock, requirements.txt or pyproject.toml")
        return []
    command = [sys.executable, "-m", "uv", "pip", "compile", source, "--generate-hashes", "-q"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "-o", found.lock]
    answer = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
    if answer.returncode:
        (path / found.lock).unlink(missing_ok=True)
        found.missing.append(f"environment.lock: {source} cannot be locked: {answer.stderr[-500:]}")
        return []
    return [str(path / found.lock)]


def _text(path: Path, found: Findings) -> str:
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in path.resolve().name).strip("-.")
    lines = [
        "#:schema .recipe.schema.json",
        "schema = 1",
        f"name = {json.dumps(name or 'model')}",
        "",
        "[train]",
        found.train,
        "",
        "[environment]",
        f"lock = {json.dumps(found.lock)}",
        f'python = "{sys.version_info.major}.{sys.version_info.minor}"',
        "",
        "[determinism]",
        "seed = 0",
        'level = "strict"',
    ]
    for output, role in found.outputs:
        lines += ["", "[[output]]", f"path = {json.dumps(output)}", f'role = "{role}"']
    return "\n".join(lines) + "\n"
