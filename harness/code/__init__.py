"""Code sources. To add one: a file, a row here, a golden test."""

TABLE = {"git": "harness.code.git:GitSource"}
GROUP = "harness.code"
