"""The command of an MLproject entry point."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError


def entry_command(path: Path, entry_point: str, params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the argv of an entry point with its parameters filled in.

    The file's command is a shell line by MLflow's definition, so a shell runs it inside the
    sandbox; parameter values are quoted. Source: MLflow Projects, "MLproject file".

    Raises: UsageError naming what the file lacks.
    """
    import yaml

    try:
        project = yaml.safe_load(path.read_text())
        entry = project["entry_points"][entry_point]
        command = str(entry["command"])
    except FileNotFoundError:
        raise UsageError(f"{path.name}: not in the repository", "use train.command") from None
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path.name}: no entry point {entry_point!r} with a command ({error})",
            "correct train.entry_point",
        ) from None
    values = {
        name: spec.get("default") if isinstance(spec, Mapping) else None
        for name, spec in (entry.get("parameters") or {}).items()
    } | dict(params)
    missing = sorted(n for n, v in values.items() if v is None)
    if missing:
        raise UsageError(
            f"{path.name}: no value for {', '.join(missing)}", "give it in train.params"
        )
    for name, value in values.items():
        command = command.replace("{" + name + "}", shlex.quote(str(value)))
    return ("/bin/sh", "-c", command)
