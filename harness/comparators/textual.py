"""JSON, YAML and TOML by key with tolerances, MLflow's MLmodel by field, other text by line."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, contents
from harness.comparators.tensor import numbers

DEPTH = 200


def prepared(value: Any, depth: int = 0) -> Any:
    """Return a parsed document with its number lists as tensors.

    Raises: CannotCompare when it is nested too deeply.
    """
    if depth > DEPTH:
        raise CannotCompare(f"nested deeper than {DEPTH} levels")
    if isinstance(value, Mapping):
        return {str(k): prepared(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        found = numbers(value)
        return [prepared(v, depth + 1) for v in value] if found is value else found
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _text(path: Path, context: Context) -> str:
    return contents(path, context.bounds.text).decode("utf-8")


class JsonComparator(DocumentComparator):
    """JSON: numbers by tolerance, keys in any order."""

    id = "json"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it begins as JSON does."""
        return sniff.head.lstrip()[:1] in {b"{", b"["} or sniff.path.suffix == ".json"

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        return Document(prepared(json.loads(_text(path, context))))


class TomlComparator(DocumentComparator):
    """TOML."""

    id = "toml"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named as TOML."""
        return sniff.path.suffix == ".toml"

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        return Document(prepared(tomllib.loads(_text(path, context))))


class YamlComparator(DocumentComparator):
    """YAML, without tags or aliases of its own making."""

    id = "yaml"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named as YAML."""
        return sniff.path.suffix in {".yaml", ".yml"}

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        return Document(prepared(parse_yaml(_text(path, context))))


def parse_yaml(text: str) -> Any:
    """Return a YAML document; anchors are refused, since they expand without end."""
    import yaml

    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise CannotCompare("YAML with aliases")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CannotCompare(f"not YAML: {str(error)[:200]}") from None


class MlmodelComparator(DocumentComparator):
    """MLflow's MLmodel: what a run adds to it is set aside, signature and flavors are compared."""

    id = "mlmodel"
    version = 1
    ASIDE = {  # noqa: RUF012
        "model_uuid": "a random id of the logging",
        "model_id": "a random id of the logging",
        "run_id": "names the run",
        "utc_time_created": "a time",
        "artifact_path": "where the run stored it",
        "model_size_bytes": "follows from the other files, which are compared",
        "mlflow_version": "the environment is compared by itself",
    }

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named MLmodel and has flavors."""
        return sniff.path.name == "MLmodel" and b"flavors:" in sniff.head

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        fields = parse_yaml(_text(path, context))
        if not isinstance(fields, Mapping):
            raise CannotCompare("an MLmodel without fields")
        kept = {k: v for k, v in fields.items() if k not in self.ASIDE}
        aside = {k: (str(fields.get(k)), why) for k, why in self.ASIDE.items() if k in fields}
        return Document(prepared(kept), aside)


class TextComparator(DocumentComparator):
    """Plain text by line; a line that is one number by tolerance."""

    id = "text"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the beginning is printable UTF-8."""
        try:
            text = sniff.head.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(sniff.head) - 4:
                return False
            text = sniff.head[: error.start].decode("utf-8")
        return bool(text) and "\0" not in text

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        text = contents(path, context.bounds.text).decode("utf-8")
        lines: dict[str, Any] = {f"line {n}": _line(v) for n, v in enumerate(text.splitlines(), 1)}
        ends = text.endswith("\n"), "\r\n" in text
        return Document(lines, {"line ends": (ends, "how lines end is not what they say")})


def _line(text: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) else text
