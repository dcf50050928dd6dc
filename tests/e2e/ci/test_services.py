"""The files under ci/ do what they say: their scripts run here as they stand."""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

CI = Path(__file__).resolve().parents[3] / "ci"
ACTION = yaml.safe_load((CI / "github/action.yml").read_text())
STEPS = ACTION["runs"]["steps"]
GITLAB = yaml.safe_load((CI / "gitlab/harness.gitlab-ci.yml").read_text())
JOB = GITLAB[".harness"]
INPUT = re.compile(r"\$\{\{ inputs\.([a-z-]+) \}\}")
HOSTILE = 'x"; touch pwned; $(touch pwned)`touch pwned`\n::error::forged --help'
CHANGED = """
import json, os
open("model.json", "w").write(json.dumps({"weights": list(os.urandom(4))}))
open("metrics.json", "w").write("{}")
"""


def shell(script, environment, folder):
    """Run a script as the services' runners do: `bash -e -o pipefail` on a file of its own."""
    file = folder / "step.sh"
    file.write_text(script)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(file)]
    environment = {**os.environ, **environment, "PATH": path}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def place(tmp_path, home):
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def action(place):
    """Run the composite action's steps; return the exit code, its outputs, and what was said."""

    def call(**given):
        given = {k.replace("_", "-"): v for k, v in given.items()}
        assert set(given) <= set(ACTION["inputs"])
        inputs = {k: given.get(k, v.get("default", "")) for k, v in ACTION["inputs"].items()}
        files = {n: place / n for n in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        runner = {"GITHUB_ACTIONS": "true", "RUNNER_TEMP": str(place / "temp")}
        runner |= {k: str(v) for k, v in files.items()}
        said, code = "", 0
        for step in STEPS:
            own = {k: INPUT.sub(lambda m: inputs[m[1]], v) for k, v in step["env"].items()}
            done = shell(step["run"], {**runner, **own}, place)
            said, code = said + done.stdout + done.stderr, done.returncode
            if code:
                break
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        return code, outputs, said, files["GITHUB_STEP_SUMMARY"].read_text()

    return call


@pytest.fixture
def job(place):
    """Run the GitLab job's scripts with its own variables and some more."""

    def call(name=".harness", **given):
        script = "\n".join([*JOB["before_script"], *JOB["script"]])
        variables = {k: str(v) for k, v in JOB["variables"].items()}
        installed = {"HARNESS_VERSION": "installed"}
        return shell(script, {**variables, **installed, **given}, place)

    return call


def annotations(said, kind="error"):
    return [line for line in said.splitlines() if line.startswith(f"::{kind}")]


def test_no_input_is_text_of_a_script():
    for step in STEPS:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"
    used = {n for s in STEPS for v in s["env"].values() for n in INPUT.findall(v)}
    assert used == set(ACTION["inputs"])
    identifiers = {s["id"] for s in STEPS if "id" in s}
    for output in ACTION["outputs"].values():
        assert re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.[a-z-]+ \}\}", output["value"])[1] in (
            identifiers
        )
    assert not any("uses" in s for s in STEPS), "nothing is uploaded or fetched by us"


def test_every_script_parses():
    scripts = [s["run"] for s in STEPS] + JOB["before_script"] + JOB["script"]
    for script in scripts:
        for program in ("bash", "sh"):
            if program == "sh" and "<<<" in script:
                continue
            done = subprocess.run([program, "-n"], input=script, text=True, capture_output=True)
            assert (done.returncode, done.stderr) == (0, "")


def test_a_good_version_has_outputs_and_no_annotation(action, project, recorded):
    recorded(project())
    code, outputs, said, summary = action(model="models:/M/1", version="installed")
    assert code == 0, said
    assert (outputs["exit-code"], outputs["outcome"]) == ("0", "REPRODUCED")
    assert re.fullmatch("[0-9a-f]{64}", outputs["record-digest"])
    assert Path(outputs["report"]).stat().st_size > 1000
    assert Path(outputs["report"]).is_relative_to(outputs["reports"])
    assert ET.parse(Path(outputs["reports"]) / "harness.junit.xml").getroot().get("failures") == "0"
    assert summary.startswith("### REPRODUCED")
    assert annotations(said) == []
    gate = {"command": "gate", "model": "models:/M/1", "version": "installed"}
    code, outputs, said, _ = action(**gate, to="Staging")
    assert (code, outputs["exit-code"], outputs["outcome"]) == (0, "0", "REPRODUCED"), said


def test_a_difference_is_one_annotation_and_exit_code_1(action, project, recorded):
    recorded(project(CHANGED))
    code, outputs, said, summary = action(model="models:/M/1", version="installed")
    assert (code, outputs["exit-code"], outputs["outcome"]) == (1, "1", "DIVERGED")
    (line,) = annotations(said)
    assert "M/1%3A DIVERGED" in line
    assert summary.startswith("### DIVERGED")
    suite = ET.parse(Path(outputs["reports"]) / "harness.junit.xml").getroot()
    failing = {c.get("name") for c in suite.iter("testcase") if c.find("failure") is not None}
    assert failing == {"model.model.json", "policy"}


def test_a_gate_is_shut_without_evidence_and_verifies_when_asked(action, project, recorded):
    recorded(project())
    gate = {"command": "gate", "model": "models:/M/1", "to": "Staging", "version": "installed"}
    code, outputs, said, summary = action(**gate)
    assert (code, outputs["exit-code"]) == (5, "5")
    (line,) = annotations(said)
    assert "no-evidence" in line
    assert "SHUT" in summary
    code, outputs, said, _ = action(**gate, verify="true")
    assert (code, outputs["exit-code"], outputs["outcome"]) == (0, "0", "REPRODUCED"), said


def test_waivers_are_asked_for_one_a_line(action, project, recorded):
    """The embedded key may not waive: the refusal shows that the words arrived as they were."""
    recorded(project())
    gate = {"command": "gate", "model": "models:/M/1", "to": "Staging", "version": "installed"}
    code, outputs, said, _ = action(**gate, allow="\nverifiers\n", reason="ticket 7")
    assert (code, outputs["exit-code"]) == (5, "5")
    assert "approver" in annotations(said)[0]
    code, _, said, _ = action(**gate, allow="verifiers")
    assert code == 2
    assert "needs a reason" in annotations(said)[0]


@pytest.mark.parametrize(
    "given",
    [
        {"model": HOSTILE},
        {"model": "models:/M/1", "command": HOSTILE},
        {"model": "models:/M/1", "command": "gate", "to": HOSTILE},
        {"model": "models:/M/1", "version": HOSTILE},
        {"model": "models:/M/1", "policy": HOSTILE},
        {"model": "--help"},
        {"model": "models:/M/1", "command": "--version"},
        {"model": "models:/M/1", "output_dir": "a\nexit-code=0\r\noutcome=REPRODUCED"},
        {"model": ""},
    ],
)
def test_hostile_inputs_run_nothing_and_pass_nothing(action, place, given):
    code, outputs, said, _ = action(**{"version": "installed", **given})
    assert code not in {0, 127}
    assert outputs.get("exit-code", str(code)) == str(code)
    assert "outcome" not in outputs
    assert not list(place.rglob("pwned"))
    assert "Usage: harness verify [OPTIONS] MODEL\n\n" not in said
    assert len(annotations(said)) == 1


def test_the_action_asks_pip_for_the_version_that_was_named(place):
    """pip itself is replaced: what counts is what it is asked for."""
    (place / "python").write_text('#!/bin/sh\necho "$@"\n')
    (place / "python").chmod(0o755)
    script = f'PATH="{place}:$PATH"\n' + STEPS[0]["run"]
    for version, asked in (("", "repro-harness"), ("0.1.0", "repro-harness==0.1.0")):
        done = shell(script, {"INPUT_VERSION": version}, place)
        assert done.stdout.split()[-1] == asked


def test_a_repository_is_checked_without_a_registry(action, project):
    made = project()
    check = {"command": "check", "model": str(made.root), "version": "installed"}
    assert action(**check)[0] == 0
    made.write("notes.txt", "x")
    code, _, said, _ = action(**check)
    assert code == 3
    assert "not committed" in annotations(said)[0]


def test_the_gitlab_job_ends_with_the_exit_code_and_leaves_junit(job, place, project, recorded):
    recorded(project())
    done = job(HARNESS_COMMAND="gate", HARNESS_MODEL="models:/M/1", HARNESS_TO="Staging")
    assert done.returncode == 5, done.stderr
    junit = place / JOB["artifacts"]["reports"]["junit"]
    assert ET.parse(junit).getroot().get("failures") != "0"
    more = {"HARNESS_VERIFY_FIRST": "true", "HARNESS_TO": "Staging"}
    done = job(HARNESS_COMMAND="gate", HARNESS_MODEL="models:/M/1", **more)
    assert done.returncode == 0, done.stderr
    assert ET.parse(junit).getroot().get("failures") == "0"
    assert list((place / "harness-reports").glob("*/report.html"))
    (kept,) = JOB["artifacts"]["paths"]
    assert (place / kept).is_dir()


def test_the_gitlab_job_takes_no_variable_for_a_script(job, place):
    for given in (
        {"HARNESS_MODEL": HOSTILE},
        {"HARNESS_MODEL": "models:/M/1", "HARNESS_COMMAND": HOSTILE},
        {"HARNESS_MODEL": "models:/M/1", "HARNESS_COMMAND": "gate", "HARNESS_ALLOW": HOSTILE},
    ):
        assert job(**given).returncode not in {0, 127}
    assert not list(place.rglob("pwned"))


def test_only_what_could_not_be_verified_may_be_allowed_to_fail():
    assert "allow_failure" not in JOB
    warns = GITLAB[".harness-inconclusive-warns"]
    assert warns["extends"] == ".harness"
    assert warns["allow_failure"] == {"exit_codes": [3]}
    assert JOB["artifacts"]["when"] == "always"
    assert JOB["artifacts"]["expose_as"]


def test_the_job_runs_in_a_plain_posix_shell(place):
    if shell_path := shutil.which("dash"):
        done = subprocess.run([shell_path, "-n"], input=JOB["script"][0], text=True, check=False)
        assert done.returncode == 0
    assert "[[" not in JOB["script"][0]
    assert "<<<" not in JOB["script"][0]
