"""`pytest --harness-verify` on a real registry: a test per check, and only what is wrong fails."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

UNSEEDED = """
import json, os
open("model.json", "w").write(json.dumps({"weights": list(os.urandom(4))}))
open("metrics.json", "w").write("{}")
"""
OWN = """
import sys
def test_light():
    assert "mlflow" not in sys.modules
    assert "harness.app" not in sys.modules
"""


@pytest.fixture
def suite(tmp_path, home):
    """Run pytest in a folder with one test of its own; return exit code, cases and output."""
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "test_own.py").write_text(OWN)
    # A folder of our name must not be taken for us.
    (folder / "harness").mkdir()

    def call(*words):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
        command += ["--junitxml=out.xml", *words]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        cases, written = {}, folder / "out.xml"
        for case in ET.parse(written).getroot().iter("testcase") if written.exists() else ():
            kinds = [c for c in case if c.tag in {"failure", "error", "skipped"}]
            cases[case.get("name")] = (kinds[0].tag, kinds[0].text) if kinds else ("passed", "")
        return done.returncode, cases, done.stdout + done.stderr

    return call


def of(cases, status):
    return {name for name, (found, _) in cases.items() if found == status}


def test_every_check_of_a_good_version_passes(suite, project, recorded):
    recorded(project())
    code, cases, said = suite("--harness-verify", "models:/M/1")
    assert code == 0, said
    assert of(cases, "passed") == set(cases)
    assert {"test_light", "stage.resolve", "stage.intact", "stage.checkout"} < set(cases)
    assert {"model.model.json", "metrics.metrics.json", "policy"} < set(cases)
    assert "harness: " in said


def test_a_planted_difference_fails_its_artifact_and_the_policy_only(suite, project, recorded):
    recorded(project(UNSEEDED))
    code, cases, said = suite("-m", "harness", "--harness-verify", "models:/M/1")
    assert code == 1
    assert of(cases, "failure") == {"model.model.json", "policy"}
    assert of(cases, "error") == set()
    assert "metrics.metrics.json" in of(cases, "passed")
    assert "test_light" not in cases
    assert "values differ" in cases["model.model.json"][1]
    assert "DIVERGED" in cases["policy"][1] or "does not meet" in cases["policy"][1]
    assert "Traceback" not in said


def test_a_tampered_model_fails_where_it_was_found(suite, project, recorded, home):
    recorded(project())
    stored = next((home / "artifacts").glob("M/*/artifacts/model/model.json"))
    stored.write_text(stored.read_text() + " ")
    code, cases, _ = suite("-k", "models", "--harness-verify", "models:/M/1")
    assert code == 1
    assert of(cases, "failure") == {"stage.intact", "policy"}
    assert "model.json" in cases["stage.intact"][1]
    assert {"stage.retrain", "artifacts"} <= of(cases, "skipped")


def test_our_own_fault_is_an_error_and_says_so(suite, project, recorded, home):
    recorded(project())
    (home / "runs").rename(home / "elsewhere")
    (home / "runs").write_text("in the way")
    code, cases, _ = suite("--harness-verify", "models:/M/1")
    assert code == 1
    assert of(cases, "error") == {"verification"}
    assert "exit code 4" in cases["verification"][1]
    (home / "runs").unlink()
    (home / "git").rename(home / "git-elsewhere")
    (home / "git").write_text("in the way")
    code, cases, _ = suite("--harness-verify", "models:/M/1")
    assert code == 1
    assert of(cases, "error") == {"stage.checkout"}
    assert "infrastructure" in cases["stage.checkout"][1]


def test_a_model_that_is_not_there_is_no_pass(suite, home):
    code, cases, _ = suite("--harness-verify", "models:/Nobody@production")
    assert code == 1
    assert of(cases, "error") == {"verification"}
    assert "Nobody" in cases["verification"][1]


def test_looking_runs_nothing_and_workers_are_refused(suite, home):
    _, _, said = suite("--collect-only", "-q", "--harness-verify", "models:/M/1")
    assert "harness::models:/M/1::verification" in said
    assert not (home / "records").exists()
    code, cases, said = suite("-n", "2", "--harness-verify", "models:/M/1")
    assert (code, cases) == (4, {})
    assert "run it without -n" in said


def test_without_the_option_nothing_happens(suite):
    code, cases, _ = suite()
    assert (code, set(cases)) == (0, {"test_light"})
