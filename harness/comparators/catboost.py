"""CatBoost models, JSON or binary: guid and times set aside, trees and borders compared."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.run_only import CATBOOST, taken
from harness.comparators.tensor import Labelled, Tensor
from harness.comparators.xgboost import json_of

FREE = {
    "model_guid": "a random identifier, new in every training",
    "train_finish_time": "the time of day when training ended",
    "catboost_version_info": "the build of CatBoost that trained",
    "output_options": "names of log and snapshot files of the run",
}
MAGIC = b"CBM1"
# slots of the table of trees (catboost/libs/model/flatbuffers/model.fbs)
VECTORS = {
    1: ("splits", "int32"),
    2: ("tree sizes", "int32"),
    8: ("leaf values", "float64"),
    9: ("leaf weights", "float64"),
}


class CatBoost(DocumentComparator):
    """Models saved by CatBoost as `.json` or `.cbm`."""

    id = "catboost"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is CatBoost's binary magic, or JSON with its two marking keys."""
        if sniff.is_dir:
            return False
        opening = sniff.head[:200].lstrip()
        is_json = opening[:1] == b"{" and opening[1:].lstrip().startswith(b'"features_info"')
        return sniff.head.startswith(MAGIC) or is_json

    def parse(self, path: Path, context: Context) -> Document:
        """Read a model of either kind."""
        view = mapped(path, context.bounds.member)
        if bytes(view[:4]) == MAGIC:
            return binary(view, path.name)
        model = json_of(bytes(view), path.name, context.bounds.depth)
        if not isinstance(model, dict):
            raise CannotCompare(f"{path.name}: not a CatBoost model")
        info = model.get("model_info")
        held = info if isinstance(info, dict) else {}
        aside = {k: (held.pop(k), why) for k, why in FREE.items() if k in held}
        aside |= _run_only(held.get("params"))
        for kind in ("oblivious_trees", "trees"):
            if isinstance(model.get(kind), list):
                model[kind] = [Labelled(f"tree {i}", t) for i, t in enumerate(model[kind])]
        return Document(model, aside)


def binary(view: memoryview, name: str) -> Document:
    """Return a `.cbm` file: its strings by key, its trees by vector, the rest bit by bit.

    Offsets in a flatbuffer point forwards only, so all that the trees hold lies behind their
    table; what is not decoded there is compared as bytes, with the decoded vectors blanked.
    """
    size = _number(view, 4, "<I")
    if size > len(view) - 8:
        raise CannotCompare(f"{name}: its core claims {size} bytes, {len(view) - 8} are there")
    core = view[8 : 8 + size]
    root = Table(core, _number(core, 0, "<I"))
    info = {t.text(0): t.text(1) for t in root.tables(2)}
    aside = {k: (info.pop(k), why) for k, why in FREE.items() if k in info}
    found = root.tables(1, single=True)
    parsed = {k: _parsed(v) for k, v in sorted(info.items())}
    aside |= _run_only(parsed.get("params"))
    content: dict[str, Any] = {
        "format": root.text(0),
        "info": parsed,
        "trees": _trees(found[0]) if found else None,
        "after": _raw(view[8 + size :]),
    }
    return Document(content, aside)


def _run_only(params: Any) -> dict[str, tuple[Any, str]]:
    """Take out of the recorded parameters what only says how the training ran."""
    held = params if isinstance(params, dict) else {}
    found: dict[str, tuple[Any, str]] = {}
    for places in (held, held.get("flat_params"), held.get("system_options")):
        for name, value, why in taken(places, CATBOOST):
            found[name] = ((*found.get(name, ((), ""))[0], repr(value)), why)
    return found


def _raw(data: Any) -> Tensor:
    return Tensor("uint8", (memoryview(data).nbytes,), data)


def _trees(trees: Table) -> dict[str, Any]:
    blank = bytearray(trees.view[trees.at :])
    held: dict[str, Tensor] = {}
    for slot, (name, kind) in VECTORS.items():
        start, data = trees.vector(slot, 8 if kind == "float64" else 4)
        held[name] = Tensor(kind, (len(data) // (8 if kind == "float64" else 4),), data)
        blank[start - trees.at : start - trees.at + len(data)] = bytes(len(data))
    sizes = np.frombuffer(held["tree sizes"].data, "<i4").tolist()
    return {
        "tree sizes": held["tree sizes"],
        "splits": _by_tree("splits", held["splits"], sizes),
        "leaf values": _by_tree("leaf values", held["leaf values"], _leaves(sizes, held)),
        "leaf weights": held["leaf weights"],
        "slots": [bool(slot) for slot in trees.slots],
        "features and the rest": _raw(bytes(blank)),
    }


def _leaves(sizes: list[int], held: Mapping[str, Tensor]) -> list[int]:
    """Return how many leaf values each symmetric tree has, nothing for other trees."""
    if not all(0 <= s <= 16 for s in sizes):
        return []
    leaves = [1 << s for s in sizes]
    dimension, odd = divmod(held["leaf values"].size, sum(leaves) or 1)
    return [] if odd else [n * dimension for n in leaves]


def _by_tree(name: str, whole: Tensor, counts: list[int]) -> Any:
    if sum(counts) != whole.size or any(c < 0 for c in counts):
        return whole
    width, at, found = len(whole.data) // max(whole.size, 1), 0, []
    for number, count in enumerate(counts):
        part = whole.data[at * width : (at + count) * width]
        found.append(Labelled(f"tree {number} {name}", Tensor(whole.dtype, (count,), part)))
        at += count
    return found


def _parsed(text: str) -> Any:
    if text[:1] in "{[":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _number(view: memoryview, at: int, kind: str) -> int:
    if at < 0 or at + struct.calcsize(kind) > len(view):
        raise CannotCompare("a flatbuffer offset out of the file")
    return int(struct.unpack_from(kind, view, at)[0])


class Table:
    """One table of a flatbuffer, every offset checked before it is followed."""

    def __init__(self, view: memoryview, at: int) -> None:
        self.view, self.at = view, at
        layout = at - _number(view, at, "<i")
        size = _number(view, layout, "<H")
        if size < 4 or size > 512 or size % 2:
            raise CannotCompare("a flatbuffer table of impossible size")
        self.slots = [_number(view, layout + i, "<H") for i in range(4, size, 2)]

    def _target(self, slot: int) -> int | None:
        if slot >= len(self.slots) or not self.slots[slot]:
            return None
        at = self.at + self.slots[slot]
        return at + _number(self.view, at, "<I")

    def vector(self, slot: int, width: int) -> tuple[int, memoryview]:
        """Return where a vector's elements start, and their bytes; empty where it is absent."""
        at = self._target(slot)
        if at is None:
            return self.at, self.view[:0]
        count = _number(self.view, at, "<I")
        if count * width > len(self.view) - at - 4:
            raise CannotCompare("a flatbuffer vector longer than the file")
        return at + 4, self.view[at + 4 : at + 4 + count * width]

    def text(self, slot: int) -> str:
        """Return a string, empty where it is absent."""
        return bytes(self.vector(slot, 1)[1]).decode("utf-8", "backslashreplace")

    def tables(self, slot: int, *, single: bool = False) -> list[Table]:
        """Return a vector of tables, or the one table of a slot."""
        if single:
            at = self._target(slot)
            return [] if at is None else [Table(self.view, at)]
        start, data = self.vector(slot, 4)
        places = (start + i for i in range(0, len(data), 4))
        return [Table(self.view, at + _number(self.view, at, "<I")) for at in places]
