"""Look-up tables of adapters: a name to `module:Class`, imported only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from harness.errors import UsageError


def load(table: Mapping[str, str], name: str, *, group: str, allowed: tuple[str, ...] = ()) -> Any:
    """Import the adapter class that `name` stands for.

    `table` is the family's own; a third party's entry point of `group` is loaded only when
    `allowed` (the operator's settings) names it, since it runs in the signing process.

    Raises: UsageError for a name that neither knows, or an adapter whose package is missing.
    """
    target = table.get(name)
    if target is None and name in allowed:
        target = next((e.value for e in entry_points(group=group, name=name)), None)
    if target is None:
        known = ", ".join(sorted({*table, *allowed}))
        raise UsageError(f"unknown {group.removeprefix('harness.')} {name!r}", f"one of: {known}")
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
