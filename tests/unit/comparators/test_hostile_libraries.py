"""Hostile files for the formats that a library parses in our process: bounded before it is asked.

Each must end as UNCOMPARABLE, with its reason, in little time and memory.
"""

import io
import resource
import struct
import sys
import time
import zlib

import numpy as np
import pytest

from harness.comparators import family
from harness.comparators.image import claimed
from harness.model import Status

pytestmark = pytest.mark.filterwarnings("ignore")


def pair(tmp_path, name, one, two=None):
    paths = tmp_path / f"a-{name}", tmp_path / f"b-{name}"
    paths[0].write_bytes(one)
    paths[1].write_bytes(two or one + b"\0")
    return paths


def refused(paths, said):
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = family.compare(*paths, "m")
    assert found.status == Status.UNCOMPARABLE, found
    assert said in found.reason, found.reason
    assert time.monotonic() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 900_000  # KiB
    return found


def png(width, height, rows=b""):
    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (1 << 31, 1), (9_000, 9_000)])
def test_a_decompression_bomb_of_pixels_is_refused(tmp_path, width, height):
    refused(pair(tmp_path, "m.png", png(width, height), png(width, height, b"\0")), "claims")


def test_an_honest_png_is_not(tmp_path):
    rows = bytes(3 * 4)
    one, two = png(3, 3, rows), png(3, 3, rows[:-1] + b"\1")
    found = family.compare(*pair(tmp_path, "m.png", one, two), "m")
    assert (found.status, found.comparator) == (Status.DIFFERENT, "image@1")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_every_header_is_read_for_its_size_before_the_library_is_asked(kind):
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(np.zeros((17, 33), "u1")).save(data, kind)
    assert claimed(memoryview(data.getvalue())) == (33, 17)


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP"])
def test_a_header_that_claims_too_many_pixels_is_refused(tmp_path, kind):
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(np.zeros((17, 33), "u1")).save(held, kind)
    data = held.getvalue()
    size = {"JPEG": b"\x00\x11\x00\x21", "GIF": b"\x21\x00\x11\x00"}.get(
        kind, struct.pack("<ii", 33, 17)
    )
    big = b"\xff\xff\xff\xff" if kind != "BMP" else struct.pack("<ii", 1 << 20, -(1 << 20))
    at = data.index(size)
    bomb = data[:at] + big + data[at + len(size) :]
    suffix = "bmp" if kind == "BMP" else kind.lower()
    refused(pair(tmp_path, f"m.{suffix}", bomb), "claims")


def test_an_animation_is_refused_without_walking_through_it(tmp_path):
    from PIL import Image

    frames = [Image.fromarray(np.full((8, 8), n % 250, "u1")) for n in range(300)]
    held = io.BytesIO()
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:])
    refused(pair(tmp_path, "m.gif", held.getvalue()), "frames")


def parquet(rows, column, **more):
    import pyarrow as arrow
    from pyarrow import parquet as library

    held = io.BytesIO()
    library.write_table(arrow.table({"x": column(rows)}), held, **more)
    return held.getvalue()


def test_a_table_that_claims_more_rows_than_its_size_could_hold_is_refused(tmp_path):
    import pyarrow as arrow

    def nothing(rows):
        return arrow.nulls(rows, arrow.int64())

    bomb = parquet(40_000_000, nothing, compression="zstd")
    assert len(bomb) < 200_000
    refused(pair(tmp_path, "m.parquet", bomb), "claims")


def test_one_long_text_in_very_many_rows_is_read_once(tmp_path):
    import pyarrow as arrow

    def one_text(rows, last="x"):
        words = arrow.array(["a" * 1_000_000, last])
        numbers = np.zeros(rows, "i4")
        numbers[-1] = 1
        return arrow.DictionaryArray.from_arrays(numbers, words)

    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one, two = parquet(100_000, one_text), parquet(100_000, lambda n: one_text(n, "y"))
    assert len(one) < 2_000_000
    found = family.compare(*pair(tmp_path, "m.parquet", one, two), "m")
    assert (found.status, found.comparator) == (Status.DIFFERENT, "parquet@1")
    assert found.reason == "first difference: x.99999"
    assert time.monotonic() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 900_000


def feather(array):
    import pyarrow as arrow

    held = io.BytesIO()
    with arrow.ipc.new_file(held, arrow.schema([("x", array.type)])) as writer:
        writer.write_batch(arrow.record_batch([array], names=["x"]))
    return held.getvalue()


def test_a_type_in_which_few_bytes_are_very_many_values_is_refused(tmp_path):
    import pyarrow as arrow

    ends = arrow.array([1 << 30], arrow.int32())
    runs = arrow.RunEndEncodedArray.from_arrays(ends, arrow.array(["x"]))
    views = arrow.array(["a" * 100] * 4, arrow.string_view())
    for array in (runs, views):
        found = family.compare(*pair(tmp_path, "m.arrow", feather(array)), "m")
        assert found.status == Status.UNCOMPARABLE


def test_offsets_that_point_out_of_their_buffer_are_refused_before_they_are_followed(tmp_path):
    import pyarrow as arrow

    data = feather(arrow.array(["abc", "defg", "hi"]))
    offsets = struct.pack("<4i", 0, 3, 7, 9)
    at = data.index(offsets)
    for evil in ((0, 3, 1 << 30, 9), (0, -5, 7, 9), (1 << 30, 3, 7, 9)):
        broken = data[:at] + struct.pack("<4i", *evil) + data[at + 16 :]
        refused(pair(tmp_path, "m.arrow", data, broken), "")


def hdf5(write):
    import h5py

    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        write(file)
    return held.getvalue()


def test_a_dataset_that_claims_more_than_its_file_could_hold_is_refused(tmp_path):
    def write(file):
        file.create_dataset("x", (1 << 36,), "f8", chunks=(1 << 10,), compression="gzip")

    refused(pair(tmp_path, "m.h5", hdf5(write)), "larger than the bounds")


def test_a_chunk_that_claims_more_than_is_read_is_refused(tmp_path):
    def write(file):
        file.create_dataset(
            "x", (4,), "f8", chunks=(1 << 28,), maxshape=(None,), compression="gzip"
        )

    refused(pair(tmp_path, "m.h5", hdf5(write)), "in chunks of")


def test_one_long_text_that_very_many_elements_name_is_refused(tmp_path):
    import h5py

    def write(file):
        texts = ["a" * 500_000, *("b" * 7 for _ in range(4999))]
        file.create_dataset("x", data=texts, dtype=h5py.string_dtype())

    data = hdf5(write)
    at = data.index(struct.pack("<I", 500_000))  # length, address and number of a text
    assert data[at + 16 : at + 20] == struct.pack("<I", 7)
    bomb = data[:at] + data[at : at + 16] * 5000 + data[at + 16 * 5000 :]
    assert len(bomb) < 2_000_000
    refused(pair(tmp_path, "m.h5", data, bomb), "texts larger than the bounds")


def test_texts_within_the_bounds_are_compared_one_by_one(tmp_path):
    import h5py

    def write(last):
        texts = [f"text {n}" for n in range(3000)] + [last]
        return lambda file: file.create_dataset("x", data=texts, dtype=h5py.string_dtype())

    found = family.compare(*pair(tmp_path, "m.h5", hdf5(write("a")), hdf5(write("b"))), "m")
    assert (found.status, found.reason) == (Status.DIFFERENT, "first difference: x.3000")


def test_what_a_library_lacks_is_said_with_what_to_install(tmp_path, monkeypatch):
    for name, package, extra, data in (
        ("m.png", "PIL", "images", png(3, 3)),
        ("m.h5", "h5py", "hdf5", b"\x89HDF\r\n\x1a\n"),
        ("m.parquet", "pyarrow", "arrow", b"PAR1"),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        found = family.compare(*pair(tmp_path, name, data), "m")
        assert found.status == Status.UNCOMPARABLE
        assert extra in found.reason or package in found.reason or "needs" in found.reason
