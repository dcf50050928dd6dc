"""Hostile files: each ends as UNCOMPARABLE with a reason, within bounded time and memory."""

import io
import os
import pickle
import resource
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

from harness.comparators import family
from harness.comparators.base import Bounds
from harness.model import Status

HUGE = 1 << 60


def field(number, payload):
    """Return a protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value):
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def number(at, value):
    return varint(at << 3) + varint(value)


def onnx(graph):
    return number(1, 8) + field(7, graph)


def onnx_tensor(*parts):
    return onnx(field(5, b"".join(parts)))


def external(location):
    entry = field(1, b"location") + field(2, location)
    return onnx_tensor(number(1, 2), number(2, 1), field(8, b"w"), field(13, entry), number(14, 1))


def nested(levels):
    graph = b""
    for _ in range(levels):
        graph = field(1, field(5, field(6, graph)))
    return onnx(graph)


def cyclic():
    one = field(1, field(1, b"b") + field(2, b"a") + field(4, b"Abs"))
    two = field(1, field(1, b"a") + field(2, b"b") + field(4, b"Abs"))
    return onnx(one + two + field(12, field(1, b"a")))


def zipped(members, **options):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


def memo_bomb():
    """Return a pickle of lists that hold the list before ten times, forty levels deep."""
    body = b"\x80\x04(]q\x00"
    for level in range(40):
        body += b"]q" + bytes([level + 1]) + b"(" + (b"h" + bytes([level])) * 10 + b"e"
    return body + b"t."


def joblib_claims():
    wrapper = (
        b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}("
        b"X\x05\x00\x00\x00shape\x8a\x08" + struct.pack("<q", HUGE) + b"\x85"
        b"X\x05\x00\x00\x00dtypecnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"
        b"X\x05\x00\x00\x00orderX\x01\x00\x00\x00Cub"
    )
    return wrapper + bytes(64)


UBJ = b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    b"<PMML><x>&b;</x></PMML>"
)
OUTSIDE = b'<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/hostname">]><PMML><x>&x;</x></PMML>'
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(
    ">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0
)
PNG += struct.pack(">I", zlib.crc32(PNG[12:])) + b"\x00\x00\x00\x00IEND\xaeB`\x82"

CASES = {
    "onnx-outside": ("m.onnx", external(b"../../../etc/hostname")),
    "onnx-absolute": ("m.onnx", external(b"/etc/hostname")),
    "onnx-backslash": ("m.onnx", external(b"..\\..\\etc")),
    "onnx-claims": ("m.onnx", onnx_tensor(number(1, HUGE), number(2, 1), field(9, b"1234"))),
    "onnx-negative": ("m.onnx", onnx_tensor(number(1, (1 << 64) - 4), number(2, 1))),
    "onnx-nested": ("m.onnx", nested(400)),
    "onnx-cyclic": ("m.onnx", cyclic()),
    "onnx-long-field": ("m.onnx", number(1, 8) + varint(7 << 3 | 2) + varint(HUGE)),
    "onnx-endless-number": ("m.onnx", number(1, 8) + b"\x38" + b"\xff" * 64),
    "ubj-claims": ("m.ubj", UBJ + b"[$d#L" + struct.pack(">q", HUGE)),
    "ubj-count": ("m.ubj", UBJ + b"[$Z#L" + struct.pack(">q", HUGE)),
    "ubj-negative": ("m.ubj", UBJ + b"SL" + struct.pack(">q", -5)),
    "ubj-nested": ("m.ubj", UBJ + b"[" * 500_000),
    "ubj-key": ("m.ubj", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learnerZL" + b"\x7f" * 8),
    "xgboost-nested": ("m.json", b'{"learner":' + b"[" * 500_000),
    "xgboost-twice": ("m.json", b'{"learner":1,"learner":2}'),
    "catboost-offsets": ("m.cbm", b"CBM1\x10\x00\x00\x00" + b"\xff" * 24),
    "catboost-claims": ("m.cbm", b"CBM1\xff\xff\xff\xff" + bytes(24)),
    "lightgbm-bytes": ("m.txt", b"tree\nversion=v4\n\xff\xfe\nend of trees\n"),
    "pickle-claims": ("m.pkl", b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + b"abc."),
    "pickle-underflow": ("m.pkl", b"\x80\x04RRR."),
    "pickle-no-mark": ("m.pkl", b"\x80\x04]e."),
    "pickle-memo": ("m.pkl", b"\x80\x04h\x07."),
    "pickle-nested": ("m.pkl", b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "pickle-no-end": ("m.pkl", b"\x80\x04]]]"),
    "pickle-buffer": ("m.pkl", b"\x80\x05\x97."),
    "pickle-array": (
        "m.pkl",
        pickle.dumps(np.arange(9.0), protocol=4).replace(b"K\x09\x85", b"K\x7f\x85"),
    ),
    "joblib-claims": ("m.joblib", joblib_claims()),
    "joblib-bomb": ("m.joblib", zlib.compress(b"\x80\x04" + bytes(8 << 20))),
    "skops-outside": ("m.skops", zipped([("schema.json", '{"__loader__":1}'), ("../x", "y")])),
    "skops-bomb": ("m.skops", zipped([("schema.json", '{"__loader__":1}'), ("a", bytes(8 << 20))])),
    "skops-nested": ("m.skops", zipped([("schema.json", '{"__loader__":' + "[" * 100_000)])),
    "keras-bomb": (
        "m.keras",
        zipped([("metadata.json", "{}"), ("config.json", "{}"), ("w", bytes(8 << 20))]),
    ),
    "hdf5-garbage": ("m.h5", b"\x89HDF\r\n\x1a\n" + b"\xff" * 500),
    "gguf-tensors": ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0)),
    "gguf-text": ("m.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, HUGE)),
    "gguf-list": (
        "m.gguf",
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, HUGE),
    ),
    "gguf-shape": (
        "m.gguf",
        b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"w" + struct.pack("<IQIQ", 1, HUGE, 0, 0),
    ),
    "msgpack-map": ("m.msgpack", b"\xdf\xff\xff\xff\xff"),
    "msgpack-nested": ("m.msgpack", b"\x81\xa1a" + b"\x91" * 100_000),
    "msgpack-claims": (
        "m.msgpack",
        b"\x81\xa1a\xc7\x12\x01\x93\x91\xcf" + struct.pack(">Q", HUGE) + b"\xa2f4\xc4\x01a",
    ),
    "parquet-garbage": ("m.parquet", b"PAR1" + b"\xff" * 200 + b"PAR1"),
    "arrow-garbage": ("m.feather", b"ARROW1\0\0" + b"\xff" * 200 + b"ARROW1"),
    "csv-field": ("m.csv", b'a,b\n"' + b"x" * 200_000 + b'",1\n'),
    "image-pixels": ("m.png", PNG),
    "events-claims": ("events.out.tfevents.1", struct.pack("<Q", 0) + bytes(8) + b"\xff" * 32),
    "pmml-laughs": ("m.pmml", LAUGHS),
    "pmml-outside": ("m.pmml", OUTSIDE),
    "pmml-nested": ("m.pmml", b"<PMML>" + b"<x>" * 200_000),
}


def pair(folder, name, data):
    """Write hostile bytes twice, the second time with one byte more, so that they are compared."""
    one, two = folder / "a" / name, folder / "b" / name
    for path, content in ((one, data), (two, data + b"\0")):
        path.parent.mkdir()
        path.write_bytes(content)
    return one, two


@pytest.mark.parametrize("case", CASES)
def test_hostile_bytes_are_refused_with_a_reason_and_within_bounds(tmp_path, case):
    one, two = pair(tmp_path, *CASES[case])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    found = family.compare(one, two, case, bounds=Bounds(member=1 << 20))
    seconds = time.monotonic() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert found.status == Status.UNCOMPARABLE
    assert found.reason
    assert "cannot be read (" not in found.reason  # what only the family's safety net caught
    assert "no comparator knows" not in found.reason
    assert seconds < 10
    assert grown < 400 << 10


def test_nothing_in_a_pickle_runs(tmp_path):
    proof = tmp_path / "proof"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {proof}",)

    one, two = pair(tmp_path, "m.pkl", b"")
    one.write_bytes(pickle.dumps([Attack(), 1]))
    two.write_bytes(pickle.dumps([Attack(), 2]))
    found = family.compare(one, two, "m.pkl")
    assert found.status == Status.DIFFERENT
    assert "would import" in found.reason
    assert "system" in found.reason
    assert not proof.exists()


def test_a_memo_bomb_is_compared_in_the_size_that_it_has(tmp_path):
    one, two = pair(tmp_path, "m.pkl", b"")
    one.write_bytes(memo_bomb())
    two.write_bytes(memo_bomb().replace(b"\x80\x04", b"\x80\x03"))
    start = time.monotonic()
    assert family.compare(one, two, "m.pkl").status == Status.EXACT
    assert time.monotonic() - start < 5


def test_external_data_behind_a_link_is_refused(tmp_path):
    one, two = pair(tmp_path, "m.onnx", external(b"w.bin"))
    two.write_bytes(external(b"v.bin"))
    (one.parent / "w.bin").symlink_to("/etc/hostname")
    found = family.compare(one, two, "m.onnx")
    assert found.status == Status.UNCOMPARABLE
    assert "link" in found.reason


def test_an_hdf5_link_out_of_the_file_is_refused(tmp_path):
    import h5py

    one, two = pair(tmp_path, "m.h5", b"")
    for path, target in ((one, "/etc/hostname"), (two, "/etc/passwd")):
        path.unlink()
        with h5py.File(path, "w") as file:
            file["stolen"] = h5py.ExternalLink(target, "/")
    found = family.compare(one, two, "m.h5")
    assert found.status == Status.UNCOMPARABLE
    assert "link to another file" in found.reason


def test_hdf5_that_claims_a_terabyte_is_refused(tmp_path):
    import h5py

    one, two = pair(tmp_path, "m.h5", b"")
    for path, value in ((one, 1), (two, 2)):
        path.unlink()
        with h5py.File(path, "w") as file:
            file.create_dataset("w", (1 << 37,), "f8", chunks=(1 << 10,))[3] = value
    found = family.compare(one, two, "m.h5")
    assert found.status == Status.UNCOMPARABLE
    assert "larger than the bounds" in found.reason


def test_a_checkpoint_index_with_blocks_out_of_the_file_is_refused(tmp_path):
    end = b"\xff" * 40 + struct.pack("<Q", 0xDB4775248B80FB57)
    one, two = pair(tmp_path, "ck.index", bytes(100) + end)
    two.write_bytes(bytes(101) + end)
    found = family.compare(one, two, "ck.index")
    assert found.status == Status.UNCOMPARABLE
    assert "tf-index: " in found.reason
    assert "cannot be read (" not in found.reason


@pytest.mark.parametrize("name", ["m.onnx", "m.pkl", "m.csv", "m.gguf", "m.parquet", "m.png"])
def test_a_sparse_file_of_a_terabyte_costs_nothing(tmp_path, name):
    one, two = pair(tmp_path, name, b"")
    for path, size in ((one, 1 << 40), (two, (1 << 40) + 1)):
        with path.open("wb") as file:
            file.write(
                {".pkl": b"\x80\x04", ".gguf": b"GGUF", ".png": PNG[:8]}.get(path.suffix, b"PAR1")
            )
            file.truncate(size)
    one.unlink()
    with two.open("rb") as file:
        one.write_bytes(file.read(4096))
    start = time.monotonic()
    found = family.compare(one, two, name)
    assert found.status == Status.UNCOMPARABLE
    assert time.monotonic() - start < 5


def test_names_with_control_characters_do_not_reach_a_terminal(tmp_path):
    from flax import serialization

    one, two = pair(tmp_path, "m.msgpack", b"")
    for path, value in ((one, 1.0), (two, 2.0)):
        name = "\x1b[2Jw\r\n<script>alert(1)</script>\u202e"
        path.write_bytes(serialization.to_bytes({name: np.full(3, value)}))
    found = family.compare(one, two, "m.msgpack")
    assert found.status == Status.DIFFERENT
    shown = found.reason + "".join(c.name + c.recorded + c.reproduced for c in found.children)
    assert "script" in shown
    assert shown.isprintable()
