"""The ladder itself: bytes, folders, limits, and what hostile files may cost."""

import json
import os
import zipfile

import numpy as np
import pytest

from harness.comparators import family
from harness.comparators.base import Bounds
from harness.errors import UsageError
from harness.model import Status, Tolerance, ToleranceRule


def pair(folder, one, two, name="m.bin"):
    paths = folder / "a" / name, folder / "b" / name
    for path, data in zip(paths, (one, two), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return paths


def header(entries, body=b""):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + body


def tensor(start, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_known_digests_spare_reading(tmp_path):
    a, b = pair(tmp_path, b"one", b"two")
    found = family.compare(a, b, "m", recorded_sha256="ab", reproduced_sha256="ab")
    assert (found.status, found.values) == (Status.IDENTICAL, 1)


def test_an_empty_file_proves_nothing(tmp_path):
    found = family.compare(*pair(tmp_path, b"", b""), "m")
    assert (found.status, found.values) == (Status.IDENTICAL, 0)


@pytest.mark.parametrize("at", [0, 1 << 16, (1 << 20) + 7, (3 << 20) - 1])
def test_bytes_that_no_format_knows_are_uncomparable_and_located(tmp_path, at):
    data = b"\xff\xfe" * (3 << 19)
    other = bytearray(data)
    other[at] ^= 1
    found = family.compare(*pair(tmp_path, data, bytes(other)), "m")
    assert found.status == Status.UNCOMPARABLE
    assert f"offset {at} " in found.reason
    assert found.recorded != found.reproduced


def test_large_equal_files_are_equal_and_one_late_bit_is_not(tmp_path):
    data = bytearray(os.urandom(1 << 20) * 70)
    a, b = pair(tmp_path, data, data)
    assert family.compare(a, b, "m").status == Status.IDENTICAL
    data[-1] ^= 1
    b.write_bytes(data)
    assert family.compare(a, b, "m").status != Status.IDENTICAL


def test_a_folder_is_as_bad_as_its_worst_member(tmp_path):
    a, b = pair(tmp_path, b'{"x": 1}', b'{"x": 1}', "same.json")
    (a.parent / "gone.json").write_text("{}")
    (b.parent / "new.json").write_text("{}")
    found = family.compare(a.parent, b.parent, "m")
    assert found.status == Status.DIFFERENT
    assert {c.name: c.status for c in found.children} == {
        "gone.json": Status.MISSING,
        "new.json": Status.EXTRA,
        "same.json": Status.IDENTICAL,
    }


def test_links_are_named_and_never_followed(tmp_path):
    a, b = pair(tmp_path, b"x", b"x")
    for side in (a, b):
        (side.parent / "link").symlink_to("/etc/passwd")
        (side.parent / "loop").symlink_to(side.parent)
    found = family.compare(a.parent, b.parent, "m")
    states = {c.name: c.status for c in found.children}
    assert states["link"] == states["loop"] == Status.UNCOMPARABLE


def test_what_is_not_shown_is_counted_and_was_compared(tmp_path):
    a, b = pair(tmp_path, b"x", b"y")
    for n in range(20):
        for side in (a, b):
            (side.parent / f"{n}.txt").write_text("same")
    found = family.compare(a.parent, b.parent, "m", bounds=Bounds(nodes=5))
    assert (len(found.children), found.truncated) == (5, 16)
    assert found.status == Status.DIFFERENT
    assert any(c.name == "m.bin" for c in found.children)


def test_mlflow_download_record_is_not_part_of_a_model(tmp_path):
    a, b = pair(tmp_path, b"flavors: {}\n", b"flavors: {}\n", "MLmodel")
    (b.parent / "registered_model_meta").write_text("model_version: 3")
    assert family.compare(a.parent, b.parent, "m").status == Status.IDENTICAL


@pytest.mark.parametrize("rtol", [float("inf"), float("nan"), -1.0])
def test_a_tolerance_without_an_end_is_refused(tmp_path, rtol):
    rules = Tolerance((ToleranceRule("*", rtol=rtol),))
    with pytest.raises(UsageError, match="rtol"):
        family.compare(*pair(tmp_path, b"a", b"b"), "m", tolerance=rules)


HOSTILE = {
    "overlap": header({"a": tensor(0, 8, [2]), "b": tensor(4, 8, [1])}, bytes(8)),
    "huge shape": header({"a": tensor(0, 8, [1 << 60])}, bytes(8)),
    "beyond": header({"a": tensor(0, 1 << 40, [1 << 38])}, bytes(8)),
    "negative": header({"a": tensor(0, 8, [-1, -2])}, bytes(8)),
    "dtype": header({"a": tensor(0, 8, [2], "F99")}, bytes(8)),
    "twice": header(b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{}}'),
    "deep": header(b'{"a":' + b"[" * 90_000 + b"]" * 90_000 + b"}"),
    "not a mapping": header({"a": 3}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_ends_in_a_reason(tmp_path, name):
    good = header({"a": tensor(0, 8, [2])}, bytes(8))
    found = family.compare(*pair(tmp_path, good, HOSTILE[name]), "m")
    assert found.status == Status.UNCOMPARABLE
    assert found.reason.startswith("safetensors: ")


def test_deep_json_ends_in_a_reason(tmp_path):
    found = family.compare(*pair(tmp_path, b"[" * 10**5, b"{" * 10**5, "m.json"), "m")
    assert found.status == Status.UNCOMPARABLE


@pytest.mark.parametrize("name", ["../../out", "/etc/cron.d/x", "a/../../x"])
def test_a_member_that_escapes_is_refused(tmp_path, name):
    a, b = tmp_path / "a.zip", tmp_path / "b.zip"
    for path, inside in ((a, "fine"), (b, name)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(inside, "x")
    found = family.compare(a, b, "m")
    assert found.status == Status.UNCOMPARABLE
    assert "member named" in found.reason
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_bomb_costs_no_more_than_its_bound(tmp_path):
    a, b = tmp_path / "a.zip", tmp_path / "b.zip"
    for path, first in ((a, b"1"), (b, b"2")):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros.bin", first + bytes(64 << 20))
    found = family.compare(a, b, "m", bounds=Bounds(expanded=1 << 20))
    assert found.status == Status.UNCOMPARABLE
    assert "expands beyond" in found.reason


def test_a_sparse_terabyte_is_refused_by_its_size(tmp_path):
    a, b = pair(tmp_path, header({"a": tensor(0, 8, [2])}, bytes(8)), b"")
    with b.open("wb") as file:
        file.write(header({"a": tensor(0, 1 << 40, [1 << 38])}))
        file.truncate(1 << 40)
    found = family.compare(a, b, "m")
    assert found.status == Status.UNCOMPARABLE
    assert "bytes, more than" in found.reason


class Touch:
    """Whoever unpickles it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_an_array_of_objects_is_never_loaded(tmp_path):
    a, b = tmp_path / "a.npy", tmp_path / "b.npy"
    mark = tmp_path / "ran"
    np.save(a, np.array([{}, Touch(mark)], dtype=object), allow_pickle=True)
    np.save(b, np.array([{}, Touch(tmp_path / "too")], dtype=object), allow_pickle=True)
    found = family.compare(a, b, "m")
    assert found.status == Status.DIFFERENT
    assert "never loaded; it would import posix.mkdir" in found.reason
    assert not mark.exists()
