"""The MLflow 3 registry: embedded (SQLite, no server) and through a server, by one adapter."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError, UsageError
from harness.files import walk
from harness.model import Version
from harness.registries import suggest
from harness.registries.base import (
    NewVersion,
    Publication,
    RegistryUnavailable,
    UnknownVersion,
    VersionInfo,
)

ADDED = "registered_model_meta"  # what MLflow itself adds to a downloaded model
MODEL, OUTPUTS, EVIDENCE = "model", "outputs", "harness"
_KEPT = "tags.`harness.kept` = 'true'"
COMPLETE, DIGEST = "harness.complete", "harness.record_digest"
MAX_FILE, MAX_FILES, MAX_TAG = 64 << 20, 1000, 5000
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
_SAFE = re.compile(r"[^A-Za-z0-9_\-. :/]")
# A dead server is told in seconds, not after MLflow's own minutes of retries.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # stdout is the result of a command, and nothing else.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowRegistry:
    """An MLflow registry: `sqlite:///…` (created on first use) or the URL of a server.

    Artifacts of an embedded registry lie below `home/artifacts`, never in the current folder.
    """

    def __init__(self, uri: str, home: Path) -> None:
        self.uri, self._home = uri, home

    @cached_property
    def _client(self) -> Any:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.ERROR)
            with self._answers():
                return mlflow.MlflowClient(self.uri, self.uri)

    @contextmanager
    def _answers(self, what: str = "") -> Iterator[None]:
        """Turn MLflow's errors into ours: unknown things, and a registry that does not answer."""
        from mlflow.exceptions import MlflowException

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield
            except MlflowException as error:
                code = getattr(error, "error_code", "")
                if what and code in _MISSING:
                    hint = suggest.instead(self._client, what)
                    raise UnknownVersion(f"{what}: not in {self.uri}", hint) from None
                if code == "INVALID_PARAMETER_VALUE":
                    text = " ".join(str(error).split())[:300]
                    raise UsageError(
                        f"the registry refuses this: {text}", "correct what it names"
                    ) from None
                raise self._away(error) from error
            except OSError as error:
                raise self._away(error) from error

    def _away(self, error: Exception) -> RegistryUnavailable:
        text = " ".join(str(error).split())[:300]
        return RegistryUnavailable(
            f"the registry {self.uri} does not answer: {text}",
            "start it or correct HARNESS_REGISTRY; `harness sync` publishes what waits here",
        )

    def resolve(self, ref: str) -> Version:
        """Return the version that `models:/N/3`, `models:/N@alias` or `runs:/id` stands for now."""
        client = self._client
        if found := re.fullmatch(r"models:/(.+)@([^/@]+)", ref):
            with self._answers(ref):
                return self._version(client.get_model_version_by_alias(found[1], found[2]))
        if found := re.fullmatch(r"models:/(.+)/([0-9]+)", ref):
            with self._answers(ref):
                return self._version(client.get_model_version(found[1], found[2]))
        if found := re.fullmatch(r"runs:/([A-Za-z0-9]+)(?:/.*)?", ref):
            with self._answers(ref):
                rows = list(client.search_model_versions(f"run_id = '{found[1]}'"))
            if len(rows) == 1:
                return self._version(rows[0])
            raise UnknownVersion(
                f"{ref}: {len(rows)} versions stem from this run", "write models:/Name/3 instead"
            )
        raise UnknownVersion(
            f"{ref!r} names no version",
            "write models:/Name/3, models:/Name@alias or runs:/id (`latest` moves: name a number)",
        )

    def _version(self, row: Any) -> Version:
        return Version(self.uri, row.name, str(row.version))

    def _row(self, version: Version) -> Any:
        with self._answers(version.uri):
            return self._client.get_model_version(version.name, version.number)

    def info(self, version: Version) -> VersionInfo:
        """Return what the registry says of a version."""
        row = self._row(version)
        stage = str(getattr(row, "current_stage", "") or "").replace("None", "")
        tags, aliases = dict(row.tags or {}), tuple(row.aliases or ())
        return VersionInfo(version, tags, aliases, self._recorded(row), stage)

    def _recorded(self, row: Any) -> dict[str, Any]:
        """Return what MLflow noted on its own about the run that a version stems from."""
        if not row.run_id:
            return {}
        with self._answers(f"runs:/{row.run_id}"):
            run = self._client.get_run(row.run_id)
        tags = run.data.tags
        return {
            "run_id": row.run_id,
            "git_commit": tags.get("mlflow.source.git.commit", ""),
            "git_url": tags.get("mlflow.source.git.repoURL", ""),
            # Casing of this tag differs between releases.
            "git_dirty": tags.get("mlflow.source.git.dirty", "").lower() == "true",
            "params": dict(run.data.params),
            "metrics": dict(run.data.metrics),
            "datasets": [
                {"name": i.dataset.name, "digest": i.dataset.digest}
                for i in run.inputs.dataset_inputs
            ],
        }

    def versions(self, name: str) -> tuple[Version, ...]:
        """Return every version of a model, oldest first."""
        with self._answers(name):
            self._client.get_registered_model(name)
            quoted = name.replace("'", "\\'")
            rows = list(self._client.search_model_versions(f"name = '{quoted}'"))
        return tuple(
            sorted((self._version(r) for r in rows), key=lambda version: int(version.number))
        )

    def download(self, version: Version, destination: Path) -> Path:
        """Copy the model directory below `destination` (never the live store); return it."""
        row = self._row(version)
        return self._copy(self._source(row), destination, version.uri)

    def _source(self, row: Any) -> str:
        with self._answers(f"models:/{row.name}/{row.version}"):
            return str(self._client.get_model_version_download_uri(row.name, str(row.version)))

    def download_outputs(self, version: Version, destination: Path) -> Path:
        """Copy the other recorded outputs below `destination`; return the folder, maybe empty."""
        row = self._row(version)
        if not row.run_id or not self._list(row.run_id, OUTPUTS):
            destination.mkdir(parents=True, exist_ok=True)
            return destination
        return self._copy(f"runs:/{row.run_id}/{OUTPUTS}", destination, version.uri)

    def _copy(self, uri: str, destination: Path, what: str) -> Path:
        """Download to a folder of our own first: a partial download leaves nothing behind."""
        from mlflow.artifacts import download_artifacts

        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent) as folder:
            with self._answers(what):
                got = Path(
                    download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=self.uri)
                )
            shutil.rmtree(destination, ignore_errors=True)
            destination.mkdir()
            for path in walk(got):
                if path != ADDED:
                    target = destination / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(got / path, target)
        return destination

    def register(self, new: NewVersion) -> Version:
        """Upload a model and create the next version of it."""
        client = self._client
        with self._answers():
            experiment = self._experiment(new.name)
            run = client.create_run(experiment, run_name=f"record {new.name}")
            run_id = run.info.run_id
            try:
                client.log_artifacts(run_id, str(new.model_dir), MODEL)
                if new.outputs_dir and any(walk(new.outputs_dir)):
                    client.log_artifacts(run_id, str(new.outputs_dir), OUTPUTS)
                self._log(run_id, new.metrics, new.params)
                self._model(new.name)
                row = client.create_model_version(
                    new.name,
                    f"{run.info.artifact_uri}/{MODEL}",
                    run_id,
                    tags=dict(new.tags),
                )
            except BaseException:
                client.set_terminated(run_id, "FAILED")
                raise
            client.set_terminated(run_id)
        return self._version(row)

    def _model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = None
        if self.uri.startswith("sqlite:"):
            folder = self._home / "artifacts" / _SAFE.sub("-", name).replace("/", "-")
            folder.mkdir(parents=True, exist_ok=True)
            place = folder.resolve().as_uri()
        try:
            return str(self._client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(self._client.get_experiment_by_name(name).experiment_id)

    def _log(self, run_id: str, metrics: Mapping[str, float], params: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param

        values = [Metric(_SAFE.sub("_", k)[:250], float(v), 0, 0) for k, v in metrics.items()]
        texts = [Param(_SAFE.sub("_", k)[:250], str(v)[:5000]) for k, v in params.items()]
        for at in range(0, max(len(values), len(texts)), 100):
            part = (values[at : at + 100], texts[at : at + 100])
            self._client.log_batch(run_id, metrics=part[0], params=part[1])

    def put_documents(
        self, version: Version, folder: str, documents: Mapping[str, bytes], tags: Mapping[str, str]
    ) -> None:
        """Store documents outside the model directory under `harness/<folder>/`, then set tags."""
        row = self._row(version)
        if not row.run_id:
            raise InfrastructureError(
                f"{version.uri} stems from no run: there is no place beside its model",
                "register it from a run",
            )
        with self._answers(version.uri):
            self._upload(row.run_id, documents, f"{EVIDENCE}/{folder}/{version.number}")
        self.set_tags(version, dict(tags))

    def _upload(self, run_id: str, documents: Mapping[str, bytes], place: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in documents.items():
                (Path(folder) / name).write_bytes(content)
            self._client.log_artifacts(run_id, folder, place)

    def documents(self, version: Version, folder: str) -> Mapping[str, bytes]:
        """Return the documents of a folder by file name; bounded in size and number."""
        row = self._row(version)
        if not row.run_id:
            return {}
        return self._read(row.run_id, f"{EVIDENCE}/{folder}/{version.number}")

    def _list(self, run_id: str, place: str) -> list[Any]:
        with self._answers():
            return list(self._client.list_artifacts(run_id, place))

    def _read(self, run_id: str, place: str, only: str = "") -> dict[str, bytes]:
        from mlflow.artifacts import download_artifacts

        rows = [r for r in self._list(run_id, place) if not r.is_dir]
        if only:
            rows = [r for r in rows if r.path.rpartition("/")[2] == only]
            place = f"{place}/{only}"
        if not rows:
            return {}
        if len(rows) > MAX_FILES or any((r.file_size or 0) > MAX_FILE for r in rows):
            raise InfrastructureError(f"{place}: more than any evidence of ours", "look at the run")
        with tempfile.TemporaryDirectory() as folder, self._answers():
            got = Path(
                download_artifacts(
                    artifact_uri=f"runs:/{run_id}/{place}",
                    dst_path=folder,
                    tracking_uri=self.uri,
                )
            )
            return {
                p.name: p.read_bytes()
                for p in (sorted(got.iterdir()) if got.is_dir() else [got])
                if p.is_file() and not p.is_symlink() and p.stat().st_size <= MAX_FILE
            }

    def publish(self, publication: Publication) -> str:
        """Write a record back, idempotent by record digest; return the address it got."""
        version, digest = publication.version, publication.record_digest
        with self._answers(version.uri):
            experiment = self._experiment(f"harness/{version.name}")
            run_id, complete = self._verification(experiment, version, digest)
            if not complete:
                self._upload(run_id, publication.documents, EVIDENCE)
                self._log(run_id, publication.metrics, publication.params)
                self._client.set_tag(run_id, COMPLETE, "true")
                self._client.set_terminated(run_id)
        self.set_tags(version, dict.fromkeys(publication.remove))
        tags = {**publication.tags, "harness.verification_run": run_id}
        self.set_tags(version, {**tags, "harness.verdict": publication.verdict[:MAX_TAG]})
        return f"runs:/{run_id}"

    def _verification(self, experiment: str, version: Version, digest: str) -> tuple[str, bool]:
        """Return the run of a record, begun where there is none yet, and whether it is whole."""
        query = f"tags.`{DIGEST}` = '{digest}' and tags.`harness.version` = '{version.number}'"
        rows = self._client.search_runs([experiment], query)
        for row in rows:
            if row.data.tags.get(COMPLETE) == "true":
                return row.info.run_id, True
        if rows:
            return rows[0].info.run_id, False
        tags = {
            DIGEST: digest,
            "harness.model": version.name,
            "harness.version": version.number,
        }
        name = f"verify {version.name}/{version.number}"
        run = self._client.create_run(experiment, tags=tags, run_name=name)
        return run.info.run_id, False

    def records(self, version: Version, only: str = "") -> tuple[Mapping[str, bytes], ...]:
        """Return the documents of every published verification of a version, oldest first."""
        query = f"tags.`harness.version` = '{version.number}' and tags.`{COMPLETE}` = 'true'"
        runs = self._runs(version.name, query)
        return tuple(self._read(run, EVIDENCE, only) for run in runs)

    def _runs(self, name: str, query: str) -> tuple[str, ...]:
        with self._answers():
            experiment = self._client.get_experiment_by_name(f"harness/{name}")
            if experiment is None:
                return ()
            where, token, found = [experiment.experiment_id], None, []
            while True:
                rows = self._client.search_runs(
                    where, query, order_by=["start_time ASC"], page_token=token
                )
                found += [row.info.run_id for row in rows]
                if not (token := rows.token):
                    return tuple(found)

    def keep(self, name: str, documents: Mapping[str, bytes]) -> None:
        """Store documents that belong to a model as a whole, beside those that are there."""
        with self._answers(name):
            runs = self._runs(name, _KEPT)
            if runs:
                run_id = runs[0]
            else:
                run = self._client.create_run(
                    self._experiment(f"harness/{name}"),
                    tags={"harness.kept": "true", "harness.model": name},
                    run_name=f"history of {name}",
                )
                run_id = run.info.run_id
                self._client.set_terminated(run_id)
            self._upload(run_id, documents, EVIDENCE)

    def kept(self, name: str) -> Mapping[str, bytes]:
        """Return the documents that belong to a model as a whole, by file name."""
        # Two first promotions at once may each have begun a run: all of them count.
        return {
            k: v for run in self._runs(name, _KEPT) for k, v in self._read(run, EVIDENCE).items()
        }

    def set_tags(self, version: Version, tags: Mapping[str, str | None]) -> None:
        """Set tags in order; None deletes one."""
        with self._answers(version.uri):
            present = self._client.get_model_version(version.name, version.number).tags
            for key, value in tags.items():
                if value is not None:
                    self._client.set_model_version_tag(
                        version.name, version.number, key, value[:MAX_TAG]
                    )
                elif key in present:
                    self._client.delete_model_version_tag(version.name, version.number, key)

    def set_alias(self, version: Version, alias: str) -> None:
        """Point an alias at a version."""
        with self._answers(version.uri):
            self._client.set_registered_model_alias(version.name, alias, version.number)

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias of a model; absent is fine."""
        with self._answers(name):
            self._client.delete_registered_model_alias(name, alias)
