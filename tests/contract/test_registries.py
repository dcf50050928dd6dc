"""The same cases over every registry: MLflow embedded, and MLflow through a real server."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.mlflow_server import mlflow_url  # noqa: F401

from harness.errors import UsageError
from harness.files import walk
from harness.registries.base import NewVersion, Publication, RegistryUnavailable, UnknownVersion
from harness.registries.mlflow import MlflowRegistry

FILES = {"MLmodel": b"flavors: {x: {}}\nrun_id: none\n", "data/weights.bin": bytes(range(256))}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    home = tmp_path_factory.mktemp("embedded")
    return MlflowRegistry(f"sqlite:///{home / 'mlflow.db'}", home)


@pytest.fixture(scope="module")
def served(request, tmp_path_factory):
    url = request.getfixturevalue("mlflow_url")
    return MlflowRegistry(url, tmp_path_factory.mktemp("served"))


@pytest.fixture(params=["embedded", "served"])
def registry(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def version(registry, tmp_path, request):
    model, outputs = tmp_path / "model", tmp_path / "outputs"
    for name, content in FILES.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(content)
    outputs.mkdir()
    (outputs / "metrics.json").write_text('{"auc": 0.7}')
    name = re.sub(r"[^a-z]+", "-", request.node.name)
    return registry.register(
        NewVersion(name, model, outputs, {"auc": 0.7}, {"lr": "0.1"}, {"team": "risk"})
    )


def publication(version, digest="a" * 64, **changes):
    values = {
        "documents": {"record.json": b"{}", "reproduction.intoto.json": b"{}"},
        "metrics": {"model.bin/rel_l2": 0.5},
        "params": {"outcome": "DIVERGED"},
        "remove": ("harness.grade",),
        "tags": {"harness.outcome": "DIVERGED"},
        "verdict": '{"outcome":"DIVERGED"}',
    }
    return Publication(version, digest, **{**values, **changes})


def test_what_is_registered_comes_back_byte_for_byte(registry, version, tmp_path):
    got = registry.download(version, tmp_path / "got")
    assert {p: (got / p).read_bytes() for p in walk(got)} == FILES
    other = registry.download_outputs(version, tmp_path / "other")
    assert [*walk(other)] == ["metrics.json"]
    (got / "MLmodel").write_text("changed")
    again = registry.download(version, tmp_path / "again")
    assert (again / "MLmodel").read_bytes() == FILES["MLmodel"]


def test_numbers_aliases_and_runs_resolve(registry, version):
    registry.set_alias(version, "production")
    run = registry.info(version).recorded["run_id"]
    for ref in (version.uri, f"models:/{version.name}@production", f"runs:/{run}"):
        assert registry.resolve(ref) == version
    assert registry.info(version).aliases == ("production",)
    registry.delete_alias(version.name, "production")
    with pytest.raises(UnknownVersion):
        registry.resolve(f"models:/{version.name}@production")
    assert registry.versions(version.name) == (version,)


@pytest.mark.parametrize("ref", ["models:/{0}/99", "models:/{0}@none", "models:/{0}/latest"])
def test_what_is_not_there_is_unknown(registry, version, ref):
    with pytest.raises(UnknownVersion) as caught:
        registry.resolve(ref.format(version.name))
    assert caught.value.exit_code == 2
    assert caught.value.hint
    if ref != "models:/{0}/latest":
        assert caught.value.hint == f"{version.name} has version 1"


def test_a_model_that_is_not_there_is_told_which_are(registry, version):
    for ask in (registry.versions, lambda name: registry.resolve(f"models:/{name}/1")):
        with pytest.raises(UnknownVersion) as caught:
            ask("no-such'model")
        assert "it has " in caught.value.hint


def test_a_name_that_the_registry_refuses_is_a_usage_error(registry, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "w").write_bytes(b"w")
    with pytest.raises(UsageError, match="refuses"):
        registry.register(NewVersion("a/b:c", tmp_path / "m", None, {}, {}, {}))


def test_documents_lie_beside_the_model_and_tags_follow(registry, version, tmp_path):
    documents = {"lineage.intoto.json": b"\x00signed"}
    registry.put_documents(version, "lineage", documents, {"harness.lineage_digest": "d"})
    assert registry.documents(version, "lineage") == documents
    assert registry.documents(version, "other") == {}
    assert registry.info(version).tags["harness.lineage_digest"] == "d"
    assert {*walk(registry.download(version, tmp_path / "got"))} == set(FILES)


def test_publishing_twice_is_publishing_once(registry, version):
    registry.set_tags(version, {"harness.grade": "BITWISE"})
    first = registry.publish(publication(version))
    assert registry.publish(publication(version)) == first
    assert registry.publish(publication(version, "b" * 64)) != first
    records = registry.records(version)
    assert [set(r) for r in records] == [{"record.json", "reproduction.intoto.json"}] * 2
    tags = registry.info(version).tags
    assert "harness.grade" not in tags
    assert tags["harness.verdict"] == '{"outcome":"DIVERGED"}'


def test_a_half_published_record_is_no_record_and_is_finished_later(registry, version, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry, "_log", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.publish(publication(version))
    assert registry.records(version) == ()
    assert "harness.verdict" not in registry.info(version).tags
    registry.publish(publication(version))
    assert len(registry.records(version)) == 1


def test_a_registry_that_is_away_is_told_in_seconds(tmp_path):
    begun = time.monotonic()
    with pytest.raises(RegistryUnavailable) as caught:
        MlflowRegistry("http://127.0.0.1:9", tmp_path).resolve("models:/M/1")
    assert caught.value.exit_code == 4
    assert time.monotonic() - begun < 20


LOG = """
import sys, mlflow, numpy as np
from sklearn.linear_model import LogisticRegression
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(sys.argv[2])
x = np.arange(40.0).reshape(20, 2)
model = LogisticRegression().fit(x, np.arange(20) > 9)
with mlflow.start_run():
    mlflow.log_param("c", 1)
    mlflow.sklearn.log_model(model, name="model", registered_model_name=sys.argv[2])
"""


def test_a_version_that_a_user_logged_the_usual_way(registry, tmp_path, request):
    name = request.node.callspec.id + "-usual"
    done = subprocess.run(
        [sys.executable, "-c", LOG, registry.uri, name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    version = registry.resolve(f"models:/{name}/1")
    got = {*walk(registry.download(version, tmp_path / "got"))}
    assert {"MLmodel", "requirements.txt"} <= got
    assert "registered_model_meta" not in got
    assert registry.info(version).recorded["params"] == {"c": "1"}
    registry.put_documents(version, "lineage", {"l.json": b"x"}, {})
    assert registry.documents(version, "lineage") == {"l.json": b"x"}
