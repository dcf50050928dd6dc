"""Every way to end has its exit code, stdout is the result, and help comes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from harness import cli, errors
from harness.cli import ci

MAIN = "from harness.cli import main; main()"
RECORD = {"model": "m", "version": "1", "outcome": "DIVERGED", "reasons": ["a: b, c"]}
ANSWER = {"record": RECORD, "decision": {"reasons": ["50%"]}, "outcome": "DIVERGED"}
ANSWER |= {"record_digest": "0" * 64, "exit_code": 1}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text('{"x": 1}')
    (tmp_path / "b.json").write_text('{"x": 2}')
    return tmp_path


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def bad() -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: bad)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.Tampered("x"), 1),
        (errors.IncompleteLineage("x"), 3),
        (errors.RefusedByPolicy("x"), 5),
        (errors.InfrastructureError("x"), 4),
        (ZeroDivisionError("x"), 4),
        (OSError(28, "No space left on device"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_code_and_no_traceback(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _raising(monkeypatch, error)
    assert cli.run(["check"]) == code
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err
    assert "Traceback" not in found.err


def test_a_bug_has_its_traceback_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    _raising(monkeypatch, ZeroDivisionError("x"))
    monkeypatch.setattr(cli, "harness", cli.harness)
    assert cli._our_bug(ZeroDivisionError("x"), verbose=True) == 4
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("line", [["nonsense"], ["compare"], ["verify", "--reruns", "x", "m"]])
def test_a_wrong_command_line_is_2(line: list[str]) -> None:
    assert cli.run(line) == 2


def test_a_short_commit_is_a_usage_error(two: Path, capsys: pytest.CaptureFixture) -> None:
    line = ["adopt", "models:/M/1", "--repo", ".", "--commit", "abc", "--recipe", "recipe.toml"]
    assert cli.run(line) == 2
    assert "not a full commit id" in capsys.readouterr().err


def test_compare_says_why_nothing_was_compared_and_makes_the_folder_of_its_page(
    two: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("empty").write_bytes(b"")
    assert cli.run(["compare", "empty", "empty"]) == 3
    assert "no value in either" in capsys.readouterr().out
    assert cli.run(["compare", "a.json", "b.json", "--html", "new/page.html"]) == 1
    assert "<html" in Path("new/page.html").read_text()


def test_compare_answers_on_stdout(two: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.run(["compare", "--json", "a.json", "b.json"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "DIFFERENT"
    assert cli.run(["compare", "a.json", "a.json"]) == 0
    assert cli.run(["compare", "a.json", "missing.json"]) == 2


def test_a_reader_that_went_away_is_no_verdict(two: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-c", MAIN, "compare", "a.json", "a.json"]
    ended = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert ended.returncode == 4


def _best(line: list[str]) -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *line], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begun)
    return min(times)


@pytest.mark.parametrize("line", [["--help"], ["verify", "--help"]])
def test_help_comes_within_100_ms_of_a_bare_python(line: list[str]) -> None:
    assert _best(["-c", MAIN, *line]) - _best(["-c", "pass"]) < 0.1


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from harness import cli; cli.run(['verify', '--help']); "
    code += "print(sorted({'harness.app', 'jinja2', 'rich', 'mlflow'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert out.decode().splitlines()[-1] == "[]"


def test_an_annotation_reads_as_it_was_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "o"))
    ci.annotate(ANSWER)
    assert capsys.readouterr().err == "::error title=m/1%3A DIVERGED::a: b, c; 50%25\n"
    assert (tmp_path / "s.md").read_text().startswith("### DIVERGED")
    assert "outcome=DIVERGED\n" in (tmp_path / "o").read_text()


def test_a_summary_that_cannot_be_written_takes_no_verdict_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "s.md"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    ci.annotate(ANSWER)
    assert "no summary for the CI service" in capsys.readouterr().err
