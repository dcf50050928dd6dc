"""For each bad input one clear error or outcome, the right exit code, and nothing half-written."""

import os
import shutil
import signal
import time

import pytest
from support.commands import start
from support.projects import OUTPUTS, SCRIPT

SHELL = 'schema = 1\nname = "x"\n[train]\ncommand = "a b"'
WRONG = f"numpy==2.4.6 --hash=sha256:{'0' * 64}\n"


def no_version(cli):
    code, _, err = cli("history", "M", "--json")
    assert code == 2
    assert "not in" in err
    return True


@pytest.mark.parametrize(
    "ref", ["models:/Nobody/1", "models:/M/99", "models:/M@none", "models:/M/latest", "junk"]
)
def test_an_unknown_version_is_a_usage_error(project, cli, recorded, ref):
    if ref.startswith("models:/M"):
        recorded(project())
    code, _, err = cli("verify", ref)
    assert code == 2
    assert ref.removeprefix("models:/")[:4] in err
    assert "next:" in err


def test_a_dirty_tree_is_refused_and_named(project, cli):
    made = project()
    made.write("train.py", SCRIPT + "\n# edited\n")
    made.write("notes.txt", "x")
    code, _, err = cli("record", "--model", "M", made.root)
    assert code == 3
    assert "train.py" in err
    assert "notes.txt" in err
    assert no_version(cli)


def test_a_failing_training_is_refused_with_its_own_last_lines(project, cli):
    made = project("print('loading'); raise SystemExit('no such column: age')")
    code, _, err = cli("record", "--model", "M", made.root)
    assert code == 3
    assert "no such column: age" in err
    assert "exit status 1" in err
    assert no_version(cli)


def test_each_refusal_to_record_says_what_to_do(project, cli):
    made = project("pass")
    assert "against [[output]] path: model.json" in cli("record", "--model", "M", made.root)[2]
    recipe = made.root / "recipe.toml"
    made.write("recipe.toml", recipe.read_text().split("[[output]]")[0])
    made.commit("nothing is said to come out")
    assert 'role = "model"' in cli("record", "--model", "M", made.root)[2]
    config = made.root / ".dvc" / "config"
    made.write(
        ".dvc/config", "\n".join(x for x in config.read_text().splitlines() if "remote" not in x)
    )
    made.commit("no remote")
    code, _, err = cli("record", "--model", "M", made.root)
    assert (code, "next: dvc remote add" in err) == (3, True), err


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("pass", "made no model output"),
        ("import os; os.symlink('/etc/passwd', 'model.json')", "not a regular file"),
        ("import time; time.sleep(60)", "timeout"),
        ("f = open('model.json', 'wb')\nwhile True: f.write(b'0' * (1 << 20))", "output_size"),
        ("import socket; socket.create_connection(('127.0.0.1', 80), 2)", "Error"),
        ("import os\nwhile True: os.fork()", "processes"),
        ("x = bytearray(3 << 30)", "memory"),
    ],
    ids=["nothing", "link", "hang", "flood", "network", "fork bomb", "memory"],
)
def test_what_a_hostile_training_does_ends_the_recording(project, cli, script, said):
    made = project(script, timeout="5s" if said == "timeout" else "50s")
    begun = time.monotonic()
    code, _, err = cli("record", "--model", "M", made.root)
    assert time.monotonic() - begun < 100
    assert code == 3, err
    assert said in err
    assert no_version(cli)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: (p.root / "recipe.toml").unlink(), "recipe.toml"),
        (lambda p: p.write("recipe.toml", "schema = ["), "not TOML"),
        (
            lambda p: p.write("recipe.toml", 'schema = 1\nname = "x"\n[train]\ncommand = "a b"'),
            "shell",
        ),
        (lambda p: p.write("requirements.lock", "numpy==2.4.6\n"), "sha256"),
        (lambda p: p.write("requirements.lock", "--index-url http://x\n"), "index"),
        (lambda p: (p.root / "requirements.lock").unlink(), "lock"),
        (
            lambda p: p.write("requirements.lock", f"numpy==2.4.6 --hash=sha256:{'0' * 64}\n"),
            "numpy",
        ),
    ],
    ids=["no recipe", "not toml", "shell", "no hashes", "index", "no lock", "wrong hash"],
)
def test_a_repository_that_cannot_be_recorded(project, cli, change, said):
    made = project()
    change(made)
    made.commit()
    code, _, err = cli("record", "--model", "M", made.root)
    assert code in {2, 3}
    assert said in err
    assert no_version(cli)


def test_a_commit_that_was_force_pushed_away(project, cli, recorded, home):
    made = project()
    recorded(made)
    made.write("train.py", SCRIPT + "\n# amended\n")
    made.git("add", "-A")
    made.git("commit", "-q", "--amend", "-m", "another")
    made.git("reflog", "expire", "--expire=now", "--all")
    made.git("gc", "-q", "--prune=now")
    code, answer, _ = cli("check", "models:/M/1", "--json")
    assert code == 3
    assert "commit" in answer["gaps"][0]["what"]
    shutil.rmtree(home / "git")
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (3, "SOURCE_UNAVAILABLE")


def test_a_repository_that_moved(project, cli, recorded, home):
    made = project()
    recorded(made)
    made.root.rename(made.root.with_name("elsewhere"))
    shutil.rmtree(home / "git")
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (3, "SOURCE_UNAVAILABLE")
    assert answer["published"]


def test_a_missing_data_object_is_found_by_check_and_by_verify(project, cli, recorded, home):
    made = project()
    recorded(made)
    assert cli("check", "models:/M/1")[0] == 0
    shutil.rmtree(made.remote)
    code, answer, _ = cli("check", "models:/M/1", "--json")
    assert code == 3
    assert answer["gaps"]
    shutil.rmtree(home / "dvc")
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (3, "SOURCE_UNAVAILABLE")


def test_a_version_without_lineage_is_incomplete(cli, home, tmp_path):
    from harness.registries.base import NewVersion
    from harness.registries.mlflow import MlflowRegistry

    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "w.bin").write_bytes(b"w")
    registry = MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home)
    registry.register(NewVersion("M", tmp_path / "m", None, {}, {}, {}))
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (3, "INCOMPLETE_LINEAGE")


def lineage_file(home):
    return next((home / "artifacts").glob("M/*/artifacts/harness/lineage/1/lineage.intoto.json"))


def test_a_forged_lineage_is_tampering_and_an_unknown_signer_is_incomplete(
    project, cli, recorded, home
):
    recorded(project())
    path = lineage_file(home)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"sig":"', b'"sig":"AAAA', 1))
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (1, "TAMPERED")
    path.write_bytes(content)
    (home / "trust.toml").unlink()
    (home / "keys" / "local.pem").unlink()
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (3, "INCOMPLETE_LINEAGE")


def test_a_tag_that_disagrees_with_the_statement_is_tampering(project, cli, recorded, home):
    from harness.model import Version
    from harness.registries.mlflow import MlflowRegistry

    recorded(project())
    uri = f"sqlite:///{home / 'mlflow.db'}"
    MlflowRegistry(uri, home).set_tags(Version(uri, "M", "1"), {"harness.lineage_digest": "0" * 64})
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (1, "TAMPERED")


def test_a_registry_that_is_down_is_an_error_to_try_again(cli):
    begun = time.monotonic()
    code, _, err = cli("verify", "models:/M/1", "--registry", "http://127.0.0.1:9")
    assert code == 4
    assert "does not answer" in err
    assert time.monotonic() - begun < 30


def test_only_metrics_and_infinite_tolerances_are_refused(project, cli):
    made = project(extra='[[output]]\npath = "metrics.json"\nrole = "metrics"\n')
    code, _, err = cli("record", "--model", "M", made.root)
    assert code == 3
    assert "no model output" in err
    made.extra = OUTPUTS + 'tolerance = { rtol = inf, rationale = "x" }\n'
    made.recipe()
    made.commit()
    code, _, err = cli("record", "--model", "M", made.root)
    assert code == 2
    assert "finite" in err


def test_a_pipeline_whose_model_is_a_tracked_output_is_trained(project, cli, recorded):
    made = project()
    made.write(
        "dvc.yaml",
        "stages:\n  train:\n    cmd: python train.py\n    deps: [data/rows.txt, train.py]\n"
        "    outs: [model.json]\n    metrics: [{metrics.json: {cache: false}}]\n",
    )
    made.write("metrics.json", "{}")
    text = (made.root / "recipe.toml").read_text()
    made.write(
        "recipe.toml", text.replace('command = ["python", "train.py"]', 'stages = ["train"]')
    )
    made.commit()
    recorded(made)
    code, answer, err = cli("verify", "models:/M/1", "--json")
    assert (code, answer["grade"]) == (0, "BITWISE"), err


@pytest.mark.parametrize("stage", ["resolve", "checkout", "retrain", "compare", "publish"])
def test_killed_in_any_stage_there_is_no_verdict_or_a_whole_one(project, cli, recorded, stage):
    slow = "import time; time.sleep(1)\n" + SCRIPT
    recorded(project(slow))
    process = start("verify", "models:/M/1", "--json")
    for line in process.stderr:
        if line.startswith(f"… {stage}"):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    _, rows, _ = cli("history", "M", "--json")
    assert all(r["outcome"] == "REPRODUCED" for r in rows["rows"])
    code, _, err = cli("sync", "--json")
    assert code == 0, err
    code, answer, err = cli("verify", "models:/M/1", "--json")
    assert (code, answer["grade"]) == (0, "BITWISE"), err


def test_a_finished_retrain_is_not_done_twice(project, cli, recorded, home):
    slow = "import time; time.sleep(1)\n" + SCRIPT
    recorded(project(slow))
    _, answer, _ = cli("verify", "models:/M/1", "--json")
    name = answer["record"]["id"]
    _, again, _ = cli("verify", "models:/M/1", "--resume", name, "--json")
    times = {s["name"]: s["seconds"] for s in again["record"]["stages"]}
    assert again["grade"] == "BITWISE"
    assert times["retrain"] < 0.5
    output = home / "runs" / name / "run-1" / "model" / "model.json"
    output.write_text("{}")
    _, third, _ = cli("verify", "models:/M/1", "--resume", name, "--json")
    times = {s["name"]: s["seconds"] for s in third["record"]["stages"]}
    assert times["retrain"] > 0.9
    assert third["grade"] == "BITWISE"


def test_two_verifications_at_once_wait_for_each_other_and_chain(project, cli, recorded):
    recorded(project())
    both = [start("verify", "models:/M/1", "--json") for _ in range(2)]
    assert [p.wait(120) for p in both] == [0, 0], [p.stderr.read() for p in both]
    for p in both:
        p.communicate()
    _, rows, _ = cli("history", "M", "--json")
    assert len(rows["rows"]) == 2


def test_interrupted_is_130(project, recorded):
    recorded(project("import time; time.sleep(1)\n" + SCRIPT))
    process = start("verify", "models:/M/1")
    for line in process.stderr:
        if line.startswith("… retrain"):
            break
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
