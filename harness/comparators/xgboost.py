"""XGBoost models in JSON or UBJSON: the first differing tree and split named."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import Bounds, CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.run_only import XGBOOST, taken
from harness.comparators.tensor import Labelled, Tensor, numbers

VERSION = "the version of XGBoost that wrote the file"
# What a pickled Booster's bytes begin with
PICKLED = b"{L\x00\x00\x00\x00\x00\x00\x00\x06Config{"
# UBJSON marker -> (struct format, numpy type), all big-endian
SCALARS = {
    "i": (">b", ">i1"),
    "U": (">B", ">u1"),
    "I": (">h", ">i2"),
    "l": (">i", ">i4"),
    "L": (">q", ">i8"),
    "d": (">f", ">f4"),
    "D": (">d", ">f8"),
}
CONSTANTS = {"Z": None, "T": True, "F": False}


class XgBoost(DocumentComparator):
    """Models saved by `Booster.save_model` as `.json` or `.ubj`."""

    id = "xgboost"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the first key is XGBoost's `learner` (or its `Config`/`Model` pair)."""
        head = sniff.head[:64].lstrip()
        if sniff.is_dir or head[:1] != b"{":
            return False
        return head[1:].lstrip().startswith(b'"learner"') or head.startswith(
            b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"
        )

    def parse(self, path: Path, context: Context) -> Document:
        """Read a model; every list of numbers becomes a tensor, every tree is named."""
        view = mapped(path, context.bounds.member)
        if bytes(view[:2]) == b"{L":
            model = Ubjson(view, context.bounds.depth, context.bounds.entries * 50).read()
        else:
            model = json_of(bytes(view), path.name, context.bounds.depth)
        if not isinstance(model, dict):
            raise CannotCompare(f"{path.name}: not an XGBoost model")
        version = model.pop("version", "")
        shown = bytes(version.data) if isinstance(version, Tensor) else version
        return Document(_named(model), {"version": (shown, VERSION)})


def pickled(view: memoryview, bounds: Bounds) -> Document:
    """Return the document of what a Booster pickles: its model and its configuration."""
    whole = Ubjson(view, bounds.depth, bounds.entries * 50).read()
    config, model = whole["Config"], whole["Model"]
    versions = config.pop("version", None), model.pop("version", None)
    aside: dict[str, tuple[Any, str]] = {
        "version": ([bytes(v.data) if isinstance(v, Tensor) else v for v in versions], VERSION)
    }
    free = taken(config.get("learner", {}).get("generic_param"), XGBOOST)
    aside |= {name: (value, why) for name, value, why in free}
    return Document({"model": _named(model), "config": config}, aside)


def json_of(data: bytes, name: str, depth: int) -> Any:
    """Return bounded JSON with lists of numbers as tensors. Raises: CannotCompare."""
    try:
        return _tensors(json.loads(data, object_pairs_hook=_unique), depth)
    except (ValueError, RecursionError) as error:
        raise CannotCompare(f"{name}: malformed JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CannotCompare("a JSON object with a key twice")
    return found


def _tensors(value: Any, depth: int) -> Any:
    if depth < 0:
        raise CannotCompare("JSON nested deeper than is read")
    if isinstance(value, dict):
        return {k: _tensors(v, depth - 1) for k, v in value.items()}
    if isinstance(value, list):
        found = numbers(value)
        return [_tensors(v, depth - 1) for v in found] if isinstance(found, list) else found
    return value


def _named(value: Any) -> Any:
    """Return the model with each tree under its number."""
    if not isinstance(value, dict):
        return [_named(v) for v in value] if isinstance(value, list) else value
    return {
        key: [Labelled(f"tree {at}", t) for at, t in enumerate(item)]
        if key == "trees" and isinstance(item, list)
        else _named(item)
        for key, item in value.items()
    }


class Ubjson:
    """A bounded reader of UBJSON (draft 12), typed arrays as tensors without copying."""

    def __init__(self, view: memoryview, depth: int, values: int) -> None:
        self.view, self.at = view, 0
        self.depth, self.values = depth, values

    def read(self) -> Any:
        """Return the one value of the file. Raises: CannotCompare."""
        value = self._value(self._marker(), 0)
        if self.at != len(self.view):
            raise CannotCompare("bytes after the end of the UBJSON value")
        return value

    def _take(self, size: int) -> memoryview:
        if size < 0 or size > len(self.view) - self.at:
            raise CannotCompare("UBJSON is cut off, or claims more than the file has")
        self.at += size
        return self.view[self.at - size : self.at]

    def _peek(self) -> str:
        return chr(self.view[self.at]) if self.at < len(self.view) else ""

    def _marker(self) -> str:
        while (found := chr(self._take(1)[0])) == "N":
            pass
        return found

    def _value(self, marker: str, depth: int) -> Any:
        self.values -= 1
        if depth > self.depth or self.values < 0:
            raise CannotCompare("UBJSON nested deeper, or with more values, than is read")
        if marker in SCALARS:
            kind = SCALARS[marker][0]
            return struct.unpack(kind, self._take(struct.calcsize(kind)))[0]
        if marker in CONSTANTS:
            return CONSTANTS[marker]
        if marker in "SH":
            return self._text()
        if marker == "C":
            return chr(self._take(1)[0])
        if marker == "[":
            return self._array(depth)
        if marker == "{":
            return self._object(depth)
        raise CannotCompare(f"UBJSON marker {marker!r}")

    def _size(self) -> int:
        size = self._value(self._marker(), self.depth)
        if type(size) is not int or size < 0:
            raise CannotCompare("a UBJSON length that is no count")
        return size

    def _text(self) -> str:
        return bytes(self._take(self._size())).decode("utf-8", "backslashreplace")

    def _header(self) -> tuple[str, int | None]:
        kind, count = "", None
        if self._peek() == "$":
            self.at += 1
            kind = chr(self._take(1)[0])
        if self._peek() == "#":
            self.at += 1
            count = self._size()
        elif kind:
            raise CannotCompare("a typed UBJSON container without a count")
        return kind, count

    def _array(self, depth: int) -> Any:
        kind, count = self._header()
        if kind in SCALARS and count is not None:
            dtype = np.dtype(SCALARS[kind][1])
            return Tensor.of(np.frombuffer(self._take(count * dtype.itemsize), dtype))
        found: list[Any] = []
        if count is None:
            while (marker := self._marker()) != "]":
                found.append(self._value(marker, depth + 1))
        else:
            self._afford(count)
            for _ in range(count):
                found.append(self._value(kind or self._marker(), depth + 1))
        return numbers(found)

    def _afford(self, count: int) -> None:
        if count > self.values:
            raise CannotCompare("UBJSON with more values than are read")

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count = self._header()
        found: dict[str, Any] = {}
        left = count
        while left != 0:
            if left is None:
                if self._peek() == "}":
                    self.at += 1
                    return found
            else:
                left -= 1
            key = self._text()
            if key in found:
                raise CannotCompare("a UBJSON object with a key twice")
            found[key] = self._value(kind or self._marker(), depth + 1)
        return found
