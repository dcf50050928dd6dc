"""Packages: only what the lock says gets in, and the same wheels make the same tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from support.wheels import line, wheel

from harness.errors import IncompleteLineage, SourceUnavailable
from harness.model import Package
from harness.runtimes import locks, packages

TARGET = locks.Target("3.11.7", "2.36", "x86_64")


@pytest.fixture
def links(tmp_path, monkeypatch):
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def fetch(tmp_path):
    def go(text, target=TARGET):
        lock = tmp_path / "requirements.lock"
        lock.write_text(text)
        return packages.fetch(locks.read(lock, target), target, tmp_path / "home", print)

    return go


def test_wheels_come_once_into_a_place_named_by_their_hash(links, fetch):
    made = wheel(links)
    text = line(made)
    (found,) = fetch(text)
    assert found.parent.name == text.split("sha256:")[1].strip()
    assert found.name == made.name
    made.unlink()
    assert fetch(text) == (found,)


def test_a_damaged_cache_is_noticed_and_filled_again(links, fetch):
    made = wheel(links)
    (found,) = fetch(line(made))
    found.chmod(0o644)
    found.write_bytes(b"poison")
    (again,) = fetch(line(made))
    assert again.read_bytes() == made.read_bytes()


def test_a_local_build_of_the_locked_version_is_accepted_by_its_hash(links, fetch):
    made = wheel(links, version="1.0+cpu")
    (found,) = fetch(line(made).replace("==1.0+cpu", "==1.0"))
    assert found.name == made.name


def test_a_changed_wheel_is_unavailable_by_name(links, fetch):
    text = line(wheel(links))
    wheel(links, files={"tinypkg/__init__.py": "VALUE = 'changed'\n"})
    with pytest.raises(SourceUnavailable, match=r"tinypkg.*sha256"):
        fetch(text)


def test_a_withdrawn_wheel_is_unavailable_by_name(links, fetch):
    made = wheel(links)
    text = line(made)
    made.unlink()
    with pytest.raises(SourceUnavailable, match=r"tinypkg==1\.0"):
        fetch(text)


def test_what_no_index_offers_is_a_gap_before_anything_is_downloaded(tmp_path, links):
    lock = tmp_path / "requirements.lock"
    here, local = wheel(links), wheel(links, name="localpkg", version="2.0+cpu")
    gone = f"gonepkg==1.0 --hash=sha256:{'a' * 64}\n"
    other = line(wheel(links, name="oldpkg")).replace("==1.0", "==3.0")
    lock.write_text(line(here) + line(local).replace("==2.0+cpu", "==2.0") + gone + other)
    found = packages.missing(locks.read(lock, TARGET), TARGET, tmp_path / "home")
    assert [g.detail.split(" ")[0] for g in found] == ["gonepkg==1.0", "oldpkg==3.0"]
    assert not list((tmp_path / "home").rglob("*.whl"))


def test_what_is_in_the_cache_is_not_missing(tmp_path, links, fetch):
    made = wheel(links)
    fetch(line(made))
    made.unlink()
    locked = locks.read(tmp_path / "requirements.lock", TARGET)
    assert packages.missing(locked, TARGET, tmp_path / "home") == ()
    assert packages.missing(locked, TARGET, tmp_path / "other") != ()


def test_a_wheel_for_another_interpreter_is_unavailable(links, fetch):
    made = wheel(links, tag="cp312-cp312-manylinux_2_17_x86_64")
    with pytest.raises(SourceUnavailable, match="tinypkg"):
        fetch(line(made))
    assert fetch(line(made), locks.Target("3.12.1", "2.36", "x86_64"))


def test_a_wheel_for_a_newer_glibc_is_unavailable(links, fetch):
    made = wheel(links, tag="cp311-cp311-manylinux_2_28_x86_64")
    with pytest.raises(SourceUnavailable, match="tinypkg"):
        fetch(line(made), locks.Target("3.11.7", "2.17", "x86_64"))
    assert fetch(line(made))


def test_a_package_with_sources_only_is_a_named_gap_and_nothing_of_it_runs(links, fetch):
    source = links / "tinypkg-1.0.tar.gz"
    source.write_bytes(b"whatever")
    with pytest.raises(IncompleteLineage, match=r"tinypkg==1\.0.*source distribution"):
        fetch(f"tinypkg==1.0 --hash=sha256:{'a' * 64}\n")


def test_links_told_to_uv_alone_are_used(tmp_path, links, fetch, monkeypatch):
    made = wheel(tmp_path / "elsewhere")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "elsewhere"))
    assert [w.name for w in fetch(line(made))] == [made.name]


ENTRY = {
    "tinypkg/__init__.py": "def main():\n    print('ran')\n",
    "tinypkg-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tinypkg:main\n",
}


@pytest.fixture
def build(tmp_path, links, fetch):
    def go(name, files=ENTRY):
        wheels = fetch(line(wheel(links, files=files)))
        out = tmp_path / name / "env"
        packages.assemble(wheels, sys.executable, "3.11.7", out, tmp_path / name)
        return out

    return go


def listing(tree):
    return {
        p.relative_to(tree).as_posix(): (
            p.lstat().st_mtime, p.lstat().st_mode,
            p.read_bytes() if p.is_file() and not p.is_symlink() else None,
        )
        for p in tree.rglob("*")
    }  # fmt: skip


def test_two_trees_of_one_lock_are_equal_in_every_byte_mode_and_time(build):
    one, two = build("one"), build("two")
    assert listing(one) == listing(two)
    assert packages.content_digest(one) == packages.content_digest(two)


def test_a_tree_names_no_place_of_this_machine(build, tmp_path):
    tree = build("one")
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert str(tmp_path).encode() not in path.read_bytes(), path


def test_what_is_installed_can_be_imported_listed_and_started(build):
    tree = build("one")
    assert packages.inventory(tree) == (Package("tinypkg", "1.0"),)
    assert (tree / "bin/tiny").read_text().startswith("#!/harness/env/bin/python\n")
    script = "import importlib.metadata as m; print(sorted(map(str, m.files('tinypkg'))))"
    command = [str(tree / "bin/python"), "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "tinypkg/__init__.py" in found
    assert "direct_url" not in found


@pytest.mark.parametrize("change", ["content", "mode", "extra"])
def test_the_content_digest_sees_every_change(build, change):
    tree = build("one")
    before = packages.content_digest(tree)
    module = tree / "lib/python3.11/site-packages/tinypkg/__init__.py"
    if change == "content":
        module.write_text("changed")
    elif change == "mode":
        module.chmod(0o755)
    else:
        module.with_name("extra.py").touch()
    assert packages.content_digest(tree) != before
