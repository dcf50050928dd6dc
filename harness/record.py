"""Canonical JSON of the domain values, and the record of one verification."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from harness.errors import UsageError

SCHEMA = 1
T = TypeVar("T")


def plain(value: Any) -> Any:
    """Return a value as JSON types; NaN and the infinities become strings, tuples lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def canonical(value: Any) -> bytes:
    """Return the one byte form of a value: sorted keys, no spaces, UTF-8, finite numbers."""
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(data: bytes) -> str:
    """Return the sha256 of bytes as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def load(kind: type[T], data: bytes | str | Mapping[str, Any], where: str = "record") -> T:
    """Read a domain value back from its JSON.

    Raises: UsageError when the bytes are not such a value.
    """
    try:
        adapter = _adapter(cast(Any, kind))
        value: T = (
            adapter.validate_python(data)
            if isinstance(data, Mapping)
            else adapter.validate_json(data)
        )
        return value
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(str(p) for p in first["loc"])
        raise UsageError(
            f"{where}: {at}: {first['msg']}", "the file is damaged or too new"
        ) from None


def parse_record(data: bytes, where: str = "record") -> dict[str, Any]:
    """Read a stored record; every schema ever released stays readable.

    Raises: UsageError when the bytes are no record of a known schema.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "outcome" not in value:
        raise UsageError(f"{where}: not a verification record", "give a record.json or its run id")
    if value.get("schema") != SCHEMA:
        raise UsageError(
            f"{where}: record schema {value.get('schema')!r} is not known",
            "upgrade repro-harness",
        )
    return value
