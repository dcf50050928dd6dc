"""How far two buffers of numbers are apart: one pass, chunk by chunk, in O(chunk) memory.

Rules, the same for every type: NaN equals NaN whatever its payload, an infinity equals only
itself, -0.0 and 0.0 are 0 apart; all of that only under a tolerance: under a rule of zero every
differing bit counts. ULP are reported and never decide: exact where few elements of a job differ,
of every n-th element, counted n times, where many do.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from harness.comparators.kernel import JOB, Kernel, Sums
from harness.comparators.threads import everywhere
from harness.comparators.ulps import FLOATS
from harness.comparators.widening import stored
from harness.model import ToleranceRule

FIRST, BLOCK = 1 << 12, 1 << 20  # bytes whose equality is looked at in one go
LARGE = 1 << 20  # bytes from which on compiled loops, where they are installed, are used


def measure(a: Any, b: Any, dtype: str, rule: ToleranceRule) -> Sums:
    """Return the distances of two buffers of one type and equal length."""
    left, right = stored(a, dtype), stored(b, dtype)
    # Asked last: loading them takes a while, and they know no other types than these.
    large = left.nbytes >= LARGE and dtype in FLOATS
    loops = compiled_loops() if large else None
    if loops and dtype not in loops.TYPES:
        loops = None
    starts = iter(range(0, left.size, JOB))
    lock = threading.Lock()

    def work() -> Sums:
        kernel = Kernel(dtype, rule, loops)
        with np.errstate(all="ignore"):
            while True:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return kernel.total()
                kernel.job(left, right, start, min(start + JOB, left.size))

    total, *others = everywhere(work, -(-left.size // JOB))
    for found in others:
        total.merge(found)
    return total


@cache
def compiled_loops() -> Any:
    """Return the module of compiled loops, or None where numba is missing or cannot be used."""
    try:
        return import_module("harness.comparators.compiled")
    except (ImportError, RuntimeError):  # not installed; or no folder to keep what is compiled
        return None


def same(a: Any, b: Any) -> bool:
    """Return whether two buffers have the same bytes."""
    left, right = np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)
    if left.size != right.size:
        return False
    at, step = 0, FIRST  # what differs mostly does so from its beginning
    mask = np.empty(min(BLOCK, left.size), bool)
    while at < left.size:
        one, two = left[at : at + step], right[at : at + step]
        if np.not_equal(one, two, out=mask[: one.size]).any():
            return False
        at, step = at + step, BLOCK
    return True
