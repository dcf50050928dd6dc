"""Every code source: the recorded commit and nothing else, whatever the repository tries."""

import os
import subprocess
from pathlib import Path

import pytest

from harness import code
from harness.code.git import GitSource
from harness.errors import InfrastructureError, SourceUnavailable, UsageError
from harness.model import CodeRef
from harness.tables import load

ENV = {
    **{k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


def git(folder, *arguments, stdin=None):
    run = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments],
        env=ENV,
        input=stdin,
        capture_output=True,
        check=True,
    )
    return run.stdout.decode().strip()


def commit(folder, message="work"):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


def repository(folder, files):
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return commit(folder)


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return GitSource(tmp_path / "home")


@pytest.fixture
def origin(tmp_path):
    root = tmp_path / "origin"
    files = {"train.py": "print(1)\n", "pkg/run.sh": "#!/bin/sh\n", "recipe.toml": "schema = 1\n"}
    repository(root, files)
    (root / "pkg/run.sh").chmod(0o755)
    commit(root, "executable")
    return root


def ref(root, sha=None):
    return CodeRef(
        f"file://{root}", sha or git(root, "-c", "safe.directory=*", "rev-parse", "HEAD")
    )


def test_brings_exactly_the_commit_and_no_vcs_folder(source, origin, tmp_path):
    wanted = ref(origin)
    (origin / "train.py").write_text("print(2)\n")
    commit(origin, "later")
    out = tmp_path / "out"
    got = source.checkout(wanted, out)
    assert (out / "train.py").read_text() == "print(1)\n"
    assert os.access(out / "pkg/run.sh", os.X_OK)
    assert not os.access(out / "train.py", os.X_OK)
    assert {p.name for p in out.iterdir()} == {"train.py", "pkg", "recipe.toml"}
    assert got.tree == git(origin, "rev-parse", f"{wanted.commit}^{{tree}}")
    assert source.missing(wanted) == ()


def test_a_recorded_tree_that_differs_is_refused(source, origin, tmp_path):
    wanted = CodeRef(f"file://{origin}", git(origin, "rev-parse", "HEAD"), tree="0" * 40)
    with pytest.raises(SourceUnavailable, match="has tree"):
        source.checkout(wanted, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_destination_is_refused_and_kept(source, origin, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        source.checkout(ref(origin), tmp_path / "out")
    assert (tmp_path / "out/mine").read_text() == "x"


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% {flag}",
        "--upload-pack=touch {flag}",
        "ssh://-oProxyCommand=touch {flag}/x",
        "-oProxyCommand=x:y",
        "fd::17",
        "http://example.org/x",
        "file:///x\nfile:///y",
        "",
    ],
)
def test_hostile_addresses_are_refused(source, tmp_path, url):
    flag = tmp_path / "flag"
    wanted = CodeRef(url.format(flag=flag), "0" * 40)
    with pytest.raises(SourceUnavailable, match="not allowed"):
        source.checkout(wanted, tmp_path / "out")
    assert "not allowed" in str(source.missing(wanted)[0])
    assert not flag.exists()


@pytest.mark.parametrize(
    "sha", ["--force", "HEAD", "main", "abc123", "0" * 39 + "g", "0" * 40 + "\n"]
)
def test_only_full_commit_ids_are_taken(source, origin, tmp_path, sha):
    with pytest.raises(SourceUnavailable, match="not a full commit id"):
        source.checkout(CodeRef(f"file://{origin}", sha), tmp_path / "out")


def test_hooks_and_templates_do_not_run(source, origin, tmp_path, monkeypatch):
    flag = tmp_path / "flag"
    hooks = tmp_path / "template/hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {flag}\n")
        (hooks / name).chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[init]\ntemplateDir={hooks.parent}\n[core]\nhooksPath={hooks}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    source.checkout(ref(origin), tmp_path / "out")
    source.describe(origin)
    assert not flag.exists()


def test_a_missing_commit_is_named(source, origin, tmp_path):
    wanted = CodeRef(f"file://{origin}", "12" * 20)
    with pytest.raises(SourceUnavailable, match="12 is no longer at"):
        source.checkout(wanted, tmp_path / "out")
    assert "no longer at" in str(source.missing(wanted)[0])


def test_a_moved_repository_is_named(source, origin, tmp_path):
    wanted = ref(origin)
    origin.rename(tmp_path / "elsewhere")
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        source.checkout(wanted, tmp_path / "out")
    assert "cannot be read" in str(source.missing(wanted)[0])


def test_a_commit_forced_away_is_a_gap_but_still_comes_from_the_mirror(source, origin, tmp_path):
    wanted = ref(origin)
    source.checkout(wanted, tmp_path / "one")
    git(origin, "commit", "-q", "--amend", "-m", "rewritten")
    git(origin, "reflog", "expire", "--expire=now", "--all")
    git(origin, "gc", "-q", "--prune=now")
    assert "only our mirror has it" in str(source.missing(wanted)[0])
    source.checkout(wanted, tmp_path / "two")
    assert (tmp_path / "two/train.py").read_text() == "print(1)\n"


def test_a_warm_mirror_needs_no_repository(source, origin, tmp_path):
    wanted = ref(origin)
    source.checkout(wanted, tmp_path / "one")
    origin.rename(tmp_path / "elsewhere")
    source.checkout(wanted, tmp_path / "two")
    assert (tmp_path / "two/train.py").exists()


def test_attributes_do_not_alter_bytes(source, tmp_path):
    root = tmp_path / "origin"
    repository(root, {"raw.txt": "a\nb\n$Id$ $Format:%H$\n", "dos.txt": "a\r\nb\r\n"})
    (root / ".gitattributes").write_text("* text eol=crlf ident export-subst\nx export-ignore\n")
    (root / "x").write_text("kept\n")
    git(root, "add", ".gitattributes", "x")
    git(root, "commit", "-qm", "attributes")
    source.checkout(ref(root), tmp_path / "out")
    assert (tmp_path / "out/raw.txt").read_bytes() == b"a\nb\n$Id$ $Format:%H$\n"
    assert (tmp_path / "out/dos.txt").read_bytes() == b"a\r\nb\r\n"
    assert (tmp_path / "out/x").read_text() == "kept\n"


def test_links_inside_are_kept_and_links_outside_refused(source, origin, tmp_path):
    (origin / "inside").symlink_to("pkg/run.sh")
    (origin / "dangling").symlink_to("not/there")
    commit(origin)
    source.checkout(ref(origin), tmp_path / "good")
    assert (tmp_path / "good/inside").readlink() == Path("pkg/run.sh")
    for target in ("/etc/passwd", "../../../etc/passwd", "pkg/../.."):
        (origin / "bad").unlink(missing_ok=True)
        (origin / "bad").symlink_to(target)
        commit(origin)
        assert any("bad leads out" in str(g) for g in source.describe(origin).gaps)
        with pytest.raises(SourceUnavailable, match="'bad' leads out"):
            source.checkout(ref(origin), tmp_path / "out")


def test_a_chain_of_harmless_looking_links_is_refused(source, origin, tmp_path):
    (origin / "a/b").mkdir(parents=True)
    (origin / "a/b/top").symlink_to("../..")
    (origin / "escape").symlink_to("a/b/top/..")
    commit(origin)
    with pytest.raises(SourceUnavailable, match="'escape' leads out"):
        source.checkout(ref(origin), tmp_path / "out")


def _tree(root, *rows):
    return git(root, "mktree", "--missing", stdin="".join(rows).encode())


@pytest.mark.parametrize("name", [".git", ".GIT", "..", "."])
def test_unsafe_names_in_a_tree_are_refused(source, origin, tmp_path, name):
    blob = git(origin, "hash-object", "-w", "--stdin", stdin=b"x")
    tree = _tree(origin, f"100644 blob {blob}\t{name}\n")
    sha = git(origin, "commit-tree", tree, "-m", "bad")
    git(origin, "update-ref", "refs/heads/bad", sha)
    with pytest.raises(SourceUnavailable, match="not a safe file name"):
        source.checkout(ref(origin, sha), tmp_path / "out")


def test_a_damaged_mirror_is_noticed(source, origin, tmp_path):
    import zlib

    wanted = ref(origin)
    source.checkout(wanted, tmp_path / "one")
    mirror = next(p for p in (tmp_path / "home/git").iterdir() if p.is_dir())
    blob = git(origin, "rev-parse", "HEAD:train.py")
    loose = mirror / "objects" / blob[:2] / blob[2:]
    for pack in (mirror / "objects/pack").glob("*.pack"):
        data = pack.read_bytes()
        for index in pack.parent.glob("*.*"):
            index.unlink()
        git(mirror, "unpack-objects", "-q", stdin=data)
    loose.chmod(0o644)
    loose.write_bytes(zlib.compress(b"blob 9\0print(9)\n"))
    with pytest.raises(InfrastructureError, match="damaged"):
        source.checkout(wanted, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    loose.write_bytes(b"garbage")
    with pytest.raises(InfrastructureError, match="damaged"):
        source.checkout(wanted, tmp_path / "two")


def test_submodules_come_at_their_commit(source, origin, tmp_path):
    repository(tmp_path / "lib", {"lib.py": "x = 1\n"})
    git(origin, "submodule", "add", "-q", "../lib", "vendor/lib")
    commit(origin)
    (tmp_path / "lib/lib.py").write_text("x = 2\n")
    commit(tmp_path / "lib")
    source.checkout(ref(origin), tmp_path / "out")
    assert (tmp_path / "out/vendor/lib/lib.py").read_text() == "x = 1\n"


@pytest.mark.parametrize("url", ["ext::sh -c x", "http://example.org/x", "/not/there"])
def test_a_submodule_that_cannot_be_had_is_named(source, origin, tmp_path, url):
    repository(tmp_path / "lib", {"lib.py": "x = 1\n"})
    git(origin, "submodule", "add", "-q", str(tmp_path / "lib"), "vendor/lib")
    git(origin, "config", "-f", ".gitmodules", "submodule.vendor/lib.url", url)
    commit(origin)
    with pytest.raises(SourceUnavailable, match="submodule 'vendor/lib'"):
        source.checkout(ref(origin), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _with_lfs(origin, content):
    git(origin, "lfs", "install", "--local")
    git(origin, "lfs", "track", "*.bin")
    (origin / "weights.bin").write_bytes(content)
    commit(origin)


def test_lfs_files_are_brought_and_proven(source, origin, tmp_path):
    _with_lfs(origin, b"\0real" * 100)
    source.checkout(ref(origin), tmp_path / "out")
    assert (tmp_path / "out/weights.bin").read_bytes() == b"\0real" * 100


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/lfs", "ext::sh -c x", "-oProxy:x"])
def test_an_lfs_server_of_the_repositorys_choice_is_not_asked(source, origin, tmp_path, url):
    (origin / ".lfsconfig").write_text(f"[lfs]\n    url = {url}\n")
    git(origin, "add", ".lfsconfig")
    git(origin, "-c", "core.hooksPath=/dev/null", "commit", "-qm", "server")
    git(origin, "config", "lfs.url", origin.as_uri())
    _with_lfs(origin, b"\0real" * 100)
    with pytest.raises(SourceUnavailable, match="not allowed"):
        source.checkout(ref(origin), tmp_path / "out")


def test_an_allowed_lfs_server_of_the_commit_is_asked(source, origin, tmp_path):
    _with_lfs(origin, b"\0real" * 100)
    git(tmp_path, "clone", "-q", "--bare", str(origin), "elsewhere")
    (origin / ".git/lfs").rename(tmp_path / "elsewhere/lfs")
    server = (tmp_path / "elsewhere").as_uri()
    (origin / ".lfsconfig").write_text(f"[lfs]\n    url = {server}\n")
    git(origin, "add", ".lfsconfig")
    git(origin, "commit", "-qm", "server")
    source.checkout(ref(origin), tmp_path / "out")
    assert (tmp_path / "out/weights.bin").read_bytes() == b"\0real" * 100


def test_a_damaged_lfs_object_is_brought_again(source, origin, tmp_path):
    _with_lfs(origin, b"\0real" * 100)
    source.checkout(ref(origin), tmp_path / "one")
    (kept,) = (p for p in (tmp_path / "home/git").glob("*/lfs/objects/*/*/*") if p.is_file())
    kept.unlink()  # git-lfs may share the file with a local origin
    kept.write_bytes(b"evil")
    source.checkout(ref(origin), tmp_path / "two")
    assert (tmp_path / "two/weights.bin").read_bytes() == b"\0real" * 100
    assert {p.name for p in (tmp_path / "two").iterdir()} >= {"weights.bin", "train.py"}
    assert not list((tmp_path / "two").glob(".*.lfs"))


def test_lfs_files_that_are_gone_are_named(source, origin, tmp_path):
    import shutil

    _with_lfs(origin, b"\0real" * 100)
    shutil.rmtree(origin / ".git/lfs")
    with pytest.raises(SourceUnavailable, match="git-lfs"):
        source.checkout(ref(origin), tmp_path / "out")


def test_lfs_without_the_program_is_a_gap(source, origin, tmp_path, monkeypatch):
    import shutil

    _with_lfs(origin, b"\0real" * 100)
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda n: None if n == "git-lfs" else real(n))
    with pytest.raises(SourceUnavailable, match="not installed"):
        source.checkout(ref(origin), tmp_path / "out")
    assert "git-lfs file: weights.bin" in map(str, source.describe(origin).gaps)


def test_describe_lists_what_is_dirty(source, origin):
    (origin / ".gitignore").write_text("ignored\n")
    commit(origin)
    assert source.describe(origin).dirty == ()
    (origin / "ignored").write_text("x")
    (origin / "new file").write_text("x")
    (origin / "train.py").write_text("print(3)\n")
    (origin / "staged").write_text("x")
    git(origin, "add", "staged")
    git(origin, "rm", "-q", "pkg/run.sh")
    assert source.describe(origin).dirty == ("new file", "pkg/run.sh", "staged", "train.py")


def test_a_change_hidden_from_git_status_is_dirty(source, origin):
    git(origin, "update-index", "--assume-unchanged", "train.py")
    (origin / "train.py").write_text("print(3)\n")
    assert source.describe(origin).dirty == ("train.py",)


def test_without_a_remote_the_folder_is_the_address(source, origin, tmp_path):
    state = source.describe(origin / "pkg")
    assert (state.ref.url, state.ref.folder, state.gaps) == (origin.as_uri(), "pkg", ())
    assert state.author == "Ada <ada@example.org>"
    source.checkout(state.ref, tmp_path / "out")


def test_unpushed_commits_are_a_gap_until_they_are_pushed(source, origin, tmp_path):
    bare = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(origin, "remote", "add", "origin", "../bare.git")
    state = source.describe(origin)
    assert [g.what for g in state.gaps] == ["unpushed commit"]
    assert state.ref.url == bare.as_uri()
    git(origin, "push", "-q", "origin", "HEAD:main")
    git(origin, "checkout", "-q", "--detach")
    assert source.describe(origin).gaps == ()
    assert source.missing(source.describe(origin).ref) == ()


def test_credentials_never_enter_the_reference(source, origin):
    git(origin, "remote", "add", "origin", "https://bob:secret@example.org/x.git")
    assert source.describe(origin).ref.url == "https://example.org/x.git"


def test_a_shallow_clone_is_described_and_brought(source, origin, tmp_path):
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "shallow")
    shallow = tmp_path / "shallow"
    assert source.describe(shallow).gaps == ()
    source.checkout(ref(shallow), tmp_path / "out")
    assert (tmp_path / "out/train.py").exists()


def test_no_repository_is_a_usage_error(source, tmp_path):
    assert not source.find(tmp_path)
    with pytest.raises(UsageError, match="not in a git working copy"):
        source.describe(tmp_path)


def test_a_repository_of_another_user_is_read(source, origin, tmp_path, monkeypatch):
    if os.getuid() == 0:
        for path in (origin, *origin.rglob("*")):
            os.chown(path, 12345, 12345, follow_symlinks=False)
        assert source.describe(origin).dirty == ()
    else:  # git's own switch for its tests: every folder counts as somebody else's
        with monkeypatch.context() as patch:
            patch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
            assert source.describe(origin).dirty == ()
    source.checkout(ref(origin), tmp_path / "out")
    assert (tmp_path / "out/train.py").exists()


def test_a_hook_environment_does_not_redirect_us(source, origin, tmp_path, monkeypatch):
    other = tmp_path / "other"
    repository(other, {"other.py": ""})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert source.describe(origin).ref.commit == git(origin, "rev-parse", "HEAD")
    source.checkout(ref(origin), tmp_path / "out")
    assert (tmp_path / "out/train.py").exists()


@pytest.mark.parametrize("name", ["with space", "100%25", "größe", "a'b;c"])
def test_odd_folder_names_work(source, origin, tmp_path, name):
    moved = tmp_path / name / "origin"
    moved.parent.mkdir()
    origin.rename(moved)
    state = source.describe(moved)
    source.checkout(state.ref, tmp_path / "out")
    assert source.missing(state.ref) == ()


def test_a_repository_with_sha256_ids_is_brought(source, tmp_path):
    root = tmp_path / "long"
    root.mkdir()
    git(root, "init", "-q", "--object-format=sha256")
    (root / "train.py").write_text("print(1)\n")
    sha = commit(root)
    assert len(sha) == 64
    source.checkout(source.describe(root).ref, tmp_path / "out")
    assert (tmp_path / "out/train.py").read_text() == "print(1)\n"


def test_a_linked_worktree_is_described_and_brought(source, origin, tmp_path):
    git(origin, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    state = source.describe(tmp_path / "tree")
    source.checkout(state.ref, tmp_path / "out")
    assert (tmp_path / "out/train.py").exists()


def test_what_a_killed_fetch_left_behind_does_not_matter(source, origin, tmp_path):
    source.checkout(ref(origin), tmp_path / "one")
    mirror = next(p for p in (tmp_path / "home/git").iterdir() if p.is_dir())
    for name in ("packed-refs.lock", "refs/heads/main.lock", "shallow.lock"):
        (mirror / name).write_text("")
    (origin / "train.py").write_text("print(2)\n")
    commit(origin)
    source.checkout(ref(origin), tmp_path / "two")
    assert (tmp_path / "two/train.py").read_text() == "print(2)\n"


def test_many_checkouts_at_once_share_one_mirror(source, origin, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    wanted = ref(origin)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda i: source.checkout(wanted, tmp_path / f"out{i}"), range(4)))
    assert len({r.tree for r in got}) == 1
    assert len([p for p in (tmp_path / "home/git").iterdir() if p.is_dir()]) == 1


def test_a_tag_is_not_a_commit(source, origin, tmp_path):
    git(origin, "tag", "-a", "v1", "-m", "one")
    with pytest.raises(SourceUnavailable, match="is a tag, not a commit"):
        source.checkout(ref(origin, git(origin, "rev-parse", "v1")), tmp_path / "out")


def test_a_plain_folder_is_an_address_too(source, origin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, url in enumerate(("./origin", str(origin))):
        wanted = CodeRef(url, git(origin, "rev-parse", "HEAD"))
        assert source.checkout(wanted, tmp_path / f"out{i}").url == origin.as_uri()


@pytest.mark.parametrize("name", code.TABLE)
def test_every_row_of_the_table_keeps_the_contract(name, tmp_path):
    made = load(code.TABLE, name, group=code.GROUP)(tmp_path)
    for method in ["describe", "missing", "checkout"]:
        assert callable(getattr(made, method))


def test_a_remote_repository_cannot_name_a_folder_here(source, origin, tmp_path, monkeypatch):
    repository(tmp_path / "private", {"secret": "x"})
    git(origin, "submodule", "add", "-q", str(tmp_path / "private"), "stolen")
    commit(origin)
    config = tmp_path / "gitconfig"
    config.write_text(f'[url "{origin.as_uri()}"]\n    insteadOf = https://example.org/x\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    wanted = CodeRef("https://example.org/x", git(origin, "rev-parse", "HEAD"))
    with pytest.raises(SourceUnavailable, match="of this machine"):
        source.checkout(wanted, tmp_path / "out")
    assert not (tmp_path / "out").exists()
