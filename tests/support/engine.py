"""A real engine with the base image in it, built once from its lock when it is not there yet."""

import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE_ID = (ROOT / "containers/base/image-id").read_text().strip()


TAG = "repro-harness/base:python3.11"


def base_image(cache: Path) -> str:
    """Return the id of the base image; no engine, or no way to build it, is a failure."""
    client = docker.from_env()
    try:
        for reference in (BASE_ID, TAG):
            try:
                return client.api.inspect_image(reference)["Id"]
            except docker.errors.ImageNotFound:
                continue
    finally:
        client.close()
    script = ROOT / "containers/base/build.py"
    command = [sys.executable, str(script), "-o", str(cache / "base.tar"), "--load"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == BASE_ID, "the lock no longer gives the committed image id"
    return BASE_ID


@pytest.fixture(scope="session")
def base_id(tmp_path_factory):
    """Return the id of the base image that the engine has."""
    return base_image(tmp_path_factory.mktemp("base"))
