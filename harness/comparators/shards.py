"""One model in one safetensors file or in shards with an index: the same tensors, or not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.comparators.base import CannotCompare, Context
from harness.comparators.document import Document, compare_documents, contents
from harness.comparators.safetensors import SafetensorsComparator
from harness.model import Difference

if TYPE_CHECKING:
    from harness.comparators.units import Unit

WHY = "into how many files a model is cut, which the index describes; the tensors are compared"
SIZES = {"total_size", "total_parameters"}
META = "__metadata__"


@dataclass
class _Model:
    """The tensors of all files, and where each lies."""

    tensors: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    metadata: list[Any] = field(default_factory=list)
    index: dict[str, Any] = field(default_factory=dict)


def compare_shards(unit: Unit, one: list[Path], two: list[Path], context: Context) -> Difference:
    """Compare two sets of files that each hold one model. Raises: CannotCompare."""
    return compare_documents(_read(one, context), _read(two, context), unit.name, "", context)


def _read(files: list[Path], context: Context) -> Document:
    model = _Model()
    for file in files:
        if file.name.endswith(".json"):
            model.index = _index(file, context)
        else:
            _add(model, file, context)
    if model.index and model.index["weight_map"] != model.places:
        raise CannotCompare("the index does not name exactly the tensors of the shards")
    content = dict(sorted(model.tensors.items()))
    kinds = [m for n, m in enumerate(model.metadata) if m not in model.metadata[:n]]
    if kinds != [{}]:
        content[META] = kinds[0] if len(kinds) == 1 else kinds
    more = {k: v for k, v in model.index.get("metadata", {}).items() if k not in SIZES}
    if more:
        content["(metadata of the index)"] = more
    layout = sorted(f.name for f in files), sorted(model.places.items())
    return Document(content, {"sharding": (layout, WHY)})


def _add(model: _Model, file: Path, context: Context) -> None:
    tensors = dict(SafetensorsComparator().parse(file, context).content)
    model.metadata.append(tensors.pop(META, {}))
    for name in tensors:
        if name in model.places:
            raise CannotCompare(f"the tensor {name[:80]!r} lies in two shards")
        model.places[name] = file.name
    model.tensors |= tensors


def _index(file: Path, context: Context) -> dict[str, Any]:
    try:
        found = json.loads(contents(file, context.bounds.header))
    except (ValueError, RecursionError) as error:
        raise CannotCompare(f"{file.name}: not JSON: {str(error)[:200]}") from error
    kinds = {"weight_map": dict, "metadata": dict}
    held = {"metadata": {}, **found} if isinstance(found, dict) else {}
    if not all(isinstance(held.get(key), kind) for key, kind in kinds.items()):
        raise CannotCompare(f"{file.name}: not an index of shards")
    if held.keys() - kinds.keys():
        held["metadata"] = {**held["metadata"], **{k: held[k] for k in held.keys() - kinds.keys()}}
    return held
