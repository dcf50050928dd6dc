"""Bytes against bytes: as fast as memory, and where the first difference is."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.model import Difference, Status

CHUNK = 1 << 20
SMALL = 1 << 16
PARALLEL = 64 << 20
WINDOW = 32


def same_bytes(a: Path | str, b: Path | str) -> bool:
    """Return whether two files have the same bytes, read once, in parallel when large."""
    one = _open(a)
    try:
        two = _open(b)
    except OSError:
        os.close(one)
        raise
    try:
        size = os.fstat(one).st_size
        if size != os.fstat(two).st_size:
            return False
        if size <= SMALL:
            return os.pread(one, SMALL, 0) == os.pread(two, SMALL, 0)
        if size < PARALLEL:
            return _first(one, two, 0, size) < 0
        workers = min(4, os.cpu_count() or 1)
        step = -(-size // workers)
        with ThreadPoolExecutor(workers) as pool:
            ranges = [(at, min(at + step, size)) for at in range(0, size, step)]
            return all(f < 0 for f in pool.map(lambda r: _first(one, two, *r), ranges))
    finally:
        os.close(one)
        os.close(two)


def _open(path: Path | str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def _first(one: int, two: int, start: int, end: int) -> int:
    """Return the offset of the first chunk that differs in a range, -1 when none does."""
    a, b = (bytearray(min(CHUNK, max(end - start, 1))) for _ in range(2))
    left, right = memoryview(a), memoryview(b)
    for at in range(start, end, CHUNK):
        n = min(CHUNK, end - at)
        read = os.preadv(one, [left[:n]], at), os.preadv(two, [right[:n]], at)
        # bytearray compares by memcmp, a memoryview item by item.
        if read != (n, n) or (a != b if n == len(a) else a[:n] != b[:n]):
            return at
    return -1


def describe(a: Path, b: Path, reason: str) -> Difference:
    """Return the leaf for files whose bytes differ and that no format could read: bytes cannot
    tell a change that matters from one that does not."""
    one, two = _open(a), _open(b)
    try:
        shared = min(a.stat().st_size, b.stat().st_size)
        chunk = _first(one, two, 0, shared)
        at = shared if chunk < 0 else _within(one, two, chunk)
        left, right = os.pread(one, WINDOW, at), os.pread(two, WINDOW, at)
    finally:
        os.close(one)
        os.close(two)
    sizes = f"{a.stat().st_size} and {b.stat().st_size} bytes"
    text = f"{reason}; bytes differ from offset {at} on ({sizes})"
    shown = left.hex(" "), right.hex(" ")
    return Difference(a.name, Status.UNCOMPARABLE, "", text, 0, *shown)


def _within(one: int, two: int, at: int) -> int:
    a, b = os.pread(one, CHUNK, at), os.pread(two, CHUNK, at)
    return at + next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
