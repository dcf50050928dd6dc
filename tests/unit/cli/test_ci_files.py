"""A CI service is told the verdict once, in its own words, and nothing can be forged into it."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.cli import ci, run
from harness.errors import SourceUnavailable

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unit.reporters import samples

EVIL = "x\n::error::forged\r\noutcome=REPRODUCED%0A"


@pytest.fixture
def service(tmp_path, monkeypatch):
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "HARNESS_JUNIT"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    return tmp_path


def verified(**more):
    record = samples.record(reasons=[EVIL], **more)
    answer = {"record": record, "decision": samples.REFUSED, "exit_code": 1}
    reports = {"html": "/r/report.html"}
    return {**answer, "outcome": "DIVERGED", "record_digest": "a" * 64, "reports": reports}


GATE = {"model": "M", "version": "1", "to": "Production", "stage": "Staging", "meets": False}
GATE |= {"exit_code": 5, "findings": [{"code": "approvals", "detail": EVIL, "waived": ""}]}
OPEN = {**GATE, "meets": True, "exit_code": 0}
OPEN["findings"] = [{"code": "stale", "detail": "34 d", "waived": "b" * 64}]
CHECK = {"model": "M", "version": "1", "ok": False, "exit_code": 3}
CHECK |= {"gaps": [{"what": "commit", "detail": EVIL, "fix": "push"}]}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(verified(), "error"), (GATE, "error"), (CHECK, "error"), (OPEN, "warning")],
)
def test_one_annotation_and_all_files(service, capsys, answer, kind):
    ci.annotate(answer)
    out = capsys.readouterr()
    assert out.out == ""
    (line,) = out.err.splitlines()
    assert line.startswith(f"::{kind} title=")
    title = line.split("::")[1].removeprefix(f"{kind} title=")
    assert ":" not in title
    assert "," not in title
    assert (service / "GITHUB_STEP_SUMMARY").read_text().startswith("### ")
    outputs = (service / "GITHUB_OUTPUT").read_text().splitlines()
    assert [o.partition("=")[0] for o in outputs] == ["outcome", "record-digest", "report"]
    suite = ET.parse(service / "HARNESS_JUNIT").getroot()
    failing = int(suite.get("failures")) + int(suite.get("errors"))
    assert (failing > 0) is (kind == "error")


def test_a_good_answer_makes_no_annotation(service, capsys):
    good = {**verified(), "record": samples.reproduced(), "decision": samples.MEETS}
    ci.annotate({**good, "outcome": "REPRODUCED", "exit_code": 0})
    ci.annotate({**OPEN, "findings": []})
    assert capsys.readouterr().err == ""
    assert "report=/r/report.html" in (service / "GITHUB_OUTPUT").read_text()


def test_no_output_can_be_forged(service, capsys):
    ci.annotate({**verified(), "outcome": EVIL, "reports": {"html": EVIL}})
    outputs = (service / "GITHUB_OUTPUT").read_text()
    assert len(outputs.splitlines()) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_end_without_a_verdict_is_annotated_too(service, capsys, monkeypatch):
    from harness import cli

    def fail(*_, **__):
        raise SourceUnavailable(f"gone: {EVIL}", hint="restore it")

    monkeypatch.setattr(cli.harness, "main", fail)
    assert run(["verify", "models:/M/1"]) == 3
    said = [x for x in capsys.readouterr().err.splitlines() if x.startswith("::error title=")]
    assert len(said) == 1
    assert "exit code 3" in said[0]
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert run(["verify", "models:/M/1"]) == 3
    assert "::error title=" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["nosuch"], ["gate", "models:/M/1"], ["verify", "m", "--x"]])
def test_wrong_words_are_annotated_too(service, capsys, words):
    assert run(words) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("::")]
    assert line.startswith("::error title=harness%3A exit code 2")
    assert "no verdict" in (service / "GITHUB_STEP_SUMMARY").read_text()
    assert ET.parse(service / "HARNESS_JUNIT").getroot().get("errors") == "1"


def test_an_earlier_verdict_is_not_left_for_a_later_run(service):
    good = {**verified(), "record": samples.reproduced(), "decision": samples.MEETS}
    ci.annotate({**good, "outcome": "REPRODUCED", "exit_code": 0})
    ci.failed("the registry is gone", 4)
    suite = ET.parse(service / "HARNESS_JUNIT").getroot()
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
    ci.failed(EVIL, 4)
    assert ET.parse(service / "HARNESS_JUNIT").getroot().get("errors") == "1"


def test_a_bug_of_ours_is_annotated_as_no_verdict(service, capsys, monkeypatch):
    from harness import cli

    for error in (RuntimeError("bug"), OSError(28, "No space left on device")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(cli.harness, "main", fail)
        assert run(["verify", "m"]) == 4
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("::")]
        assert line.startswith("::error title=harness%3A exit code 4%2C no verdict")
        assert "\N{REPLACEMENT CHARACTER}" not in line


def test_a_file_that_cannot_be_written_takes_no_verdict_away(service, capsys, monkeypatch):
    monkeypatch.setenv("HARNESS_JUNIT", str(service))
    ci.annotate(GATE)
    assert "no summary for the CI service" in capsys.readouterr().err


def test_nothing_is_written_where_nobody_asks(tmp_path, capsys, monkeypatch):
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "HARNESS_JUNIT", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    ci.annotate(verified())
    assert capsys.readouterr().err == ""
    assert json.dumps(verified())
