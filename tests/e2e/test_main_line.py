"""Record, verify, and what a planted change does to the verdict."""

import json
from pathlib import Path

import pytest


def stored(home, name):
    return next((home / "artifacts").glob(f"M/*/artifacts/model/{name}"))


def test_a_recorded_version_is_made_again_bit_for_bit(project, cli, recorded, home):
    made = project()
    first = recorded(made)
    assert (first["uri"], first["sandbox"]) == ("models:/M/1", "bubblewrap")
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"], answer["grade"]) == (0, "REPRODUCED", "BITWISE")
    assert answer["decision"]["meets"]
    assert answer["published"]
    record = answer["record"]
    assert {"schema", "id", "model", "version", "stages", "lineage", "runs"} <= set(record)
    assert [s["name"] for s in record["stages"]][:4] == ["resolve", "intact", "checkout", "rebuild"]
    assert record["runs"][0]["bootstrap"]["pinned"]
    for kind in ("html", "xml", "md", "txt", "json"):
        assert Path(answer["reports"][kind]).stat().st_size > 200
    page = Path(answer["reports"]["html"])
    assert page.with_name("reproduction.intoto.json").is_file(), "the page says it is beside it"
    page.with_name("reproduction.intoto.json").unlink()
    assert cli("report", answer["record_digest"], "--format", "html")[0] == 0
    assert page.with_name("reproduction.intoto.json").is_file()
    _, again, _ = cli("verify", "models:/M/1", "--json")
    assert again["record"]["previous_record_digest"] == answer["record_digest"]
    _, rows, _ = cli("history", "M", "--json")
    assert [r["outcome"] for r in rows["rows"]] == ["REPRODUCED", "REPRODUCED"]


def test_verdicts_are_tags_and_a_run_in_mlflow(project, cli, recorded, home):
    recorded(project())
    cli("verify", "models:/M/1", "--json")
    from harness.registries.mlflow import MlflowRegistry

    client = MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home)._client
    tags = client.get_model_version("M", "1").tags
    assert tags["harness.outcome"] == "REPRODUCED"
    assert json.loads(tags["harness.verdict"])["record_digest"] == tags["harness.record_digest"]
    assert tags["harness.origin"] == "recorded"
    names = {a.path for a in client.list_artifacts(tags["harness.verification_run"], "harness")}
    assert "harness/reproduction.intoto.json" in names
    assert "harness/report.html" in names


def test_one_ulp_in_the_registered_model_is_tampering(project, cli, recorded, home):
    recorded(project())
    path = stored(home, "model.json")
    text = path.read_text()
    digits = text.rindex("]") - 1
    path.write_text(text[:digits] + str((int(text[digits]) + 1) % 10) + text[digits + 1 :])
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (1, "TAMPERED")
    assert "model.json" in answer["record"]["reasons"][0]
    assert [s["name"] for s in answer["record"]["stages"]] == ["resolve", "intact"]


def test_a_file_added_to_the_registered_model_is_tampering(project, cli, recorded, home):
    recorded(project())
    stored(home, "model.json").with_name("extra.bin").write_bytes(b"x")
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (1, "TAMPERED")
    assert "extra.bin" in answer["record"]["reasons"][0]


def test_another_seed_diverges_and_is_conditional(project, cli, recorded):
    recorded(project())
    code, answer, _ = cli("verify", "models:/M/1", "--profile-set", "seed=8", "--json")
    assert (code, answer["outcome"], answer["cause"]) == (1, "DIVERGED", "STABLE")
    assert "seed=8" in answer["record"]["conditional"][0]


def test_a_changed_training_row_is_a_source_that_is_gone(project, cli, recorded, home):
    made = project()
    recorded(made)
    (obj,) = (p for p in made.remote.rglob("*") if p.is_file())
    obj.chmod(0o644)
    obj.write_bytes(obj.read_bytes().replace(b"3.5\n", b"3.6\n", 1))
    for path in sorted((home / "dvc").rglob("*"), reverse=True):
        if path.is_file():
            path.unlink()
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (3, "SOURCE_UNAVAILABLE")
    assert "rows.txt" in answer["record"]["reasons"][0]


UNSEEDED = """
import json, os
open("model.json", "w").write(json.dumps({"weights": list(os.urandom(4))}))
open("metrics.json", "w").write("{}")
"""


def test_entropy_is_flaky_and_stays_so(project, cli, recorded):
    recorded(project(UNSEEDED))
    for _ in range(2):
        code, answer, _ = cli("verify", "models:/M/1", "--json")
        assert (code, answer["outcome"], answer["cause"]) == (1, "DIVERGED", "FLAKY")
    assert len(answer["record"]["runs"]) == 2


def test_what_strict_pins_is_flaky_when_recorded_at_off(project, cli, recorded):
    recorded(project(level="off"))
    code, answer, _ = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"], answer["cause"]) == (1, "DIVERGED", "FLAKY")


def test_an_earlier_difference_stays_when_the_training_matches_later(project, cli, recorded):
    """A coin that nobody pins: sometimes a rerun matches, and that washes nothing away."""
    recorded(project(UNSEEDED.replace("os.urandom(4)", "[os.urandom(1)[0] & 1]")))
    seen = []
    for _ in range(10):
        _, answer, _ = cli("verify", "models:/M/1", "--json")
        seen.append((answer["outcome"], answer["cause"]))
    outcomes, causes = zip(*seen, strict=True)
    assert "DIVERGED" in outcomes
    assert set(outcomes[outcomes.index("DIVERGED") :]) == {"DIVERGED"}
    assert "FLAKY" in causes
    assert set(causes[causes.index("FLAKY") :]) == {"FLAKY"}


@pytest.mark.parametrize("name", ["model.json", "copy/old.json"])
def test_a_model_that_is_copied_from_the_repository_proves_nothing(project, cli, name):
    script = f"import shutil; shutil.copy({name!r}, 'out.json')"
    made = project(
        script,
        files={name: '{"weights": [1.0, 2.0]}'},
        extra='[[output]]\npath = "out.json"\n',
    )
    code, _, err = cli("record", "--model", "M", made.root, "--json")
    assert code in {0, 3}, err
    if code == 0:
        code, answer, _ = cli("verify", "models:/M/1", "--json")
        assert (code, answer["outcome"]) == (3, "INCONCLUSIVE")
        assert "copied input" in answer["record"]["reasons"][0]


def test_a_stale_output_in_the_repository_is_no_result(project, cli):
    made = project("pass", files={"model.json": '{"weights": [1.0]}'})
    code, _, err = cli("record", "--model", "M", made.root)
    assert code == 3
    assert "made no model output" in err


def test_a_script_that_logs_to_mlflow_itself_works_unchanged(project, cli, recorded):
    """A model directory in the private store, as MLflow's file store lays it out."""
    script = """
import os, pathlib
root = pathlib.Path(os.environ["MLFLOW_TRACKING_URI"].removeprefix("file://"))
model = root / "1" / "models" / "m-1" / "artifacts"
model.mkdir(parents=True)
text = "flavors:\\n  x: {version: 3}\\nmodel_uuid: %s\\n"
(model / "MLmodel").write_text(text % os.urandom(4).hex())
(model / "weights.json").write_text("[1.5, 2.5]")
"""
    recorded(project(script, extra=""))
    code, answer, err = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"], answer["grade"]) == (0, "REPRODUCED", "EXACT"), err
    assert any("model_uuid" in reason for reason in answer["record"]["reasons"])
