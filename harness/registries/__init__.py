"""Registries: where versions live. To add one: a file, a row here, a golden test."""

TABLE = {"mlflow": "harness.registries.mlflow:MlflowRegistry"}
GROUP = "harness.registries"
