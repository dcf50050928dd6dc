"""LightGBM text models: header, trees and parameters, the first differing tree and split named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.comparators.base import Bounds, CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, contents
from harness.comparators.tensor import Labelled, numbers

SIZES = "byte lengths of the trees, which follow from their text"
THREADS = "how many threads trained; the trees are compared themselves"
# Run-time settings that LightGBM writes into the model: they choose no split.
FREE_PARAMETERS = {"num_threads", "verbosity", "output_model", "machines", "local_listen_port"}


class LightGbm(DocumentComparator):
    """Models saved by `Booster.save_model`."""

    id = "lightgbm"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the text starts as LightGBM's: `tree`, then `version=`."""
        return not sniff.is_dir and re.match(rb"tree\r?\nversion=v\d", sniff.head) is not None

    def parse(self, path: Path, context: Context) -> Document:
        """Read a model: a section per tree, numbers as tensors."""
        text = contents(path, context.bounds.member).decode("utf-8", "strict")
        return document(text, path.name, context.bounds)


def document(text: str, name: str, bounds: Bounds) -> Document:
    """Return the document of a model's text. Raises: CannotCompare."""
    ends = [f"\nend of {part}" for part in ("trees", "parameters") if f"\n{part}:" in text]
    if any(end not in text for end in (*ends, "\nend of trees")):
        raise CannotCompare(f"{name}: cut off before its end")
    head, _, tail = text.partition("\nend of trees")
    header, *trees = re.split(r"\n(?=Tree=\d)", head)
    if len(trees) > bounds.entries:
        raise CannotCompare(f"{name}: more trees than are compared")
    fields = _fields(header)
    sizes = fields.pop("tree_sizes", "")
    count = len(str(sizes).split()) if not hasattr(sizes, "size") else sizes.size
    if count and count != len(trees):
        raise CannotCompare(f"{name}: {count} trees announced, {len(trees)} found")
    parameters, free = _parameters(tail)
    content = {
        "header": fields,
        "trees": [Labelled(f"Tree={at}", _fields(tree)) for at, tree in enumerate(trees)],
        "after": parameters,
    }
    return Document(
        content,
        {
            "tree_sizes": (sizes if isinstance(sizes, str) else bytes(sizes.data), SIZES),
            "run-time parameters": (free, THREADS),
        },
    )


def _lines(text: str) -> list[str]:
    """Return the lines as LightGBM reads them: other marks than LF and CR LF are content."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def _fields(section: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in _lines(section):
        if line.strip():
            key, equals, value = line.partition("=")
            found[key] = _value(value) if equals else True
    return found


def _value(text: str) -> Any:
    try:
        return numbers([int(w) if re.fullmatch(r"-?\d+", w) else float(w) for w in text.split(" ")])
    except ValueError:
        return text


def _parameters(tail: str) -> tuple[dict[str, Any], list[str]]:
    kept: dict[str, Any] = {}
    free: list[str] = []
    for line in _lines(tail):
        name, _, value = line.strip("[]").partition(": ")
        if line.startswith("[") and name in FREE_PARAMETERS:
            free.append(line)
        elif line.startswith("["):
            kept[f"parameters.{name}"] = _value(value)
        elif line.strip():
            key, equals, value = line.partition("=")
            kept[key] = _value(value) if equals else True
    return kept, free
