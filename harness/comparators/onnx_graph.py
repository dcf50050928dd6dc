"""An ONNX graph in canonical form: numbered from its outputs, so that names and order are free."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from harness.comparators.base import Bounds, CannotCompare
from harness.comparators.document import mapped
from harness.comparators.onnx_tensor import tensor
from harness.comparators.protobuf import Message
from harness.comparators.tensor import Labelled, Tensor, numbers

NAMES = "names of nodes, edges and initializers inside the graph carry no meaning in ONNX"
ORDER = "the standard asks for any topological order; nodes are compared from the outputs on"
NOTES = "free text for people; exporters put stack traces and install paths here"
VALUES = "shapes of inner values follow from the graph; the file repeats them for tools"


class Graphs:
    """Reads the graphs of one model file and collects what was set aside on the way."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder, self.bounds = folder, bounds
        self._names: list[str] = []
        self._order: list[int] = []
        self._notes: list[bytes] = []
        self._values: list[bytes] = []

    def aside(self) -> dict[str, tuple[Any, str]]:
        """Return what the canonical form leaves out, with the reasons."""
        return {
            "graph names": (self._names, NAMES),
            "node order": (self._order, ORDER),
            "graph doc_string and metadata_props": (sorted(self._notes), NOTES),
            "value_info": (sorted(self._values), VALUES),
        }

    def graph(self, message: Message, outer: _Scope | None = None) -> dict[str, Any]:
        """Return the canonical form of a graph; `outer` is the scope that it may refer to."""
        self._names.append(message.text(2))
        self._notes += [bytes(v) for n in (10, 16) for v in message.raw(n)]
        self._values += [bytes(v) for v in message.raw(13)]
        inputs = [(v.text(1), _type(v)) for v in message.messages(11)]
        outputs = [(v.text(1), _type(v)) for v in message.messages(12)]
        scope = _Scope(self, [name for name, _ in inputs], message, outer)
        results = scope.number([name for name, _ in outputs])
        # Names of the inputs and outputs are the model's interface; those of a subgraph are not.
        top = outer is None
        return {
            "inputs": [[name if top else "", kind] for name, kind in inputs],
            "outputs": [
                [name if top else "", kind, source]
                for (name, kind), source in zip(outputs, results, strict=True)
            ],
            "nodes": scope.described(),
            "initializers": scope.tensors(),
            "quantization": [bytes(v).hex() for v in message.raw(14)],
            "other": message.rest(1, 2, 5, 10, 11, 12, 13, 14, 15, 16),
        }

    def function(self, message: Message) -> dict[str, Any]:
        """Return the canonical form of a model-local function."""
        self._notes += [bytes(v) for n in (8, 14) for v in message.raw(n)]
        self._values += [bytes(v) for v in message.raw(12)]
        inputs, outputs = message.texts(4), message.texts(5)
        scope = _Scope(self, inputs, message, None, node_field=7)
        return {
            "inputs": len(inputs),
            "attributes": sorted(message.texts(6)),
            "defaults": {a.text(1): self.attribute(a, scope) for a in message.messages(11)},
            "opset": sorted((o.text(1), o.number(2)) for o in message.messages(9)),
            "outputs": scope.number(outputs),
            "nodes": scope.described(),
            "other": message.rest(1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14),
        }

    def named(self, name: str, position: int) -> None:
        """Note a name and a place in the file, both free."""
        self._names.append(name)
        self._order.append(position)

    def noted(self, notes: list[memoryview]) -> None:
        """Note free text."""
        self._notes += [bytes(n) for n in notes]

    def attribute(self, message: Message, scope: _Scope) -> Any:
        """Return the value of a node's attribute in a form that compares."""
        self._notes += [bytes(v) for v in message.raw(13)]
        floats = message.fixed(7, "<f4")
        value: dict[str, Any] = {
            "f": message.float32(2),
            "i": message.number(3) if 3 in message.fields else None,
            "s": _shown(message.raw(4)),
            "t": [self.tensor(t)[1] for t in message.messages(5)],
            "g": [self.graph(g, scope) for g in message.messages(6)],
            "floats": Tensor.of(floats) if floats.size else [],
            "ints": numbers(message.numbers(8)),
            "strings": _shown(message.raw(9)),
            "tensors": [self.tensor(t)[1] for t in message.messages(10)],
            "graphs": [self.graph(g, scope) for g in message.messages(11)],
            "type": message.number(20),
            "refers to": message.text(21),
            "other": message.rest(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 20, 21),
        }
        return {k: v for k, v in value.items() if v not in (None, [], "", {})}

    def tensor(self, message: Message) -> tuple[str, Any]:
        """Return an initializer's name and tensor, external data only from below the folder."""
        self._notes += [bytes(v) for n in (12, 16) for v in message.raw(n)]
        external = {e.text(1): e.text(2) for e in message.messages(13)}
        data = self._external(external) if message.number(14) == 1 else None
        return message.text(8), tensor(message, data)

    def _external(self, entry: dict[str, str]) -> memoryview:
        location = PurePosixPath(entry.get("location", "").replace("\\", "/"))
        if location.is_absolute() or ".." in location.parts or not location.parts:
            raise CannotCompare(f"external data outside the model's folder: {str(location)!r}")
        path, parts = self.folder, location.parts
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise CannotCompare(f"external data behind a link: {str(location)!r}")
        view = mapped(path, self.bounds.expanded)
        start = int(entry.get("offset", "0"))
        size = int(entry.get("length", str(len(view) - start)))
        if not 0 <= start <= start + size <= len(view):
            raise CannotCompare(f"external data beyond the end of {str(location)!r}")
        return view[start : start + size]


def _shown(values: list[memoryview]) -> list[str]:
    return [bytes(v).decode("utf-8", "backslashreplace") for v in values]


class _Scope:
    """The values of one graph, numbered as a walk from the outputs meets them."""

    def __init__(
        self,
        graphs: Graphs,
        inputs: list[str],
        message: Message,
        outer: _Scope | None,
        node_field: int = 1,
    ) -> None:
        self.graphs, self.outer = graphs, outer
        self.depth: int = outer.depth + 1 if outer else 0
        self.nodes = message.messages(node_field)
        self.makers: dict[str, tuple[int, int]] = {
            name: (at, slot)
            for at, node in enumerate(self.nodes)
            for slot, name in enumerate(node.texts(2))
            if name
        }
        self.inputs = {name: at for at, name in enumerate(inputs)}
        self.weights: dict[str, Message] = {t.text(8): t for t in message.messages(5)}
        self.sparse = {_sparse_name(t): t for t in message.messages(15)}
        self.order: dict[int, int] = {}
        self.met: dict[str, int] = {}

    def number(self, outputs: list[str]) -> list[str]:
        """Number every node that the outputs need, then the rest; return what the outputs are."""
        for name in outputs:
            self._visit(name)
        for at in range(len(self.nodes)):  # nodes that no output needs, in file order
            self._visit_node(at)
        for name in (*self.weights, *self.sparse):
            self.met.setdefault(name, len(self.met))
        return [self.source(name) for name in outputs]

    def _visit(self, name: str) -> None:
        if name in self.makers:
            self._visit_node(self.makers[name][0])
        else:
            self._meet(name)

    def _meet(self, name: str) -> None:
        if name in self.weights or name in self.sparse:
            self.met.setdefault(name, len(self.met))

    def _visit_node(self, start: int) -> None:
        """Number a node after all that it needs; iterative, since networks are deep."""
        open_now: set[int] = set()
        stack = [(start, False)]
        while stack:
            at, done = stack.pop()
            if done:
                open_now.discard(at)
                self.order.setdefault(at, len(self.order))
                for name in self.nodes[at].texts(1):
                    self._meet(name)
                continue
            if at in self.order:
                continue
            if at in open_now:
                raise CannotCompare("the ONNX graph has a cycle")
            open_now.add(at)
            stack.append((at, True))
            needs = [self.makers[n][0] for n in _needs(self.nodes[at]) if n in self.makers]
            stack += [(need, False) for need in reversed(needs) if need not in self.order]

    def source(self, name: str) -> str:
        """Return where a value comes from, without its name."""
        if not name:
            return "nothing"
        if name in self.makers:
            at, slot = self.makers[name]
            return f"node {self.order.get(at, -1)} output {slot}"
        if name in self.weights or name in self.sparse:
            self._meet(name)
            return f"initializer {self.met[name]}"
        if name in self.inputs:
            return f"input {self.inputs[name]}"
        return f"outer {self.outer.depth}: {self.outer.source(name)}" if self.outer else "undefined"

    def described(self) -> list[Labelled]:
        """Return every node in canonical order."""
        ordered = sorted(self.order, key=self.order.__getitem__)
        return [self._node(self.nodes[at], at) for at in ordered]

    def _node(self, node: Message, at: int) -> Labelled:
        self.graphs.named(node.text(3), at)
        for name in node.texts(2):
            self.graphs.named(name, at)
        self.graphs.noted([v for n in (6, 9, 10) for v in node.raw(n)])
        content = {
            "op": f"{node.text(7)}:{node.text(4)}:{node.text(8)}",
            "inputs": [self.source(name) for name in node.texts(1)],
            "outputs": [bool(name) for name in node.texts(2)],
            "attributes": {
                a.text(1): self.graphs.attribute(a, self)
                for a in sorted(node.messages(5), key=lambda a: a.text(1))
            },
            "other": node.rest(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        }
        return Labelled(f"node {self.order[at]} {node.text(4)} {node.text(3)}".rstrip(), content)

    def tensors(self) -> dict[str, Any]:
        """Return the initializers by the order in which the graph uses them."""
        found: dict[str, Any] = {}
        for name, at in sorted(self.met.items(), key=lambda item: item[1]):
            self.graphs.named(name, at)
            given = self.inputs.get(name)
            label = f"{at}" if given is None else f"{at} (default of input {given})"
            if name in self.weights:
                found[label] = Labelled(name, self.graphs.tensor(self.weights[name])[1])
            else:
                found[label] = Labelled(name, self._sparse(self.sparse[name]))
        return found

    def _sparse(self, message: Message) -> dict[str, Any]:
        parts = {"values": message.message(1), "indices": message.message(2)}
        tensors: dict[str, Tensor | list[str] | None] = {
            k: self.graphs.tensor(m)[1] if m else None for k, m in parts.items()
        }
        return {**tensors, "dims": message.numbers(3)}


def _sparse_name(message: Message) -> str:
    values = message.message(1)
    return values.text(8) if values else ""


def _needs(node: Message) -> list[str]:
    """Return the names that a node reads, those that its subgraphs capture included."""
    names = node.texts(1)
    for attribute in node.messages(5):
        for graph in (*attribute.messages(6), *attribute.messages(11)):
            for inner in graph.messages(1):
                names += _needs(inner)
            names += [v.text(1) for v in graph.messages(12)]
    return names


def _type(value: Message) -> str:
    """Return the type of an input or output as text: element type and dimensions."""
    kind = value.message(2)
    if kind is None:
        return "any"
    held = kind.message(1)
    if held is None:
        return "type " + str({n: [bytes(v).hex() for v in kind.raw(n)] for n in kind.fields})
    shape = held.message(2)
    if shape is None:
        return f"{held.number(1)} of any shape"
    dims = [d.text(2) or str(d.number(1)) if d.fields else "?" for d in shape.messages(1)]
    return f"{held.number(1)} [{', '.join(dims)}]"
