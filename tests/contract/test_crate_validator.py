"""The crate of a dossier, held against roc-validator, which knows RO-Crate's own rules.

The program runs as it is, in a process of its own, with the profiles RO-Crate 1.1 and Process Run
Crate 0.5 that it carries. It asks the network for the JSON-LD context only; that one is put into
its cache beforehand, from the rocrate package, whose context 1.3 has every term of 1.1.
"""

import io
import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import dossiers

from harness.dossier import crate, rendering
from harness.record import canonical

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
# Who publishes a dossier is not known to it: an author or a publisher would be made up.
UNSTATED = {"ro-crate-1.1_22.2", "ro-crate-1.1_22.3"}


class Carried(BaseAdapter):
    """Answer every request with the context that the rocrate package carries."""

    def send(self, request: PreparedRequest, **_: object) -> Response:
        body = resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
        answer = Response()
        answer.status_code, answer.url, answer.request = 200, str(request.url), request
        answer.headers["Content-Type"] = "application/ld+json"
        answer.raw = HTTPResponse(
            io.BytesIO(body),
            headers=answer.headers,
            status=200,
            preload_content=False,
            request_url=str(request.url),
        )
        return answer

    def close(self) -> None:
        """Have nothing to close."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "http"
    with CachedSession(str(path), backend="sqlite") as session:
        session.mount("https://", Carried())
        session.get(CONTEXT)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a function that writes a sample's dossier, each one once."""
    made = {}

    def write(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            trust = dossiers.trusted(tmp_path_factory.mktemp("trust"))
            value = getattr(dossiers, name)()
            given = {"trust.toml": trust, "dossier.json": canonical(value)}
            given["evidence/records/x/größe 1.txt"] = b"log"
            for path, data in {**given, **rendering.render(value, given)}.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
            made[name] = folder
        return made[name]

    return write


def findings(folder, cache, severity="recommended"):
    """Return the checks of the validator that a crate does not pass."""
    report = folder.parent / f"{folder.name}.json"
    command = f"-y validate {folder} -p process-run-crate-0.5 -l {severity} -f json -o {report}"
    command += f" --offline --cache-path {cache} --no-paging"
    program = Path(sys.executable).with_name("rocrate-validator")
    ended = subprocess.run([program, *command.split()], capture_output=True, check=False)
    assert report.exists(), ended.stdout.decode() + ended.stderr.decode()
    found = json.loads(report.read_text())
    assert (ended.returncode == 0) == found["passed"]
    return {i["check"]["identifier"] for i in found["issues"]}


@pytest.mark.parametrize("sample", ["dossier", "unverified", "bare"])
def test_a_crate_meets_what_must_be_and_what_should_be(sample, written, cache):
    assert findings(written(sample), cache) <= UNSTATED


def test_a_crate_of_hostile_text_still_meets_what_must_be(written, cache):
    assert findings(written("hostile"), cache, "required") == set()


# What is broken, where, and the check that must find it.
BROKEN = {
    "process-run-crate-0.5_1.1": lambda g: g["#training"].pop("instrument"),
    "process-run-crate-0.5_2.1": lambda g: g["./"].pop("conformsTo"),
    "process-run-crate-0.5_8.1": lambda g: g["./"].pop("mentions"),
    "process-run-crate-0.5_8.7": lambda g: g["#verification-0"].update(
        actionStatus="http://schema.org/Maybe"
    ),
    "process-run-crate-0.5_9.0": lambda g: g["#verification-1"].update(error="x"),
    "ro-crate-1.1_3.1": lambda g: g["./"].update(verdict="REPRODUCED"),
    "ro-crate-1.1_8.3": lambda g: g["./"].pop("license"),
    "ro-crate-1.1_8.4": lambda g: g["./"].update(datePublished="yesterday"),
}


def test_the_validator_finds_each_thing_that_is_broken(written, cache, tmp_path):
    """All at once, since each run takes seconds: every check names its own."""
    folder = tmp_path / "broken"
    shutil.copytree(written("dossier"), folder)
    place = folder / crate.NAME
    found = json.loads(place.read_text())
    graph = {e["@id"]: e for e in found["@graph"]}
    for change in BROKEN.values():
        change(graph)
    place.write_text(json.dumps(found))
    (folder / "dossier.json").unlink()
    assert {*BROKEN, "ro-crate-1.1_12.1"} - findings(folder, cache) == set()
