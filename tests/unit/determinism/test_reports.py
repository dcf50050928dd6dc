"""Report files are the training's to forge: read with limits, merged, and never more than text."""

from __future__ import annotations

import json
import os

import pytest

from harness import determinism


def write(folder, name="process-0.json", **facts):
    body = {"schema": 1, "process": "0", "level": "strict", "complete": True, **facts}
    (folder / name).write_text(json.dumps(body))


def test_no_report_is_never_pinned(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        assert determinism.read(folder)["pinned"] is False
        assert determinism.read(folder)["why"].startswith("not pinned")


def test_one_failed_pin_is_not_pinned(tmp_path):
    write(tmp_path)
    assert determinism.read(tmp_path)["pinned"] is True
    write(tmp_path, failed=["torch seeded: RuntimeError()"])
    assert determinism.read(tmp_path)["why"] == "not pinned: torch seeded: RuntimeError()"


def test_one_process_at_off_unpins_them_all(tmp_path):
    write(tmp_path)
    write(tmp_path, "process-0.1.json", process="0.1", level="off")
    assert determinism.read(tmp_path)["pinned"] is False


def test_findings_of_all_processes_are_merged(tmp_path):
    use = {"count": 2, "where": "train.py:3", "pinned": True}
    write(tmp_path, unseeded={"numpy": use}, threads={"torch": 1}, capability="AVX2")
    write(tmp_path, "process-0.1.json", process="0.1", unseeded={"numpy": use | {"pinned": False}})
    summary = determinism.read(tmp_path)
    assert summary["processes"] == 2
    assert summary["unseeded"] == [
        {"generator": "numpy", "count": 4, "where": "train.py:3", "pinned": False}
    ]
    assert (summary["threads"], summary["capability"]) == ({"torch": 1}, "AVX2")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"schema": 2}',
        b"[" * 100000,
        b'{"a":' + b"9" * 5000 + b"}",
        b" " * (1 << 20) + b'{"schema": 1}',
    ],
)
def test_a_broken_report_is_counted_and_unpins(tmp_path, body):
    write(tmp_path)
    (tmp_path / "process-0.1.json").write_bytes(body)
    summary = determinism.read(tmp_path)
    assert (summary["processes"], summary["unread"], summary["pinned"]) == (1, 1, False)


def test_links_and_pipes_are_not_followed(tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    write(tmp_path, "secret.json")
    (folder / "process-0.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(folder / "process-1.json")
    assert determinism.read(folder)["processes"] == 0


def test_values_of_wrong_types_and_sizes_do_no_harm(tmp_path):
    write(
        tmp_path,
        process=["x"],
        failed={"a": 1},
        unseeded={f"\x1b[31m{n}": {"count": "many", "where": 5} for n in range(500)},
        nondeterministic=[1],
        threads={"torch": 1e300, "x" * 5000: True},
        libraries="no",
        gpus=[{"model": 3}, "x"] * 500,
        blas="x",
        children=7,
    )
    summary = determinism.read(tmp_path)
    assert len(summary["unseeded"]) == 100
    assert "\x1b" not in json.dumps(summary, ensure_ascii=False)
    assert len(json.dumps(summary)) < 100_000
    determinism.fingerprint(summary)
