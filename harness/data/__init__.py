"""Data sources. To add one: a file, a row here, a golden test."""

TABLE = {"dvc": "harness.data.dvc:DvcSource"}
GROUP = "harness.data"
