"""What the docker runtime remembers of an environment that it built."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from harness.files import write_atomic
from harness.model import EnvironmentRecord, Package


def remember(path: Path, record: EnvironmentRecord) -> None:
    """Keep a record of what was built."""
    write_atomic(path, json.dumps(asdict(record)).encode())


def recall(path: Path, lock_path: str) -> EnvironmentRecord | None:
    """Return the record that an earlier build kept."""
    if not path.exists():
        return None
    raw = json.loads(path.read_bytes())
    inventory = tuple(Package(**p) for p in raw.pop("inventory"))
    return replace(EnvironmentRecord(**raw), inventory=inventory, lock_path=lock_path)
