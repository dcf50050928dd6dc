"""ONNX models: the graph whatever its names and order, initializers as tensors, then behaviour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.comparators.base import Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.onnx_graph import Graphs
from harness.comparators.protobuf import Budget, Message, walk
from harness.model import Difference, Status

PRODUCER = "says which exporter wrote the file, not what the model computes"
NOTES = "free text for people; exporters put stack traces and install paths here"
# ModelProto fields, and those that every file has
KNOWN = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}


class Onnx(DocumentComparator):
    """ONNX models of any opset, with external data inside their own folder."""

    id = "onnx"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the head reads as a ModelProto: a graph, and no field it cannot have."""
        if sniff.is_dir or not sniff.head or sniff.size < 8:
            return False
        return sniff.path.suffix.lower() == ".onnx" or _looks_like(sniff.head, sniff.size)

    def parse(self, path: Path, context: Context) -> Document:
        """Read a model into its canonical form."""
        view = mapped(path, context.bounds.expanded)
        model = Message(view, Budget(depth=context.bounds.depth))
        graphs = Graphs(path.parent, context.bounds)
        graph = model.message(7)
        content = {
            "ir_version": model.number(1),
            "opset": _opsets(model, 8),
            "graph": graphs.graph(graph) if graph else None,
            "functions": {
                f"{f.text(10)}.{f.text(1)}.{f.text(13)}": graphs.function(f)
                for f in model.messages(25)
            },
            "training": [bytes(v).hex() for v in model.raw(20)],
            "other": model.rest(*KNOWN),
        }
        aside = {
            "producer": ((model.text(2), model.text(3)), PRODUCER),
            "domain and model_version": ((model.text(4), model.number(5)), PRODUCER),
            "doc_string": (model.text(6), NOTES),
            "metadata_props": (sorted(bytes(v) for v in model.raw(14)), NOTES),
            "device configuration": ([bytes(v) for v in model.raw(26)], "where it runs, not what"),
            **graphs.aside(),
        }
        return Document(content, aside)

    def compare(self, recorded: Path, reproduced: Path, context: Context) -> Difference:
        """Compare two models as documents; where those differ, by behaviour if that is asked."""
        found = super().compare(recorded, reproduced, context)
        asked = context.probe or any(r.match == "behaviour" for r in context.tolerance.rules)
        if found.status != Status.DIFFERENT or not asked:
            return found
        from harness.comparators.onnx_behaviour import behaviour

        seen = behaviour(recorded, reproduced, context)
        status = Status.BEHAVIOURAL if seen.status == Status.BEHAVIOURAL else found.status
        if status == Status.BEHAVIOURAL:
            return replace(seen, name=found.name, comparator=self.id, reason=_why(found, seen))
        return replace(found, children=(*found.children, seen))


class OnnxData(Onnx):
    """The file beside a model that holds its larger weights: compared through that model."""

    id = "onnx-data"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named after a model that lies beside it."""
        name = sniff.path.name
        return name.endswith((".onnx.data", ".onnx_data")) and _model(sniff.path).is_file()

    def compare(self, recorded: Path, reproduced: Path, context: Context) -> Difference:
        """Compare the two models, external data included."""
        found = super().compare(_model(recorded), _model(reproduced), context)
        return replace(found, comparator=self.id)


def _model(data: Path) -> Path:
    return data.with_name(data.name[: -len(".data")])


def _why(found: Difference, seen: Difference) -> str:
    return f"weights or graph differ ({found.reason}), predictions agree: {seen.reason}"


def _opsets(message: Message, number: int) -> dict[str, int]:
    return {
        {"": "ai.onnx"}.get(o.text(1), o.text(1)): o.number(2) for o in message.messages(number)
    }


def _looks_like(head: bytes, size: int) -> bool:
    """Return whether the top-level fields that the head shows are those of a ModelProto."""
    seen: set[int] = set()
    try:
        for number, kind, _ in walk(memoryview(head), Budget(fields=64)):
            if number not in KNOWN or (number in {1, 5}) != (kind == 0):
                return False
            seen.add(number)
    except Exception:  # the head ends inside a field: judge by what came before it
        return 1 in seen and _cut_at_graph(head, size, seen)
    return {1, 7} <= seen


def _cut_at_graph(head: bytes, size: int, seen: set[int]) -> bool:
    return head[:1] == b"\x08" and bool(seen & {2, 7, 8}) and size > len(head)
