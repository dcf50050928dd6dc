"""Runtimes, preferred first. To add one: a file, a row here, a golden test."""

TABLE = {
    "docker": "harness.runtimes.docker:DockerRuntime",
    "venv": "harness.runtimes.venv:VenvRuntime",
}
GROUP = "harness.runtimes"
