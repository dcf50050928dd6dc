"""Comparators, specific before general. To add one: a file, a row here, a golden test."""

TABLE: dict[str, str] = {}
GROUP = "harness.comparators"
