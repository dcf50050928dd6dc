"""Every data source: the recorded objects and nothing else, from a folder and from S3."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
import yaml

from harness import data
from harness.data.dvc import DvcSource
from harness.errors import SourceUnavailable, UsageError
from harness.tables import load

BUCKET = "harness-data"


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class FolderRemote:
    """A DVC remote in a local folder."""

    def __init__(self, root):
        self.root = root
        self.config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {root}\n"
        root.mkdir()

    def put(self, oid, content):
        path = self.root / "files/md5" / oid[:2] / oid[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def drop(self, oid):
        (self.root / "files/md5" / oid[:2] / oid[2:]).unlink()

    def get(self, oid):
        return (self.root / "files/md5" / oid[:2] / oid[2:]).read_bytes()


class S3Remote:
    """A DVC remote in a real S3 API on loopback."""

    def __init__(self, client, endpoint, prefix):
        self.client, self.prefix = client, prefix
        self.config = (
            f"[core]\n    remote = store\n['remote \"store\"']\n    url = s3://{BUCKET}/{prefix}\n"
            f"    endpointurl = {endpoint}\n    region = us-east-1\n"
        )

    def _key(self, oid):
        return f"{self.prefix}/files/md5/{oid[:2]}/{oid[2:]}"

    def put(self, oid, content):
        self.client.put_object(Bucket=BUCKET, Key=self._key(oid), Body=content)

    def drop(self, oid):
        self.client.delete_object(Bucket=BUCKET, Key=self._key(oid))

    def get(self, oid):
        return self.client.get_object(Bucket=BUCKET, Key=self._key(oid))["Body"].read()


@pytest.fixture(autouse=True)
def nobodys_configuration(monkeypatch):
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", "/not/there")
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", "/not/there")


@pytest.fixture(scope="session")
def s3():
    import boto3
    from moto.server import ThreadedMotoServer

    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_CONFIG_FILE", "/not/there")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield client, endpoint
    client.close()
    server.stop()
    patch.undo()


@pytest.fixture(params=["folder", "s3"])
def remote(request, tmp_path):
    if request.param == "folder":
        return FolderRemote(tmp_path / "store")
    return S3Remote(*request.getfixturevalue("s3"), tmp_path.name)


@pytest.fixture
def folder(tmp_path):
    return FolderRemote(tmp_path / "store")


@pytest.fixture
def source(tmp_path):
    return DvcSource(tmp_path / "home")


def project(root, config):
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").write_text(config)
    return root


def track(root, remote, name, content):
    """Do what `dvc add` and `dvc push` do for one file."""
    oid = md5(content)
    remote.put(oid, content)
    _dvc_file(root, name, {"md5": oid, "size": len(content)})
    return oid


def track_folder(root, remote, name, files):
    rows = [{"md5": md5(c), "relpath": p} for p, c in sorted(files.items())]
    for content in files.values():
        remote.put(md5(content), content)
    manifest = json.dumps(rows, sort_keys=True).encode()
    oid = md5(manifest) + ".dir"
    remote.put(oid, manifest)
    size = sum(map(len, files.values()))
    _dvc_file(root, name, {"md5": oid, "size": size, "nfiles": len(files)})
    return oid


def _dvc_file(root, name, out):
    path = root / f"{name}.dvc"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"outs": [out | {"hash": "md5", "path": path.stem}]}))


@pytest.fixture
def checkout(tmp_path, remote):
    return project(tmp_path / "checkout", remote.config)


@pytest.fixture
def local(tmp_path, folder):
    return project(tmp_path / "checkout", folder.config)


def bring(source, checkout, targets=None):
    plan = source.plan(checkout, targets)
    assert plan.gaps == ()
    return source.fetch(checkout, plan)


def test_files_and_folders_come_with_both_digests(source, checkout, remote):
    track(checkout, remote, "data/a.csv", b"1,2\n")
    track_folder(checkout, remote, "images", {"x/1.png": b"one", "2.png": b"two"})
    plan = source.plan(checkout, None)
    assert source.missing(checkout, plan) == ()
    got = source.fetch(checkout, plan)
    assert [(o.path, o.size) for o in got] == [
        ("data/a.csv", 4),
        ("images/2.png", 3),
        ("images/x/1.png", 3),
    ]
    for o in got:
        content = (checkout / o.path).read_bytes()
        assert (o.md5, o.sha256) == (md5(content), hashlib.sha256(content).hexdigest())
        assert o.remote == "store"
    assert not list(checkout.rglob(".harness-*"))


def test_a_second_fetch_needs_no_remote(source, checkout, remote, tmp_path):
    oid = track(checkout, remote, "a", b"a")
    inner = track_folder(checkout, remote, "d", {"f": b"f"})
    first = bring(source, checkout)
    for gone in (oid, inner, md5(b"f")):
        remote.drop(gone)
    shutil.rmtree(checkout / "d")
    assert bring(source, checkout) == first
    assert (checkout / "d/f").read_bytes() == b"f"


def test_missing_objects_are_all_named(source, checkout, remote):
    remote.drop(track(checkout, remote, "a", b"a"))
    track(checkout, remote, "kept", b"kept")
    track_folder(checkout, remote, "d", {"f": b"f", "g": b"g"})
    remote.drop(md5(b"g"))
    plan = source.plan(checkout, None)
    said = [str(g) for g in source.missing(checkout, plan)]
    assert ["a (md5" in said[0], "d/g (md5" in said[1], len(said)] == [True, True, 2]
    with pytest.raises(SourceUnavailable) as error:
        source.fetch(checkout, plan)
    assert len(error.value.reasons) == 2
    assert "store" in error.value.reasons[0]


def test_a_missing_manifest_is_named(source, checkout, remote):
    remote.drop(track_folder(checkout, remote, "d", {"f": b"f"}))
    plan = source.plan(checkout, None)
    assert "d (md5" in str(source.missing(checkout, plan)[0])
    with pytest.raises(SourceUnavailable, match=r"d \(md5"):
        source.fetch(checkout, plan)


def test_a_corrupt_object_is_named_and_left_alone(source, checkout, remote):
    oid = track(checkout, remote, "a", b"row 1\n")
    remote.put(oid, b"row 2\n")
    with pytest.raises(SourceUnavailable) as error:
        bring(source, checkout)
    assert f"expected md5 {oid}, found {md5(b'row 2' + bytes([10]))}" in str(error.value)
    assert remote.get(oid) == b"row 2\n"
    assert not (checkout / "a").exists()
    remote.put(oid, b"row 1\n")
    bring(source, checkout)


def test_a_corrupt_manifest_is_refused(source, checkout, remote):
    oid = track_folder(checkout, remote, "d", {"f": b"f"})
    remote.put(oid, json.dumps([{"md5": md5(b"e"), "relpath": "f"}]).encode())
    with pytest.raises(SourceUnavailable, match="corrupt"):
        bring(source, checkout)


def test_a_poisoned_cache_is_dropped_and_filled_again(source, checkout, remote, tmp_path):
    oid = track(checkout, remote, "a", b"good")
    bring(source, checkout)
    cached = tmp_path / "home/dvc/files/md5" / oid[:2] / oid[2:]
    assert oct(cached.stat().st_mode & 0o777) == "0o444"
    cached.chmod(0o644)
    cached.write_bytes(b"evil")
    bring(source, checkout)
    assert (checkout / "a").read_bytes() == cached.read_bytes() == b"good"


def test_a_poisoned_object_goes_even_when_its_remote_has_none(source, local, folder, tmp_path):
    oid = track(local, folder, "a", b"good")
    bring(source, local)
    folder.drop(oid)
    cached = tmp_path / "home/dvc/files/md5" / oid[:2] / oid[2:]
    cached.chmod(0o644)
    cached.write_bytes(b"evil")
    with pytest.raises(SourceUnavailable, match="not at remote"):
        bring(source, local)
    assert not cached.exists()


def test_a_checkout_shares_no_file_with_the_cache(source, local, folder, tmp_path):
    oid = track(local, folder, "a", b"good")
    bring(source, local)
    (local / "a").write_bytes(b"evil")
    assert (tmp_path / "home/dvc/files/md5" / oid[:2] / oid[2:]).read_bytes() == b"good"
    assert (local / "a").stat().st_nlink == 1
    assert (tmp_path / "home/dvc").stat().st_mode & 0o077 == 0


def test_one_changed_row_is_another_object(source, local, folder, tmp_path):
    rows = b"".join(b"%d,0\n" % i for i in range(1000))
    track(local, folder, "a", rows)
    one = bring(source, local)[0]
    track(local, folder, "a", rows.replace(b"\n500,0", b"\n500,1"))
    two = bring(source, local)[0]
    assert one.sha256 != two.sha256


def test_an_unreachable_folder_is_named(source, local, folder):
    track(local, folder, "a", b"a")
    track(local, folder, "b", b"b")
    shutil.rmtree(folder.root)
    plan = source.plan(local, None)
    assert ["cannot be reached" in str(g) for g in source.missing(local, plan)] == [True]
    with pytest.raises(SourceUnavailable, match="cannot be reached") as error:
        source.fetch(local, plan)
    assert len(error.value.reasons) == 1


def test_an_unreachable_server_is_named(source, tmp_path, s3):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    client, _ = s3
    remote = S3Remote(client, endpoint, "x")
    checkout = project(tmp_path / "checkout", remote.config)
    track(checkout, remote, "a", b"a")
    plan = source.plan(checkout, None)
    assert "cannot be reached" in str(source.missing(checkout, plan)[0])
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        source.fetch(checkout, plan)


def test_a_missing_bucket_is_named(source, tmp_path, s3):
    config = S3Remote(*s3, "x").config.replace(BUCKET, "no-such-bucket")
    checkout = project(tmp_path / "checkout", config)
    track(checkout, FolderRemote(tmp_path / "other"), "a", b"a")
    plan = source.plan(checkout, None)
    assert source.missing(checkout, plan)
    with pytest.raises(SourceUnavailable, match="a "):
        source.fetch(checkout, plan)


@pytest.mark.parametrize("url", ["ext::sh -c x", "gdrive://x", "http://example.org/x", "~/secret"])
def test_a_committed_remote_of_another_kind_is_refused(source, local, folder, url):
    track(local, folder, "a", b"a")
    (local / ".dvc/config").write_text(folder.config.replace(str(folder.root), url))
    plan = source.plan(local, None)
    assert "store" in str(source.missing(local, plan)[0])
    with pytest.raises(SourceUnavailable, match="store"):
        source.fetch(local, plan)


def test_a_foreign_endpoint_needs_the_operators_word(tmp_path, s3):
    client, endpoint = s3
    remote = S3Remote(client, "http://evil.example.org", "sourced")
    checkout = project(tmp_path / "checkout", remote.config)
    track(checkout, remote, "a", b"a")
    plain = DvcSource(tmp_path / "home")
    with pytest.raises(SourceUnavailable, match=r"endpoint .* is not allowed"):
        bring(plain, checkout)
    for key in ("store", "s3://harness-data"):
        url = f"s3://{BUCKET}" + ("/sourced" if key == "store" else "")
        permitted = {key: f"{url}?endpointurl={endpoint}&region=us-east-1"}
        bring(DvcSource(tmp_path / f"home-{key[:2]}", permitted), checkout)


def test_a_committed_cache_folder_is_not_used(source, local, folder, tmp_path):
    trap = tmp_path / "trap"
    oid = track(local, folder, "a", b"good")
    (trap / "files/md5" / oid[:2]).mkdir(parents=True)
    (trap / "files/md5" / oid[:2] / oid[2:]).write_bytes(b"evil")
    with (local / ".dvc/config").open("a") as file:
        file.write(f"[cache]\n    dir = {trap}\n    type = hardlink\n")
    bring(source, local)
    assert (local / "a").read_bytes() == b"good"


def test_a_relative_folder_is_relative_to_the_original_repository(tmp_path, folder):
    config = folder.config.replace(str(folder.root), "../../store")
    checkout = project(tmp_path / "far/away/checkout", config)
    track(checkout, folder, "a", b"a")
    with pytest.raises(SourceUnavailable, match="relative to a repository elsewhere"):
        bring(DvcSource(tmp_path / "home"), checkout)
    bring(DvcSource(tmp_path / "home", origin=tmp_path / "original"), checkout)


def test_without_a_remote_the_fix_is_said(source, local, folder):
    track(local, folder, "a", b"a")
    (local / ".dvc/config").write_text("")
    gap = source.plan(local, None).gaps[0]
    assert ("dvc remote add" in gap.fix, gap.detail[:2]) == (True, "a:")


def test_no_dvc_at_all_is_an_empty_plan(source, tmp_path):
    (tmp_path / "train.py").write_text("")
    plan = source.plan(tmp_path, None)
    assert (plan.objects, plan.made, plan.gaps) == ((), (), ())
    assert source.fetch(tmp_path, plan) == ()


@pytest.mark.parametrize("path", ["../x", "/etc/x", ".git/config", "."])
def test_unsafe_paths_in_a_dvc_file_are_gaps(source, local, folder, path):
    (local / "a.dvc").write_text(yaml.safe_dump({"outs": [{"md5": md5(b""), "path": path}]}))
    plan = source.plan(local, None)
    assert plan.objects == ()
    assert "leads out" in str(plan.gaps[0])


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a\\x", "", "x\0y"])
def test_unsafe_paths_in_a_manifest_are_refused(source, local, folder, path):
    track_folder(local, folder, "d", {path: b"x"})
    with pytest.raises(SourceUnavailable, match="unsafe path"):
        bring(source, local)


def test_data_never_lands_through_a_link(source, local, folder, tmp_path):
    track(local, folder, "data/a", b"a")
    shutil.rmtree(local / "data")
    (tmp_path / "outside").mkdir()
    (local / "data").symlink_to(tmp_path / "outside")
    _dvc_file(local, "b", {"md5": md5(b"a"), "size": 1})
    (local / "b.dvc").write_text((local / "b.dvc").read_text().replace("path: b", "path: data/a"))
    with pytest.raises(SourceUnavailable, match="leads through"):
        bring(source, local)
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("text", ["[1]", "a: [", "a" * 10 + ": &x [*x, *x]\nouts: 3", "- " * 5000])
def test_malformed_dvc_files_are_gaps_never_crashes(source, local, text):
    (local / "bad.dvc").write_text(text)
    assert source.plan(local, None).objects == ()


PIPELINE = {
    "vars": [{"lr": 0.5}],
    "stages": {
        "prepare": {"cmd": "python prepare.py", "deps": ["raw.csv"], "outs": ["ready.csv"]},
        "train": {
            "cmd": ["python train.py --lr ${lr}", "echo done"],
            "deps": ["ready.csv"],
            "outs": ["model.pkl"],
            "metrics": [{"metrics.json": {"cache": False}}],
        },
        "score": {"foreach": ["a", "b"], "do": {"cmd": "score ${item}", "outs": ["${item}.txt"]}},
    },
}


@pytest.fixture
def pipeline(local, folder):
    raw = track(local, folder, "raw.csv", b"raw")
    for name in (b"ready", b"model"):
        folder.put(md5(name), name)
    (local / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))

    def row(path, oid):
        return {"path": path, "hash": "md5", "md5": oid, "size": 5}

    ready, model = row("ready.csv", md5(b"ready")), row("model.pkl", md5(b"model"))
    stages = {
        "prepare": {"cmd": "x", "deps": [row("raw.csv", raw)], "outs": [ready]},
        "train": {"cmd": "x", "deps": [ready], "outs": [model]},
    }
    (local / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return local


def test_what_stages_make_is_never_an_input(source, pipeline):
    plan = source.plan(pipeline, None)
    assert [o.path for o in plan.objects] == ["raw.csv"]
    assert plan.made == ("a.txt", "b.txt", "metrics.json", "model.pkl", "ready.csv")
    assert plan.gaps == ()
    named = source.plan(pipeline, ("raw.csv", "model.pkl"))
    assert [o.path for o in named.objects] == ["raw.csv"]
    assert "never brought in" in str(named.gaps[0])


def test_what_earlier_stages_made_is_an_input_of_later_ones(source, pipeline):
    plan = source.plan(pipeline, None, own=("train",))
    assert [o.path for o in plan.objects] == ["raw.csv", "ready.csv"]
    assert plan.made == ("metrics.json", "model.pkl")
    source.fetch(pipeline, plan)
    assert (pipeline / "ready.csv").read_bytes() == b"ready"
    assert not (pipeline / "model.pkl").exists()


def test_a_lock_made_with_other_data_is_a_gap(source, pipeline, folder):
    track(pipeline, folder, "raw.csv", b"new")
    gap = source.plan(pipeline, None).gaps[0]
    assert (gap.what, md5(b"raw") in gap.detail, md5(b"new") in gap.detail) == (
        "dvc.lock",
        True,
        True,
    )


def test_commands_come_in_order_with_variables_filled_in(source, pipeline):
    argv = source.stage_commands(pipeline, ("train", "prepare", "score@b", "score"))
    assert [a[:2] for a in argv] == [("/bin/sh", "-c")] * 6
    assert [a[2] for a in argv] == [
        *("python train.py --lr 0.5", "echo done", "python prepare.py"),
        *("score b", "score a", "score b"),
    ]


def test_commands_start_where_the_stage_works(source, pipeline):
    (pipeline / "sub dir/in").mkdir(parents=True)
    body = {"stages": {"deep": {"cmd": "run", "wdir": "in", "outs": ["o"]}}}
    (pipeline / "sub dir/dvc.yaml").write_text(yaml.safe_dump(body))
    assert source.stage_commands(pipeline, ("deep",))[0][2] == "cd 'sub dir/in' || exit\nrun"
    assert "sub dir/in/o" in source.plan(pipeline, None).made


def test_an_unknown_stage_is_a_usage_error(source, pipeline):
    with pytest.raises(UsageError, match="no stage 'deploy'"):
        source.stage_commands(pipeline, ("deploy",))


@pytest.mark.parametrize("name", ["../outside.yaml", "/etc/passwd"])
def test_variables_from_outside_are_refused(source, pipeline, tmp_path, name):
    (tmp_path / "outside.yaml").write_text("secret: 1\n")
    body = {"vars": [name], "stages": {"leak": {"cmd": "echo ${secret}"}}}
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump(body))
    with pytest.raises(UsageError, match="outside the repository"):
        source.stage_commands(pipeline, ("leak",))
    assert "outside the repository" in str(source.plan(pipeline, None).gaps[0])


def test_an_undefined_variable_is_named(source, pipeline):
    body = {"stages": {"s": {"cmd": "echo ${nope}"}}}
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump(body))
    with pytest.raises(UsageError, match="nope"):
        source.stage_commands(pipeline, ("s",))


@pytest.mark.parametrize("target", ["raw.csv", "raw.csv.dvc", "./raw.csv.dvc", "."])
def test_targets_name_files_paths_or_folders(source, pipeline, target):
    assert [o.path for o in source.plan(pipeline, (target,)).objects] == ["raw.csv"]


def test_an_untracked_target_is_a_gap(source, local):
    assert "not tracked" in str(source.plan(local, ("nothing.csv",)).gaps[0])


def test_data_of_a_recipe_below_the_top_comes_from_the_top_remote(source, local, folder):
    track(local, folder, "ml/train/data/a", b"a")
    got = bring(source, local / "ml/train")
    assert [o.path for o in got] == ["data/a"]
    assert (local / "ml/train/data/a").read_bytes() == b"a"


def test_an_import_without_a_copy_is_named(source, local, folder):
    track(local, folder, "a", b"a")
    body = yaml.safe_load((local / "a.dvc").read_text())
    body["deps"] = [{"path": "a", "repo": {"url": "https://example.org/r", "rev_lock": "0" * 40}}]
    (local / "a.dvc").write_text(yaml.safe_dump(body))
    assert "imported from 'https://example.org/r'" in str(source.plan(local, None).gaps[0])


def test_what_dvc_itself_made_is_understood(source, tmp_path):
    here = {"DVC_SITE_CACHE_DIR": "site", "DVC_GLOBAL_CONFIG_DIR": "config"}
    env = os.environ | {k: str(tmp_path / v) for k, v in here.items()} | {"DVC_NO_ANALYTICS": "1"}
    root = tmp_path / "made"
    (root / "images").mkdir(parents=True)
    (root / "table.csv").write_bytes(b"1\r\n2\n")
    for i in range(3):
        (root / f"images/{i}.txt").write_text(str(i))
    body = {"stages": {"train": {"cmd": "cp table.csv m", "deps": ["table.csv"], "outs": ["m"]}}}
    (root / "dvc.yaml").write_text(yaml.safe_dump(body))
    for command in (
        "init --quiet --no-scm",
        f"remote add --default store {tmp_path / 'remote'}",
        "add --quiet table.csv images",
        "repro --quiet",
        "push --quiet",
    ):
        dvc = [sys.executable, "-m", "dvc", *command.split()]
        subprocess.run(dvc, cwd=root, env=env, check=True, capture_output=True)
    clean = tmp_path / "clean"
    kept = shutil.ignore_patterns("cache", "tmp", "table.csv", "m", "[0-9].txt")
    shutil.copytree(root, clean, ignore=kept)
    got = bring(source, clean)
    assert [o.path for o in got] == ["images/0.txt", "images/1.txt", "images/2.txt", "table.csv"]
    assert (clean / "table.csv").read_bytes() == b"1\r\n2\n"
    plan = source.plan(clean, None)
    assert (plan.made, source.missing(clean, plan)) == (("m",), ())


def test_two_files_for_one_path_are_refused(source, local, folder):
    track(local, folder, "a", b"a")
    track_folder(local, folder, "d", {"x": b"x"})
    shutil.copy(local / "a.dvc", local / "z.dvc")
    _dvc_file(local, "d/x", {"md5": md5(b"a"), "size": 1})
    with pytest.raises(SourceUnavailable) as error:
        source.fetch(local, source.plan(local, None))
    assert error.value.reasons == (
        "data path: a is tracked twice",
        "data path: d/x is tracked twice",
    )
    assert not (local / "a").exists()


def test_the_users_own_dvc_configuration_counts(source, local, folder, tmp_path, monkeypatch):
    track(local, folder, "a", b"a")
    (local / ".dvc/config").write_text("[core]\n    remote = private\n")
    assert "no DVC remote 'private'" in str(source.missing(local, source.plan(local, None))[0])
    (tmp_path / "mine").mkdir()
    mine = folder.config.replace('store"', 'private"')
    (tmp_path / "mine/config").write_text(mine)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "mine"))
    bring(source, local)


def test_a_remote_without_its_package_says_what_to_install(source, local, folder):
    track(local, folder, "a", b"a")
    config = folder.config.replace(str(folder.root), "oss://bucket/dvc")
    (local / ".dvc/config").write_text(config)
    with pytest.raises(SourceUnavailable, match=r"pip install 'dvc\[oss\]'"):
        bring(source, local)


def test_a_broken_configuration_is_named(source, local, folder):
    track(local, folder, "a", b"a")
    (local / ".dvc/config").write_text("[core\nremote")
    assert "cannot be read" in str(source.plan(local, None).gaps[0])


@pytest.fixture
def http(folder):
    import functools
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder.root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_web_server_is_a_remote(source, local, folder, http):
    (local / ".dvc/config").write_text(folder.config.replace(str(folder.root), http))
    track(local, folder, "a", b"a")
    track_folder(local, folder, "d", {"x": b"x"})
    gone = track(local, folder, "gone", b"gone")
    folder.drop(gone)
    plan = source.plan(local, None)
    assert ["gone (md5" in str(g) for g in source.missing(local, plan)] == [True]
    with pytest.raises(SourceUnavailable, match="gone"):
        source.fetch(local, plan)
    folder.put(gone, b"gone")
    assert len(source.fetch(local, plan)) == 3


def test_objects_where_dvc_2_kept_them_are_found(source, local, folder):
    oid = track(local, folder, "a", b"a")
    (folder.root / oid[:2]).mkdir()
    old = folder.root / oid[:2] / oid[2:]
    (folder.root / "files/md5" / oid[:2] / oid[2:]).rename(old)
    assert source.missing(local, source.plan(local, None)) == ()
    bring(source, local)


def test_a_read_only_remote_stays_as_it_is(source, local, folder):
    oid = track(local, folder, "a", b"a")
    path = folder.root / "files/md5" / oid[:2] / oid[2:]
    before = path.stat()
    folder.put(md5(b"b"), b"evil")
    _dvc_file(local, "b", {"md5": md5(b"b"), "size": 1})
    with pytest.raises(SourceUnavailable):
        bring(source, local)
    after = path.stat()
    assert (after.st_mtime_ns, after.st_mode, after.st_nlink) == (
        before.st_mtime_ns,
        before.st_mode,
        before.st_nlink,
    )
    assert sorted(p.name for p in folder.root.rglob("*") if p.is_file()) == sorted(
        [oid[2:], md5(b"b")[2:]]
    )


def test_many_fetches_at_once_share_one_cache(tmp_path, local, folder):
    from concurrent.futures import ThreadPoolExecutor

    track_folder(local, folder, "d", {f"{i}": b"%d" % i for i in range(50)})
    copies = [shutil.copytree(local, tmp_path / f"copy{i}") for i in range(4)]
    home = tmp_path / "home"
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda c: bring(DvcSource(home), c), copies))
    assert all(g == got[0] for g in got)
    assert not list((home / "dvc/tmp").iterdir())


def test_what_a_killed_fetch_left_behind_is_swept(source, local, folder, tmp_path):
    tmp = tmp_path / "home/dvc/tmp"
    tmp.mkdir(parents=True)
    (tmp / "old").write_text("x")
    (tmp / "new").write_text("x")
    os.utime(tmp / "old", (1, 1))
    track(local, folder, "a", b"a")
    bring(source, local)
    assert [p.name for p in tmp.iterdir()] == ["new"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
)


def test_yaml_that_grows_beyond_measure_is_refused(source, pipeline):
    (pipeline / "bomb.dvc").write_text(BOMB + "outs: [{path: *j, md5: x}]\n")
    assert "more than" in str(source.plan(pipeline, None).gaps[0])
    (pipeline / "bomb.dvc").write_text("outs: &o [{path: a, md5: *o}]\n")
    assert "more than" in str(source.plan(pipeline, None).gaps[0])
    (pipeline / "bomb.dvc").unlink()
    (pipeline / "params.yaml").write_text(BOMB)
    assert "more than" in str(source.plan(pipeline, None).gaps[0])


def test_a_matrix_of_too_many_stages_is_refused(source, pipeline):
    matrix = {f"k{i}": list(range(10)) for i in range(10)}
    body = {"stages": {"s": {"matrix": matrix, "cmd": "echo ${item.k1}"}}}
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump(body))
    assert "more than 10000 stages" in str(source.plan(pipeline, None).gaps[0])


def test_a_matrix_stage_runs_every_combination(source, pipeline):
    body = {"stages": {"s": {"matrix": {"a": [1, 2], "b": ["x"]}, "cmd": "r ${item.a} ${item.b}"}}}
    (pipeline / "dvc.yaml").write_text(yaml.safe_dump(body))
    assert [a[2] for a in source.stage_commands(pipeline, ("s",))] == ["r 1 x", "r 2 x"]
    assert [a[2] for a in source.stage_commands(pipeline, ("s@2-x",))] == ["r 2 x"]


@pytest.mark.parametrize("name", data.TABLE)
def test_every_row_of_the_table_keeps_the_contract(name, tmp_path):
    made = load(data.TABLE, name, group=data.GROUP)(tmp_path)
    for method in ["plan", "stage_commands", "missing", "fetch"]:
        assert callable(getattr(made, method))
