"""DVC's files are read as hostile text: nothing in them reaches outside, nothing crashes."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import dvcfiles
from harness.errors import SourceUnavailable

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("folder", "wdir", "path", "whole"),
    [
        ("data", ".", "a.csv", "data/a.csv"),
        ("data", "..", "a.csv", "a.csv"),
        ("", ".", "x/../a", "a"),
        ("data", "../..", "a", None),
        ("", ".", "/etc/passwd", None),
        ("", "/etc", "passwd", None),
        ("", ".", "..", None),
        ("", ".", ".", None),
        ("", ".", "x/.git/config", None),
        ("", ".", ".GIT", None),
        ("", ".", "a\0b", None),
    ],
)
def test_paths_stay_inside(folder, wdir, path, whole):
    assert dvcfiles.inside(folder, wdir, path) == whole


@given(st.binary(max_size=200))
def test_no_manifest_crashes(content):
    with suppress(SourceUnavailable):
        dvcfiles.manifest(content, "d")


@given(st.text(max_size=30))
def test_no_manifest_path_leads_out(path):
    content = json.dumps([{"relpath": path, "md5": MD5}]).encode()
    try:
        ((kept, _),) = dvcfiles.manifest(content, "d")
    except SourceUnavailable:
        return
    assert not kept.startswith("/")
    assert ".." not in kept.split("/")


def test_a_manifest_with_a_path_twice_is_refused():
    content = json.dumps([{"relpath": "a", "md5": MD5}] * 2).encode()
    with pytest.raises(SourceUnavailable, match="lists a path twice"):
        dvcfiles.manifest(content, "d")


@pytest.mark.parametrize("md5", ["", "abc", MD5.upper(), MD5 + ".dir", "../" + MD5])
def test_a_manifest_with_another_digest_is_refused(md5):
    content = json.dumps([{"relpath": "a", "md5": md5}]).encode()
    with pytest.raises(SourceUnavailable):
        dvcfiles.manifest(content, "d")


@given(st.text(max_size=80))
def test_no_dvc_file_crashes(tmp_path_factory, text):
    root = tmp_path_factory.mktemp("checkout")
    (root / "x.dvc").write_bytes(text.encode(errors="replace"))
    with suppress(SourceUnavailable):
        dvcfiles.dvc_file(root, "x.dvc")


def test_links_are_not_dvc_files(tmp_path):
    (tmp_path / "outside").write_text("outs: []")
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "a.dvc").symlink_to("../outside")
    assert list(dvcfiles.files(root)) == []
    with pytest.raises(SourceUnavailable, match="a link"):
        dvcfiles.read_yaml(root, "a.dvc")
