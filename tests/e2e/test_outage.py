"""A registry that goes away between retrain and publish, and an alias that moves meanwhile."""

import json
import os

from support.commands import start as harness
from support.mlflow_server import free_port, start, stop
from support.projects import SCRIPT


def until(process, line):
    for found in process.stderr:
        if found.startswith(line):
            return


def test_a_registry_that_goes_down_before_publishing_loses_nothing(project, cli, tmp_path):
    port, folder = free_port(), tmp_path / "server"
    folder.mkdir()
    server = start(folder, port)
    try:
        os.environ["HARNESS_REGISTRY"] = f"http://127.0.0.1:{port}"
        made = project("import time; time.sleep(2)\n" + SCRIPT)
        assert cli("record", "--model", "M", made.root)[0] == 0
        process = harness("verify", "models:/M/1", "--json")
        until(process, "… retrain")
        stop(server)
        out, _ = process.communicate(timeout=120)
        answer = json.loads(out)
        assert not answer["published"]
        assert answer["outcome"] in {"REPRODUCED", "ERROR"}
        server = start(folder, port)
        code, done, err = cli("sync", "--json")
        assert (code, len(done["published"])) == (0, 1), err
        assert cli("sync", "--json")[1]["published"] == []
        code, answer, _ = cli("verify", "models:/M/1", "--json")
        assert (code, answer["grade"], answer["published"]) == (0, "BITWISE", True)
    finally:
        os.environ.pop("HARNESS_REGISTRY", None)
        stop(server)


def test_an_alias_that_moves_is_told_and_the_number_is_what_was_verified(
    project, cli, recorded, home
):
    from harness.model import Version
    from harness.registries.mlflow import MlflowRegistry

    made = project("import time; time.sleep(2)\n" + SCRIPT)
    recorded(made)
    recorded(made)
    uri = f"sqlite:///{home / 'mlflow.db'}"
    registry = MlflowRegistry(uri, home)
    registry.set_alias(Version(uri, "M", "1"), "production")
    process = harness("verify", "models:/M@production", "--json")
    until(process, "… retrain")
    registry.set_alias(Version(uri, "M", "2"), "production")
    out, _ = process.communicate(timeout=120)
    answer = json.loads(out)
    assert answer["record"]["version"] == "1"
    assert "moved to models:/M/2" in answer["warnings"][0]
