"""How far two buffers of numbers are apart: one pass, chunk by chunk, in O(chunk) memory.

Rules, the same for every type: NaN equals NaN whatever its payload, an infinity equals only
itself, -0.0 and 0.0 are 0 apart; all of that only under a tolerance: under a rule of zero every
differing bit counts. ULP are reported and never decide: exact where few elements of a job differ,
of every n-th element, counted n times, where many do.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from harness.comparators.kernel import JOB, Kernel, Sums
from harness.comparators.threads import everywhere
from harness.comparators.widening import stored
from harness.model import ToleranceRule

BLOCK = 1 << 20


def measure(a: Any, b: Any, dtype: str, rule: ToleranceRule) -> Sums:
    """Return the distances of two buffers of one type and equal length."""
    left, right = stored(a, dtype), stored(b, dtype)
    starts = iter(range(0, left.size, JOB))
    lock = threading.Lock()

    def work() -> Sums:
        kernel = Kernel(dtype, rule)
        with np.errstate(all="ignore"):
            while True:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return kernel.sums
                kernel.job(left, right, start, min(start + JOB, left.size))

    total, *others = everywhere(work, -(-left.size // JOB))
    for found in others:
        total.merge(found)
    return total


def same(a: Any, b: Any) -> bool:
    """Return whether two buffers have the same bytes."""
    left, right = np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)
    if left.size != right.size:
        return False
    mask = np.empty(min(BLOCK, left.size), bool)
    for at in range(0, left.size, BLOCK):
        one, two = left[at : at + BLOCK], right[at : at + BLOCK]
        if np.not_equal(one, two, out=mask[: one.size]).any():
            return False
    return True
