"""A dossier on disk is one sequence of bytes: any other one is refused, with a sentence."""

import io
import os
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.attestations.dsse import BadEvidence
from harness.dossier import archive
from harness.dossier.index import index, listed
from harness.errors import UsageError
from harness.record import canonical

FILES = {"index.json": b"{}", "evidence/a.json": b"[1, 2]", "größe.txt": b"", "z/y/x": b"\0" * 99}
part = st.text(st.characters(categories=["L", "N", "S"]), min_size=1, max_size=8)
# No name is both a file and a folder: what a file system cannot hold is never written.
trees = st.dictionaries(
    st.lists(part, min_size=1, max_size=3).map(lambda p: "/".join([f"d{len(p)}", *p])),
    st.binary(max_size=64),
    min_size=1,
    max_size=5,
)


def read(tmp_path, data):
    path = tmp_path / "t.zip"
    path.write_bytes(data)
    return archive.read(path)


@pytest.mark.parametrize("name", ["d", "d.zip"])
def test_what_is_written_is_read(tmp_path, name):
    archive.write(tmp_path / name, FILES)
    assert archive.read(tmp_path / name) == FILES
    assert [p.name for p in tmp_path.iterdir()] == [name]


@given(files=trees)
@settings(deadline=None, max_examples=60)
def test_a_zip_is_a_function_of_its_files(files, tmp_path_factory):
    data = archive.zipped(files)
    assert data == archive.zipped(dict(reversed(files.items())))
    assert read(tmp_path_factory.mktemp("z"), data) == files


@given(data=st.data(), files=trees)
@settings(deadline=None, max_examples=150)
def test_any_changed_byte_of_a_zip_is_refused(data, files, tmp_path_factory):
    whole = archive.zipped(files)
    at = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
    folder = tmp_path_factory.mktemp("z")
    with pytest.raises(BadEvidence) as refused:
        read(folder, bad)
    assert refused.value.exit_code == 5
    assert "\n" not in refused.value.message


@given(cut=st.integers(1, 400), extra=st.binary(min_size=1, max_size=40))
@settings(deadline=None, max_examples=60)
def test_bytes_around_a_zip_are_refused(cut, extra, tmp_path_factory):
    whole, folder = archive.zipped(FILES), tmp_path_factory.mktemp("z")
    for bad in (whole + extra, extra + whole, whole[:-cut], whole[cut:], whole[:cut] + extra):
        with pytest.raises(BadEvidence):
            read(folder, bad)


def test_every_single_byte_of_a_small_zip_counts(tmp_path):
    files = {"a": b"x", "b/c": b"y"}
    whole = archive.zipped(files)
    for at in range(len(whole)):
        bad = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(BadEvidence):
            read(tmp_path, bad)


def trick(change):
    """Return a zip of FILES that was made another way."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
        change(made)
    return buffer.getvalue()


def stored(made, path, data, **changes):
    entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    for name, value in changes.items():
        setattr(entry, name, value)
    made.writestr(entry, data)


def several(**changes):
    def change(made):
        for path, data in sorted(FILES.items()):
            stored(made, path, data, **changes)

    return trick(change)


def backwards(made):
    for path, data in sorted(FILES.items(), reverse=True):
        stored(made, path, data)


def commented(made):
    for path, data in sorted(FILES.items()):
        stored(made, path, data)
    made.comment = b"look here"


TRICKS = {
    "another order": lambda: trick(backwards),
    "a comment": lambda: trick(commented),
    "a comment of one file": lambda: several(comment=b"x"),
    "an extra field": lambda: several(extra=struct.pack("<HHI", 0x6375, 4, 1)),
    "another time": lambda: several(date_time=(2026, 11, 23, 10, 0, 0)),
    "executable": lambda: several(external_attr=(stat.S_IFREG | 0o755) << 16),
    "links": lambda: several(external_attr=(stat.S_IFLNK | 0o777) << 16),
    "another system": lambda: several(create_system=0),
    "compressed": lambda: several(compress_type=zipfile.ZIP_DEFLATED),
    "bzip2": lambda: several(compress_type=zipfile.ZIP_BZIP2),
}


def test_the_helper_of_the_tricks_makes_our_very_zip():
    assert several() == archive.zipped(FILES)


@pytest.mark.parametrize("make", TRICKS.values(), ids=TRICKS)
def test_a_zip_made_another_way_is_refused(tmp_path, make):
    with pytest.raises(BadEvidence):
        read(tmp_path, make())


NAMES = ["../a", "/a", "a/../b", "a//b", "./a", "a/", "a\\b", "C:\\a", "a\x1b[0m", "a\u202eb", "\n"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_escapes_or_hides_is_refused(tmp_path, name):
    with pytest.raises(BadEvidence, match="not a name"):
        read(tmp_path, trick(lambda made: stored(made, name, b"x")))


def test_a_name_twice_is_refused(tmp_path):
    def twice(made):
        for data in (b"x", b"y"):
            stored(made, "a", data)

    with pytest.warns(UserWarning, match="Duplicate"):
        data = trick(twice)
    with pytest.raises(BadEvidence):
        read(tmp_path, data)


def test_an_encrypted_member_is_refused(tmp_path):
    data = bytearray(archive.zipped({"a": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    with pytest.raises(BadEvidence):
        read(tmp_path, bytes(data))


def test_a_zip_that_claims_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    bomb = trick(lambda made: stored(made, "a", b"\0" * 5000, compress_type=zipfile.ZIP_DEFLATED))
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    with pytest.raises(BadEvidence, match="more files or bytes"):
        read(tmp_path, bomb)
    with pytest.raises(BadEvidence, match="larger than any dossier"):
        read(tmp_path, archive.zipped({"a": b"\0" * 1001}))
    monkeypatch.setattr(archive, "MAX_FILES", 2)
    with pytest.raises(BadEvidence, match="more files"):
        read(tmp_path, archive.zipped(dict.fromkeys("abc", b"")))


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "pipe", "broken link"])
def test_a_folder_with_anything_but_plain_files_is_refused(tmp_path, kind):
    archive.write(tmp_path / "d", FILES)
    place = tmp_path / "d" / "extra"
    if kind == "pipe":
        os.mkfifo(place)
    else:
        target = {"link to a file": "index.json", "link to a folder": "z"}.get(kind, "nowhere")
        place.symlink_to(target)
    with pytest.raises(BadEvidence, match="not a plain file"):
        archive.read(tmp_path / "d")


def test_a_folder_that_is_too_large_is_refused(tmp_path, monkeypatch):
    archive.write(tmp_path / "d", FILES)
    monkeypatch.setattr(archive, "MAX_BYTES", 50)
    with pytest.raises(BadEvidence, match="more files or bytes"):
        archive.read(tmp_path / "d")


@pytest.mark.parametrize("name", ["d", "d.zip"])
def test_what_exists_is_never_overwritten(tmp_path, name):
    archive.write(tmp_path / name, FILES)
    with pytest.raises(UsageError, match="exists already"):
        archive.write(tmp_path / name, {"other": b"x"})
    assert archive.read(tmp_path / name) == FILES


def test_a_link_is_no_target(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "d").symlink_to("real")
    with pytest.raises(UsageError, match="exists already"):
        archive.write(tmp_path / "d", FILES)
    assert not any((tmp_path / "real").iterdir())


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "d").mkdir()
    archive.write(tmp_path / "d", FILES)
    assert archive.read(tmp_path / "d") == FILES


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="a"):
        archive.write(tmp_path / "d", {"a": b"x", "a/b": b"y"})
    assert not any(tmp_path.iterdir())


def test_nothing_is_no_dossier(tmp_path):
    with pytest.raises(UsageError, match="no such dossier"):
        archive.read(tmp_path / "none")


# The index


def test_the_index_lists_every_file_once():
    found = listed(index(FILES))
    assert set(found) == set(FILES)
    assert index(FILES) == index(dict(reversed(FILES.items())))
    assert index(FILES) != index({**FILES, "z/y/x": b"\0" * 98})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema": 1}',
        b'{"schema": 1, "files": [1]}',
        b'{"schema": 1, "files": [{"path": "a"}]}',
        b'{"schema": 1, "schema": 1, "files": []}',
        canonical({"schema": 2, "files": []}),
        canonical({"schema": 1, "files": [{"path": "a", "sha256": "1"}] * 2}),
        b"[" * 100_000,
    ],
)
def test_an_index_that_is_none_is_refused(data):
    with pytest.raises(BadEvidence):
        listed(data)
