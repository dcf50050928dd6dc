"""Bytes against bytes: as fast as memory, and where the first difference is."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

import numpy as np

from harness.comparators.threads import everywhere
from harness.model import Difference, Status

FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
SMALL = 1 << 16
CHUNK = 1 << 19  # two of them stay in the second-level cache
JOB = 1 << 23  # what one thread takes at a time
WINDOW = 32
# MADV_POPULATE_READ of Linux 5.14: an unreadable page is an error, where touching it would kill
POPULATE = 22
MEMCMP = ctypes.CDLL(None).memcmp
MEMCMP.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def same_bytes(a: Path | str, b: Path | str) -> bool:
    """Return whether two regular files have the same bytes. Raises: OSError for a link."""
    regular = S_ISREG(os.lstat(a).st_mode) and S_ISREG(os.lstat(b).st_mode)
    return regular and same_size(a, b) is not None


def same_size(a: Path | str, b: Path | str) -> int | None:
    """Return the size of two files, known to be regular, of the same bytes; None if they differ.

    Read once, by all cores when large. A folder may hold very many small ones, so that no system
    call is made that need not be. Raises: OSError where one cannot be opened, or is a link.
    """
    one = os.open(a, FLAGS)
    try:
        two = os.open(b, FLAGS)
        try:
            size = os.lseek(one, 0, os.SEEK_END)
            if size != os.lseek(two, 0, os.SEEK_END):
                return None
            if size > SMALL:
                return size if _first(one, two, size) < 0 else None
            left = os.pread(one, size, 0)
            return size if left == os.pread(two, size, 0) and len(left) == size else None
        finally:
            os.close(two)
    finally:
        os.close(one)


def _first(one: int, two: int, size: int) -> int:
    """Return the offset of the first chunk that differs, -1 when none does.

    Jobs are begun in order, and each goes on to its own first difference: the smallest of what
    the threads find is the first of all.
    """
    jobs, lock, found = _jobs(one, two, size), threading.Lock(), list[int]()
    maps = _maps(one, two, size)

    def work() -> None:
        a, b = (bytearray(0 if maps else min(CHUNK, size)) for _ in range(2))
        while not found:
            with lock:
                job = next(jobs, None)
            if job is None:
                return
            at = _in_maps(maps, job) if maps else _in_job(one, two, job, a, b)
            if at >= 0:
                found.append(at)

    everywhere(work, -(-size // JOB))
    return min(found, default=-1)


def _maps(one: int, two: int, size: int) -> list[mmap.mmap] | None:
    """Return two large files as memory, where the system can read them ahead and say if it fails.

    What is in the page cache is then compared where it lies; reading would copy it first.
    """
    if size < JOB:
        return None
    try:
        found = [mmap.mmap(handle, size, prot=mmap.PROT_READ) for handle in (one, two)]
        for each in found:
            each.madvise(POPULATE, 0, mmap.PAGESIZE)
    except (OSError, ValueError):
        return None
    return found


def _in_maps(maps: list[mmap.mmap], job: range) -> int:
    """Return the offset of the first chunk of a job that differs, -1 when none does."""
    start = job.start - job.start % mmap.PAGESIZE
    for each in maps:
        each.madvise(POPULATE, start, job.stop - start)
    a, b = (np.frombuffer(each, np.uint8).ctypes.data for each in maps)
    if not MEMCMP(a + job.start, b + job.start, len(job)):
        return -1
    parts = range(job.start, job.stop, CHUNK)
    return next(at for at in parts if MEMCMP(a + at, b + at, min(CHUNK, job.stop - at)))


def _jobs(one: int, two: int, size: int) -> Iterator[range]:
    """Yield what has to be read, in order: a hole common to both files is equal."""
    at = 0
    while at < size:
        data = [_seek(handle, at, os.SEEK_DATA, size) for handle in (one, two)]
        start = min(data)
        end = _seek((one, two)[data.index(start)], start, os.SEEK_HOLE, size)
        for at in range(start, end, JOB):
            yield range(at, min(at + JOB, end))
        at = end


def _seek(handle: int, at: int, what: int, size: int) -> int:
    """Return where data or a hole begins from `at` on; all is data where that is not known."""
    try:
        return min(os.lseek(handle, at, what), size) if at < size else size
    except OSError as error:
        unknown = error.errno != errno.ENXIO and what == os.SEEK_DATA
        return at if unknown else size


def _in_job(one: int, two: int, job: range, a: bytearray, b: bytearray) -> int:
    left, right = memoryview(a), memoryview(b)
    for at in range(job.start, job.stop, CHUNK):
        n = min(CHUNK, job.stop - at)
        read = os.preadv(one, [left[:n]], at), os.preadv(two, [right[:n]], at)
        # bytearray compares by memcmp, a memoryview item by item.
        if read != (n, n) or (a != b if n == len(a) else a[:n] != b[:n]):
            return at
    return -1


def describe(a: Path, b: Path, reason: str) -> Difference:
    """Return the leaf for files whose bytes differ and that no format could read: bytes cannot
    tell a change that matters from one that does not."""
    one, two = os.open(a, FLAGS), os.open(b, FLAGS)
    try:
        shared = min(a.stat().st_size, b.stat().st_size)
        chunk = _first(one, two, shared)
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
