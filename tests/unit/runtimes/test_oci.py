"""The image writer: same input, same bytes; every planted change gives another digest."""

import hashlib
import io
import json
import os
import tarfile

import pytest

from harness.runtimes import oci


def plant(root, *, reverse=False):
    names = ["b/second.py", "a/first.py", "a/" + "long" * 40 + "/x", "a/ünï.txt"]
    for name in sorted(names, reverse=reverse):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "bin").mkdir()
    tool = root / "bin/tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)
    (root / "bin/link").symlink_to("/usr/bin/python3")
    return root


def content(blob):
    return b"".join(blob.read())


@pytest.fixture
def tree(tmp_path):
    return plant(tmp_path / "one")


def test_two_folders_with_the_same_content_give_the_same_layer(tree, tmp_path):
    other = plant(tmp_path / "two", reverse=True)
    os.utime(other / "a/first.py", (1, 1))
    (other / "a/first.py").chmod(0o600)
    assert oci.layer(tree, "harness/env").sha256 == oci.layer(other, "harness/env").sha256


@pytest.mark.parametrize("change", ["byte", "name", "mode", "link", "empty folder"])
def test_every_change_of_content_changes_the_layer(tree, change):
    before = oci.layer(tree).sha256
    if change == "byte":
        (tree / "a/first.py").write_text("a/first.pz")
    elif change == "name":
        (tree / "a/first.py").rename(tree / "a/other.py")
    elif change == "mode":
        (tree / "a/first.py").chmod(0o755)
    elif change == "link":
        (tree / "bin/link").unlink()
        (tree / "bin/link").symlink_to("/usr/bin/python4")
    else:
        (tree / "new").mkdir()
    assert oci.layer(tree).sha256 != before


def test_the_layer_is_a_plain_sorted_tar_without_owners_or_times(tree):
    layer = oci.layer(tree, "harness/env")
    data = content(layer)
    assert hashlib.sha256(data).hexdigest() == layer.sha256
    assert len(data) == layer.size
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    names = [m.name for m in members]
    assert names[:2] == ["harness", "harness/env"]
    assert {(m.uid, m.gid, m.mtime) for m in members} == {(0, 0, oci.EPOCH)}
    modes = {m.name: m.mode for m in members}
    assert modes["harness/env/bin/tool"] == 0o755
    assert modes["harness/env/a/first.py"] == 0o644
    assert next(m for m in members if m.issym()).linkname == "/usr/bin/python3"


def test_clamped_trees_keep_older_times_and_their_modes(tree):
    os.utime(tree / "a/first.py", (1000, 1000))
    (tree / "bin/tool").chmod(0o4755)
    times = oci.Times(epoch=2000, clamp=True)
    with tarfile.open(fileobj=io.BytesIO(content(oci.layer(tree, times=times)))) as tar:
        found = {m.name: m for m in tar}
    assert found["a/first.py"].mtime == 1000
    assert found["b/second.py"].mtime == 2000
    assert found["bin/tool"].mode == 0o4755


def test_the_config_follows_from_base_and_layers_only(tree):
    layer = oci.layer(tree)
    below = oci.Platform("amd64", "linux", ("PATH=/usr/bin",), ("sha256:" + "0" * 64,))
    one = oci.image_config(below, [layer], {"WorkingDir": "/"}, "lock")
    assert one == oci.image_config(below, [layer], {"WorkingDir": "/"}, "lock")
    parsed = json.loads(one)
    assert parsed["rootfs"]["diff_ids"] == ["sha256:" + "0" * 64, f"sha256:{layer.sha256}"]
    assert parsed["created"] == oci.CREATED
    assert len(parsed["history"]) == 2
    other = oci.Platform("amd64", "linux", ("PATH=/usr/bin",), ("sha256:" + "1" * 64,))
    assert one != oci.image_config(other, [layer], {"WorkingDir": "/"}, "lock")


def test_the_archive_is_whole_and_its_digests_hold(tree):
    layer = oci.layer(tree)
    diff_id = f"sha256:{layer.sha256}"
    config = oci.image_config(oci.Platform("amd64", "linux"), [layer], {}, "lock")
    data = b"".join(oci.archive(config, [diff_id], {diff_id: layer}, "name:tag"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    manifest = json.loads(files["manifest.json"])[0]
    assert files[manifest["Config"]] == config
    assert files[manifest["Layers"][0]] == content(layer)
    assert manifest["RepoTags"] == ["name:tag"]
    index = json.loads(files["index.json"])
    for name, body in files.items():
        if name.startswith(oci.BLOBS):
            assert hashlib.sha256(body).hexdigest() == name.removeprefix(oci.BLOBS)
    assert index["manifests"][0]["digest"].removeprefix("sha256:") in "".join(files)


def test_an_archive_without_the_base_claims_no_whole_layout(tree):
    layer = oci.layer(tree)
    below = oci.Platform("amd64", "linux", (), ("sha256:" + "0" * 64,))
    config = oci.image_config(below, [layer], {}, "lock")
    ids = [*below.diff_ids, f"sha256:{layer.sha256}"]
    data = b"".join(oci.archive(config, ids, {ids[1]: layer}))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert "index.json" not in names
    assert names == ["manifest.json", oci.BLOBS + oci.blob(config).sha256, oci.BLOBS + ids[1][7:]]


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tree):
    stream = oci.tree(tree, "", oci.Times())
    while tarfile.TarInfo.frombuf(next(stream), "utf-8", "strict").name != "a":
        continue
    assert next(stream)  # the header of the first file, with its size
    (tree / "a/first.py").write_text("")
    with pytest.raises(OSError, match="shrank"):
        next(stream)


def test_batches_hold_the_same_bytes_in_few_pieces():
    chunks = [b"x" * 500_000] * 5
    pieces = list(oci.batched(chunks))
    assert b"".join(pieces) == b"".join(chunks)
    assert len(pieces) == 2
