"""Catch torch's warning about each nondeterministic operation, without letting it show or raise."""

from __future__ import annotations

import warnings

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any


class Alarm:
    """Stands where a warning filter has its pattern: takes note, and says that it matched."""

    def match(self, text: str) -> bool:
        """Return whether `text` is torch's warning; remember the operation that it names."""
        if "deterministic" not in text or "use_deterministic_algorithms" not in text:
            return False
        op = text.partition(" does not have a deterministic")[0]
        core.note(core.nondeterministic, op if len(op) < 100 else text[:100])
        return True


FILTER: Any = ("ignore", Alarm(), Warning, None, 0)


def _first() -> None:
    filters: Any = warnings.filters
    if not filters or filters[0] is not FILTER:
        if FILTER in filters:
            filters.remove(FILTER)
        filters.insert(0, FILTER)


def install() -> None:
    """Put the filter first, and keep it first when the script changes the filters.

    A script that turns warnings into errors must not fail because of a pin of ours.
    """
    for name in ("_filters_mutated", "_filters_mutated_lock_held"):
        real = getattr(warnings, name, None)
        if real is not None:

            def mutated(real: Any = real) -> None:
                _first()
                real()

            setattr(warnings, name, mutated)
            _first()
