"""One loop run on every core: for work that releases the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

MOST = 4  # beyond it memory is what one waits for
T = TypeVar("T")


def everywhere(work: Callable[[], T], jobs: int) -> list[T]:
    """Return what `work` came to on this thread and on as many others as there are jobs for.

    `work` takes its jobs from a shared source until there are none; a helper that finds no core
    in time is not waited for.
    """
    helpers = min(cores(), jobs) - 1
    futures = [_pool().submit(work) for _ in range(helpers)]
    return [work(), *(f.result() for f in futures if not f.cancel())]


@cache
def cores() -> int:
    """Return how many threads a pass uses."""
    return min(MOST, len(os.sched_getaffinity(0)))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST, "harness-pass")
