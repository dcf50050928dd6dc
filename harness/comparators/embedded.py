"""Models that lie as bytes or text inside a pickle: read as what they are."""

from __future__ import annotations

from collections.abc import Callable

from harness.comparators import catboost, lightgbm, xgboost
from harness.comparators.base import Bounds
from harness.comparators.document import Document

NAME = "(embedded)"


def embedded(value: str | bytes | bytearray, bounds: Bounds) -> Document | None:
    """Return the document of a model inside a value, None for any other value or a broken one."""
    read = _reader(value)
    if read is None or len(value) > bounds.member:
        return None
    try:
        return read(bounds)
    except Exception:  # broken: it stays the bytes that it is
        return None


def _reader(value: str | bytes | bytearray) -> Callable[[Bounds], Document] | None:
    if isinstance(value, str):
        text = value
        begins = text.startswith("tree\nversion=v")
        return (lambda bounds: lightgbm.document(text, NAME, bounds)) if begins else None
    view = memoryview(value)
    if value.startswith(catboost.MAGIC):
        return lambda bounds: catboost.binary(view, NAME)
    if value.startswith(xgboost.PICKLED):
        return lambda bounds: xgboost.pickled(view, bounds)
    return None
