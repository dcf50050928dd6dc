"""What a TensorFlow graph computes, as digests that do not depend on names inside functions.

Functions are traced anew in every process: counters in their names, the order of the library, of
the resources that the saver is given and, with Keras, of a set of variables all vary. A node's
digest is made from its operation, its attributes and the digests of its inputs; the functions
that the top level calls are followed with what they are called with.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.comparators.base import CannotCompare
from harness.comparators.protobuf import Budget, Message
from harness.comparators.tensor import Tensor

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
RESOURCE = 20
COUNTER = re.compile(r"(_\d+)+$")
TRACED = re.compile(r"__(inference|forward|backward)_.*_\d+$")
# Names that a process makes up: of tables, and of implementations that may stand for each other
UNIQUE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DIGITS = re.compile(r"\d+")
# ConfigProto: device_count, threads within and between operations, per session, GPU options
MACHINE = (1, 2, 5, 6, 9)
DEEP = 64
Node = Mapping[str, Any]


def digest(*parts: Any) -> str:
    """Return the digest of decoded values, told apart by type."""
    found = hashlib.sha256()
    for piece in _pieces(parts, 0):
        found.update(piece)
    return found.hexdigest()


def _pieces(value: Any, depth: int) -> Iterator[bytes]:
    if depth > DEEP:
        raise CannotCompare("a graph with values nested deeper than is read")
    if isinstance(value, Tensor):
        yield b"T" + f"{value.dtype}{value.shape}".encode()
        yield value.data
    elif isinstance(value, Mapping):
        yield b"M%d:" % len(value)
        for key in sorted(value):
            yield from _pieces(key, depth + 1)
            yield from _pieces(value[key], depth + 1)
    elif isinstance(value, list | tuple):
        yield b"L%d:" % len(value)
        for item in value:
            yield from _pieces(item, depth + 1)
    else:
        data = repr(value).encode("utf-8", "surrogatepass")
        yield b"%s%d:" % (type(value).__name__.encode(), len(data)) + data


class Program:
    """The digests of one graph: `nodes` at the top level by name, `functions` by stable name."""

    def __init__(
        self, graph: Mapping[str, Any], text: Callable[[str], Any], tracked: list[str]
    ) -> None:
        """`tracked` are the functions that the object graph names, in an order that is stable."""
        self.text = text
        self.steps = Budget()
        library = graph.get("library", {}).get("functions", [])
        self.library = {f.get("signature", {}).get("name", ""): f for f in library}
        if len(self.library) != len(library):
            raise CannotCompare("a graph with two functions of one name")
        self._formal: dict[str, str] = {}
        self._busy: set[str] = set()
        self.called: dict[str, set[str]] = {}
        self.shared = _made_up(graph.get("nodes", []))
        top = Body(self, graph.get("nodes", []), {}, top=True)
        self.nodes = top.all()
        first = [f for n in sorted(top.nodes) for f in _functions(top.nodes[n])]
        self.names = self._stable_names([*first, *tracked])
        self.functions = {
            self.names[f]: digest(sorted(self.called.get(f) or {self.formal(f)}))
            for f in self.library
        }

    def _stable_names(self, waiting: list[str]) -> dict[str, str]:
        """Return names without counters, numbered as they are met where several are alike."""
        order = dict.fromkeys(waiting)
        for name in (ordered := list(order)):
            body = self.library.get(name, {}).get("nodes", [])
            below = [f for n in sorted(body, key=_name) for f in _functions(n)]
            ordered += [f for f in dict.fromkeys(below) if f not in order]
            order |= dict.fromkeys(below)
        met = [n for n in ordered if n in self.library]
        rest = sorted(self.library.keys() - set(met), key=self.formal)
        counts: Counter[str] = Counter()
        found = {}
        for name in (*met, *rest):
            base = COUNTER.sub("", name)
            counts[base] += 1
            found[name] = base if counts[base] == 1 else f"{base} #{counts[base]}"
        return found

    def formal(self, name: str) -> str:
        """Return the digest of a function whatever it is called with."""
        if name not in self._formal:
            if name in self._busy or len(self._busy) > DEEP:
                raise CannotCompare("a graph whose functions call themselves")
            self._busy.add(name)
            self._formal[name] = self._function(name, None)
            self._busy.discard(name)
        return self._formal[name]

    def call(self, name: str, inputs: list[str]) -> str:
        """Return the digest of a function as the top level calls it."""
        found = self._function(name, inputs)
        self.called.setdefault(name, set()).add(found)
        return found

    def _function(self, name: str, inputs: list[str] | None) -> str:
        function = self.library.get(name)
        if function is None:
            return digest("not in the library", COUNTER.sub("", name))
        signature = function.get("signature", {})
        wanted = signature.get("inputs", [])
        bound = inputs if inputs is not None and len(inputs) == len(wanted) else None
        given = bound or [digest("argument", n) for n in range(len(wanted))]
        names = [a.get("name", "") for a in wanted]
        body = Body(self, function.get("nodes", []), dict(zip(names, given, strict=True)))
        nodes = body.all()
        ret, control = function.get("ret", {}), function.get("control_ret", {})
        outputs = signature.get("outputs", [])
        kept = {k: v for k, v in signature.items() if k not in {"name", "inputs", "control"}}
        ends = [control.get(name, name) for name in signature.get("control", [])]
        return digest(
            kept,
            *self._arguments(function, wanted, given),
            sorted(nodes.get(end, end) for end in ends),
            [body.value(ret.get(o.get("name", ""), "")) for o in outputs],
            sorted(nodes[v] for v in control.values() if v in nodes),
            self.attributes(function.get("attr", {}), None),
            sorted(v for k, v in nodes.items() if k not in body.lists),
        )

    def _arguments(
        self, function: Mapping[str, Any], wanted: list[Any], given: list[str]
    ) -> tuple[list[Any], list[str]]:
        """Return the open arguments in order, and the resources with what each is bound to."""
        attr = function.get("arg_attr", {})
        ordered, resources = [], []
        for n, held in enumerate(wanted):
            more = self._all_settled(attr.get(str(n)))
            if held.get("type") == RESOURCE:
                nameless = {k: v for k, v in held.items() if k != "name"}
                resources.append(digest(given[n], nameless, more))
            else:
                ordered.append((argument(held), more))
        return ordered, sorted(resources)

    def attributes(self, attr: Mapping[str, Any], inputs: list[str] | None) -> dict[str, Any]:
        """Return attributes with functions as digests and what names the machine left out."""
        found: dict[str, Any] = {}
        for key, value in attr.items():
            held = self.settled(key, value)
            if isinstance(held, Mapping) and "func" in held:
                name = held["func"].get("name", "")
                inner = self.attributes(held["func"].get("attr", {}), None)
                one = self.formal(name) if inputs is None else self.call(name, inputs)
                found[key] = (one, inner)
            elif isinstance(held, Mapping) and "func" in held.get("list", {}):
                functions = held["list"]["func"]
                found[key] = [self.formal(f.get("name", "")) for f in functions]
            else:
                found[key] = self._texts(held)
        return found

    def _all_settled(self, value: Any) -> Any:
        attr = (value or {}).get("attr", {})
        return {k: self.settled(k, v) for k, v in attr.items()}

    def settled(self, key: str, value: Any) -> Any:
        """Return one attribute without what a process made up and settings of the machine."""
        text = value.get("s") if isinstance(value, Mapping) else None
        if text is None:
            return value
        if key == "_user_specified_name" and text.isdigit():
            return "a captured object"
        if key == "shared_name":
            return {"s": self.shared.get(text, text)}
        if key == "api_implements":
            return {"s": UNIQUE.sub("#", text)}
        if key == "config_proto":
            data = memoryview(text.encode("utf-8", "surrogateescape"))
            return Message(data, Budget(10_000)).rest(*MACHINE)
        return {"s": COUNTER.sub("", text)} if TRACED.match(text) else value

    def _texts(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: self._texts(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._texts(v) for v in value]
        return self.text(value) if isinstance(value, str) else value


def _name(node: Node) -> str:
    return str(node.get("name", ""))


def _functions(node: Node) -> list[str]:
    """Return the functions that the attributes of a node name."""
    held = [a for a in node.get("attr", {}).values() if isinstance(a, Mapping)]
    many = [f for a in held for f in a.get("list", {}).get("func", [])]
    return [f.get("name", "") for f in (*(a["func"] for a in held if "func" in a), *many)]


def argument(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return an argument of a function without the counters in its name; its place stays."""
    return {**held, "name": DIGITS.sub("#", held.get("name", ""))}


def _made_up(nodes: list[Node]) -> dict[str, str]:
    """Return names of resources that a process made up, by the nodes of the top level they name."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        text = node.get("attr", {}).get("shared_name", {}).get("s", "")
        if text.isdigit() or UNIQUE.search(text):
            found.setdefault(text, []).append(_name(node))
    return {text: f"the resource of {sorted(names)}" for text, names in found.items()}


class Body:
    """The nodes of one graph or function, each with its digest; `lists` only name what is saved."""

    def __init__(
        self, program: Program, nodes: list[Node], given: dict[str, str], *, top: bool = False
    ) -> None:
        self.program, self.given, self.top = program, given, top
        self.nodes = {n.get("name", ""): n for n in nodes}
        if len(self.nodes) != len(nodes):
            raise CannotCompare("a graph with two nodes of one name")
        self.lists: set[str] = set()
        self.saved: dict[str, list[str]] = {}
        self.done: dict[str, str] = {}

    def all(self) -> dict[str, str]:
        """Return the digest of every node, inputs before what uses them."""
        for name in sorted(self.nodes):
            waiting, open_names = [name], set()
            while waiting:
                at = waiting[-1]
                if at in self.done:
                    waiting.pop()
                    continue
                self.program.steps.spend()
                below = [] if at in open_names else self._missing(at)
                open_names.add(at)
                if below:
                    waiting += [b for b in below if b not in open_names]
                else:
                    self.done[at] = self._digest(self.nodes[at])
                    waiting.pop()
        return self.done

    def _missing(self, name: str) -> list[str]:
        inputs = (_source(i) for i in self.nodes[name].get("inputs", []))
        return [i for i in inputs if i in self.nodes and i not in self.done]

    def value(self, reference: str) -> str:
        """Return the digest of one output of a node, or of an argument."""
        name, _, output = reference.partition(":")
        if name in self.given:
            return self.given[name]
        node = self.nodes.get(name)
        if node is not None and node.get("op") == "RestoreV2" and (held := self._saved(node)):
            number = output.rpartition(":")[2] or "0"
            if number.isdigit() and int(number) < len(held):
                return digest("restored", self.value(node["inputs"][0]), held[int(number)])
        # An open cycle (a loop of TensorFlow 1) is told by name; such graphs keep their names.
        return digest(self.done.get(name, name), output if output != "0" else "")

    def _digest(self, node: Node) -> str:
        inputs = [i for i in node.get("inputs", []) if not i.startswith("^")]
        control = sorted(self.value(i[1:]) for i in node.get("inputs", []) if i.startswith("^"))
        saved = self._saved(node)
        if saved:
            tensors = [self.value(i) for i in inputs[3:]] or [""] * len(saved)
            held = sorted(zip(saved, tensors, strict=False))
            values: Any = [self.value(inputs[0]), held, *map(self._list, inputs[1:3])]
        else:
            values = [self.value(i) for i in inputs]
        bound = values if self.top and node.get("op") in CALLS else None
        attr = {k: v for k, v in node.get("attr", {}).items() if not (saved and k == "dtypes")}
        attributes = self.program.attributes(attr, bound)
        if bound is not None:
            attributes |= _by_input(attributes, values)
            values = sorted(values)
        name = node.get("name", "") if self.top else ""
        more = node.get("full_type", ""), node.get("device", "")
        return digest(node.get("op", ""), name, more, attributes, values, control)

    def _saved(self, node: Node) -> list[str]:
        """Return what a node saves or restores, in its order: name, slice and type of each."""
        if node.get("op") not in {"SaveV2", "RestoreV2"}:
            return []
        name = _name(node)
        if name not in self.saved:
            self.saved[name] = self._rows(node, node.get("inputs", []))
        return self.saved[name]

    def _rows(self, node: Node, inputs: list[str]) -> list[str]:
        if len(inputs) < 3:
            return []
        names, slices = self._strings(inputs[1]), self._strings(inputs[2])
        types = node.get("attr", {}).get("dtypes", {}).get("list", {}).get("type", [])
        tensors = len(inputs) - 3 if node["op"] == "SaveV2" else len(names)
        if not names or not len(names) == len(slices) == len(types) == tensors:
            return []
        self.lists |= {_source(inputs[1]), _source(inputs[2])}
        rows = zip(names, slices, types, strict=True)
        return [digest(self.program.text(n), s, t) for n, s, t in rows]

    def _list(self, reference: str) -> str:
        """Return the digest of a list of names, without those names and their order."""
        node = self.nodes[_source(reference)]
        attr = dict(node.get("attr", {}))
        value = attr.pop("value", {}).get("tensor", {})
        shape = {k: v for k, v in value.items() if k != "strings"}
        rest = {k: v for k, v in node.items() if k not in {"name", "debug", "attr"}}
        return digest(reference.partition(":")[2], rest, self.program.attributes(attr, None), shape)

    def _strings(self, reference: str) -> list[str]:
        node = self.nodes.get(_source(reference), {})
        held = node.get("attr", {}).get("value", {}).get("tensor")
        found = held.get("strings") if isinstance(held, Mapping) else None
        return found if node.get("op") == "Const" and found else []


def _by_input(attributes: Mapping[str, Any], values: list[str]) -> dict[str, Any]:
    """Return the attributes of a call that follow the order of its inputs, by input instead."""
    found: dict[str, Any] = {}
    for key in ("Tin", "_input_shapes"):
        held = (attributes.get(key) or {}).get("list", {})
        rows = [sorted(zip(values, v, strict=False)) for v in held.values() if _fits(v, values)]
        if rows and len(rows) == len(held):
            found[key] = rows
    places = (attributes.get(READ) or {}).get("list", {}).get("i", [])
    if places and all(0 <= at < len(values) for at in places):
        found[READ] = sorted(values[at] for at in places)
    return found


def _fits(held: Any, values: list[str]) -> bool:
    return isinstance(held, list) and len(held) == len(values)


READ = "_read_only_resource_inputs"


def _source(reference: str) -> str:
    return reference.removeprefix("^").partition(":")[0]
