"""JSON, YAML and TOML by key with tolerances, MLflow's MLmodel by field, other text by line."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, contents
from harness.comparators.tensor import numbers

DEPTH = 200
LINES = {".jsonl", ".ndjson"}
ENOUGH = 200  # characters of JSON after which a file too large for its head is taken for JSON
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def prepared(value: Any, depth: int = 0) -> Any:
    """Return a parsed document with its number lists as tensors.

    Raises: CannotCompare when it is nested too deeply.
    """
    if depth > DEPTH:
        raise CannotCompare(f"nested deeper than {DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(k): prepared(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        found = numbers(value)
        return [prepared(v, depth + 1) for v in value] if found is value else found
    if value is None or isinstance(value, str | bool | int | float):
        return value
    # A date is not the string that it is written as.
    return f"{type(value).__name__} {value!r}"


def _key(key: Any) -> str:
    return key if isinstance(key, str) else f"{type(key).__name__} {key!r}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CannotCompare("a key stands twice in one object")
    return found


def _float(text: str) -> float | str:
    """Return a number; one that no double can hold stays as it is written."""
    value = float(text)
    return value if math.isfinite(value) else text


def _text(path: Path, context: Context) -> str:
    return contents(path, context.bounds.text).decode("utf-8")


class JsonComparator(DocumentComparator):
    """JSON: numbers by tolerance, keys in any order."""

    id = "json"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named as JSON, or reads as JSON as far as the head goes."""
        if sniff.path.suffix in {".json", *LINES}:
            return True
        return sniff.head.lstrip()[:1] in {b"{", b"["} and _reads(sniff)

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file: one value, or one value per line."""
        text = _text(path, context)
        if path.suffix in LINES:
            found = [loads(line) for line in text.split("\n") if line.strip()]
            return Document(prepared({f"line {n}": v for n, v in enumerate(found, 1)}))
        return Document(prepared(loads(text)))


def loads(text: str) -> Any:
    """Return a JSON value; keys that stand twice are refused, numbers beyond doubles stay texts."""
    return json.loads(text, object_pairs_hook=_unique, parse_float=_float)


def _reads(sniff: Sniff) -> bool:
    """Return whether the head is JSON, or the beginning of it: logs and INI files begin alike."""
    text = sniff.head.decode("utf-8", "replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return sniff.size > len(sniff.head) and error.pos > ENOUGH
    except RecursionError:
        return True
    return True


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
    """Return a YAML document.

    Anchors are refused, since they expand without end, and so is a key that stands twice.
    """
    import yaml

    try:
        if any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(text, _loader())):
            raise CannotCompare("YAML with aliases")
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        raise CannotCompare(f"not YAML: {str(error)[:200]}") from None


@cache
def _loader() -> Any:
    import yaml

    safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Strict(safe):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(k, deep=True) for k, _ in node.value]
            if len(set(map(repr, keys))) != len(keys):
                raise CannotCompare("a key stands twice in one mapping")
            return super().construct_mapping(node, deep)

    return Strict


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
        lines: dict[str, Any] = {f"line {n}": _line(v) for n, v in enumerate(_split(text), 1)}
        ends = text.endswith("\n"), "\r\n" in text
        return Document(lines, {"line ends": (ends, "how lines end is not what they say")})


def _split(text: str) -> list[str]:
    """Return the lines; other marks than LF and CR LF are content."""
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _line(text: str) -> Any:
    """Return a line that is one plain number as that number: 007 is a name, 1_0 a word."""
    if not _NUMBER.fullmatch(text):
        return text
    value = float(text)
    exact = "." in text or "e" in text.lower() or abs(value) < 2**53
    return value if math.isfinite(value) and exact else text
