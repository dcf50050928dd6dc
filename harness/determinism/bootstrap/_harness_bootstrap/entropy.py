"""Level `entropy`: the operating system's randomness, as Python code sees it, repeats."""

from __future__ import annotations

import os
import sys

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any


def install() -> None:
    """Replace it before `random`, `uuid`, `secrets` and `tempfile` take hold of it."""
    stream = core.Stream("os.urandom")

    urandom = core.Stand("os", "urandom", stream.bytes)
    os.urandom = urandom
    if hasattr(os, "getrandom"):
        os.getrandom = core.Stand("os", "getrandom", lambda size, flags=0: stream.bytes(size))
    bound: Any = sys.modules.get("random")
    if bound is not None:
        bound._urandom = urandom
    core.done.append("os.urandom, secrets, uuid4, temporary names")
