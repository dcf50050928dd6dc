"""Collecting what a hostile job left: bounded, regular files only, nothing outside."""

import os
from pathlib import Path

import pytest

from harness.runtimes import collect
from harness.runtimes.base import Job, Limits
from harness.runtimes.collect import Collector, make_writable, scan


@pytest.fixture
def collector(tmp_path):
    job = Job("r", tmp_path, ".", (), {}, tmp_path, (), tmp_path / "out", Limits(output_size=1000))
    return Collector(job)


@pytest.fixture
def left(tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    return folder


def kept(tmp_path):
    out = tmp_path / "out"
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())


def test_only_what_was_asked_for_is_copied(tmp_path, collector, left):
    (left / "deep/er").mkdir(parents=True)
    for name in ("model.bin", "other", "deep/er/model.bin"):
        (left / name).write_text(name)
    collector.take(left, "work", ("model.bin", "deep/**"))
    collector.take(left, "home", ("~/other",), "~/")
    assert kept(tmp_path) == ["home/other", "work/deep/er/model.bin", "work/model.bin"]
    assert (tmp_path / "out/work/deep/er/model.bin").read_text() == "deep/er/model.bin"
    assert collector.refused == []


def test_all_folders_share_one_budget_of_bytes(tmp_path, collector, left):
    (left / "a").write_bytes(bytes(700))
    (left / "b").write_bytes(bytes(700))
    collector.take(left, "one", ("a",))
    collector.take(left, "two", ("b",))
    assert kept(tmp_path) == ["one/a"]
    assert [r.split(":")[0] for r in collector.refused] == ["b"]


def test_a_sparse_file_larger_than_the_limit_is_refused(tmp_path, collector, left):
    with (left / "model").open("wb") as file:
        file.truncate(1 << 40)
    collector.take(left, "work", ("model",))
    assert kept(tmp_path) == []
    assert len(collector.refused) == 1


def test_a_flood_of_files_is_bounded(tmp_path, collector, left, monkeypatch):
    collector._files = 3
    for n in range(5):
        (left / f"f{n}").touch()
    collector.take(left, "work", None)
    assert kept(tmp_path) == ["work/f0", "work/f1", "work/f2"]
    assert len(collector.refused) == 2


def test_links_pipes_and_linked_folders_are_refused_only_when_asked_for(tmp_path, collector, left):
    (left / "model").symlink_to("/etc/passwd")
    (left / "folder").symlink_to("/etc")
    (left / "unasked").symlink_to("/etc/passwd")
    os.mkfifo(left / "pipe")
    collector.take(left, "work", ("model", "folder/**", "folder", "pipe"))
    assert kept(tmp_path) == []
    assert [r.split(":")[0] for r in collector.refused] == ["folder", "model", "pipe"]


def test_a_tree_too_deep_is_cut_and_named(collector, left):
    folder = left
    for _ in range(collect.MAX_DEPTH + 5):
        folder = folder / "d"
    folder.mkdir(parents=True)
    collector.take(left, "work", None)
    assert any("too deep" in r for r in collector.refused)


def test_scanning_follows_no_link(left):
    (left / "loop").symlink_to(left)
    (left / "file").touch()
    assert [p.name for p in scan(left)] == ["file", "loop"]


def test_folders_that_a_job_locked_are_opened_and_links_left_alone(tmp_path, left):
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o500)
    (left / "locked").mkdir(mode=0o000)
    (left / "link").symlink_to(target)
    make_writable(left)
    assert (left / "locked").stat().st_mode & 0o777 == 0o700
    assert Path(target).stat().st_mode & 0o777 == 0o500
