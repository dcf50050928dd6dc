"""Bytes: equal files, the first difference wherever it is, and holes that are not read."""

import os
import time

import pytest

from harness.comparators import bytewise, family, threads
from harness.model import Status

TERABYTE = 1 << 40


def sparse(path, size, *parts):
    """Write a file of holes with some data at some offsets."""
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in parts:
            file.seek(at)
            file.write(data)
    return path


def first(a, b):
    one, two = os.open(a, os.O_RDONLY), os.open(b, os.O_RDONLY)
    try:
        return bytewise._first(one, two, min(a.stat().st_size, b.stat().st_size))
    finally:
        os.close(one)
        os.close(two)


@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("size", [(1 << 16) + 1, bytewise.JOB, 3 * bytewise.JOB + 12345])
def test_any_single_byte_is_found_and_the_first_of_two_is_named(tmp_path, monkeypatch, size, cores):
    monkeypatch.setattr(threads, "cores", lambda: cores)
    data = os.urandom(1 << 16) * (size // (1 << 16) + 1)
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(data[:size])
    b.write_bytes(data[:size])
    assert bytewise.same_bytes(a, b)
    for at in (size - 1, size // 2, bytewise.CHUNK - 1, 0):  # each before the last
        if at < size:
            with b.open("r+b") as file:
                file.seek(at)
                file.write(bytes([data[at] ^ 1]))
            assert not bytewise.same_bytes(a, b)
            assert first(a, b) == at // bytewise.CHUNK * bytewise.CHUNK
            assert f"from offset {at} on" in bytewise.describe(a, b, "why").reason


def test_huge_files_of_holes_are_compared_by_their_data(tmp_path):
    here, there = (5 << 30, b"x" * 5000), (TERABYTE - 3, b"end")
    a = sparse(tmp_path / "a", TERABYTE, here, there)
    b = sparse(tmp_path / "b", TERABYTE, here, there)
    c = sparse(tmp_path / "c", TERABYTE, here, (TERABYTE - 3, b"enD"))
    d = sparse(tmp_path / "d", TERABYTE, there)  # a hole where the others have data
    zeros = sparse(tmp_path / "zeros", TERABYTE, here, (7 << 30, bytes(9000)), there)
    longer = sparse(tmp_path / "longer", TERABYTE + 1, here, there)
    started = time.monotonic()
    assert family.compare(a, b, "m").status == Status.IDENTICAL
    assert family.compare(a, zeros, "m").status == Status.IDENTICAL
    for other, offset in ((c, TERABYTE - 1), (d, 5 << 30), (longer, TERABYTE)):
        found = family.compare(a, other, "m")
        assert found.status == Status.UNCOMPARABLE
        assert f"from offset {offset} on" in found.reason
    assert time.monotonic() - started < 60  # reading them would take hours


def test_a_file_system_that_knows_no_holes_is_read_whole(tmp_path, monkeypatch):
    a, b = sparse(tmp_path / "a", 1 << 24), sparse(tmp_path / "b", 1 << 24, (99, b"x"))
    monkeypatch.setattr(bytewise.os, "lseek", without_holes)
    assert first(a, b) == 0
    b.write_bytes(bytes(1 << 24))
    assert bytewise.same_bytes(a, b)


SEEK = os.lseek


def without_holes(handle, at, how):
    if how in {os.SEEK_DATA, os.SEEK_HOLE}:
        raise OSError(22, "Invalid argument")
    return SEEK(handle, at, how)


def test_a_file_that_shrinks_meanwhile_is_not_equal(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(bytes(1 << 20))
    b.write_bytes(bytes(1 << 19))
    one, two = os.open(a, os.O_RDONLY), os.open(b, os.O_RDONLY)
    assert bytewise._first(one, two, 1 << 20) >= 0
    os.close(one)
    os.close(two)


@pytest.mark.parametrize("mapped", [True, False])
def test_large_files_are_compared_where_they_lie_or_read(tmp_path, monkeypatch, mapped):
    if not mapped:
        monkeypatch.setattr(bytewise, "POPULATE", 999)  # as a kernel that does not know it
    handles = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in "ab"]
    size = 2 * bytewise.JOB + 77
    for handle in handles:
        os.truncate(handle, size)
    try:
        assert (bytewise._maps(*handles, size) is not None) == mapped
        assert bytewise._first(*handles, size) == -1
        os.pwrite(handles[1], b"\1", size - 1)
        assert bytewise._first(*handles, size) == 2 * bytewise.JOB
    finally:
        for handle in handles:
            os.close(handle)


def test_a_file_that_shrinks_meanwhile_is_an_error_and_no_crash(tmp_path, monkeypatch):
    size = 2 * bytewise.JOB
    for name in "ab":
        (tmp_path / name).write_bytes(bytes(size))

    def shrinking(one, two, size):
        yield range(bytewise.JOB)
        os.truncate(tmp_path / "b", 100)
        yield range(bytewise.JOB, size)

    monkeypatch.setattr(bytewise, "_jobs", shrinking)
    monkeypatch.setattr(threads, "cores", lambda: 1)
    found = family.compare(tmp_path / "a", tmp_path / "b", "m")
    assert found.status == Status.UNCOMPARABLE
    assert "cannot be read" in found.reason
