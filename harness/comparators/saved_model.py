"""TensorFlow SavedModels: signatures, tracked objects, nodes and functions, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, compare_documents, mapped
from harness.comparators.protobuf import Budget, Message
from harness.comparators.tensorflow import checkpoint_names
from harness.comparators.tf_objects import (
    KEYS,
    LINKS,
    SET,
    SET_ORDER,
    by_path,
    canonical,
    links,
    members,
    renamed,
    variable_name,
)
from harness.comparators.tf_program import COUNTER, TRACED, Program, argument, digest
from harness.comparators.tf_wire import decode
from harness.model import Difference

WRITER = "the version of TensorFlow that saved, and its definitions of the operations"
COUNTERS = "TensorFlow numbers functions, tables and captured objects in each process anew"
ORDER = "the order of nodes, functions and of what the saver is given carries no meaning"
NOTES = "source lines and names before optimisation, for people who debug"
FOLLOWS = "follows from the graph and the variables, which are compared"
RANDOM = "a random identifier, new with every save"
FREE = {"tf_version", "tf_git", "ops"}


class FingerprintComparator(DocumentComparator):
    """`fingerprint.pb` beside a SavedModel."""

    id = "tf-fingerprint"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named so and begins with a checksum."""
        return sniff.path.name == "fingerprint.pb" and sniff.head[:1] in {b"\x09", b"\x08"}

    def parse(self, path: Path, context: Context) -> Document:
        """Read one fingerprint."""
        message = Message(mapped(path, context.bounds.text), Budget(10_000))
        held = decode(message, "Fingerprint")
        why = {k: RANDOM if k == "uuid" else FOLLOWS for k in held if k != "version"}
        aside = {k: (held.pop(k), reason) for k, reason in why.items()}
        return Document(held or {"version": {}}, aside)


class SavedModelComparator(DocumentComparator):
    """`saved_model.pb`: the program and its interface."""

    id = "saved-model"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named so and begins with a schema version and a graph."""
        return sniff.path.name == "saved_model.pb" and sniff.head[:3] == b"\x08\x01\x12"

    def parse(self, path: Path, context: Context) -> Document:
        """Read one model into the form that `compare` takes apart."""
        view = mapped(path, context.bounds.member)
        whole = decode(Message(view, Budget(depth=context.bounds.depth * 4)), "SavedModel")
        aside: dict[str, tuple[Any, str]] = {}
        names = checkpoint_names(path.parent / "variables" / "variables", context)
        content = {"schema": whole.get("schema")}
        for graph in whole.get("meta", []):
            tags = ",".join(sorted(graph.get("info", {}).get("tags", []))) or "(no tags)"
            if tags in content:
                raise CannotCompare(f"two graphs with the tags {tags[:80]!r}")
            content[tags] = _Meta(graph, aside, names).content()
        content |= {k: v for k, v in whole.items() if k not in {"schema", "meta"}}
        return Document(content, aside)

    def compare(self, recorded: Path, reproduced: Path, context: Context) -> Difference:
        """Compare two models; parts whose digests agree are not walked through."""
        try:
            one, two = self.parse(recorded, context), self.parse(reproduced, context)
        except CannotCompare:
            raise
        except Exception as error:
            raise CannotCompare(f"{recorded.name}: malformed {self.id}: {error}") from error
        left, right = dict(one.content), dict(two.content)
        for tags in left.keys() & right.keys():
            if isinstance(left[tags], _Parts) and isinstance(right[tags], _Parts):
                left[tags], right[tags] = left[tags].against(right[tags])
        one, two = replace(one, content=left), replace(two, content=right)
        return compare_documents(one, two, recorded.name, self.id, context)


class _Parts(dict[str, Any]):
    """The content of one graph, with the digests of its nodes and functions beside it."""

    digests: Mapping[str, Mapping[str, str]]

    def against(self, other: _Parts) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return both sides with every node and function that computes the same as its digest."""
        one, two = dict(self), dict(other)
        for kind in ("nodes", "functions"):
            a, b = self.digests[kind], other.digests[kind]
            same = {k: v for k, v in a.items() if b.get(k) == v}
            one[kind], two[kind] = {**self[kind], **same}, {**other[kind], **same}
        return one, two


class _Meta:
    def __init__(
        self, graph: dict[str, Any], aside: dict[str, tuple[Any, str]], names: dict[str, str]
    ) -> None:
        self.held, self.aside = graph, aside
        self.objects = graph.get("objects", {}).get("nodes", [])
        found = members(self.objects, variable_name)
        self.set = found if found == names else {}  # the checkpoint must use the same names
        self.program = Program(graph.get("graph", {}), self.text, self._tracked())

    def content(self) -> _Parts:
        """Return what counts, and put aside what does not."""
        held, graph = dict(self.held), dict(self.held.get("graph", {}))
        info = held.pop("info", {})
        library = graph.get("library", {})
        functions = library.get("functions", [])
        nodes = graph.get("nodes", [])
        names = self.program.names
        for key in ("graph", "objects"):
            held.pop(key, None)
        found = _Parts(
            info=self._renamed({k: v for k, v in info.items() if k not in FREE}),
            signatures=held.pop("signatures", {}),
            nodes={n.get("name", ""): self._node(n) for n in nodes},
            functions={names[f["signature"]["name"]]: self._function(f) for f in functions},
            objects=self._objects(),
            library=self._renamed({k: v for k, v in library.items() if k != "functions"}),
            graph={k: v for k, v in graph.items() if k not in {"nodes", "library", "debug"}},
            **{f"{k} (other)" if k in RESERVED else k: self._renamed(v) for k, v in held.items()},
        )
        found.digests = {"nodes": self.program.nodes, "functions": self.program.functions}
        self._put("writer", {k: info.get(k) for k in sorted(FREE)}, WRITER)
        counters = [f["signature"]["name"] for f in functions], self.program.shared
        self._put("function counters", counters, COUNTERS)
        self._put("order", self._order(nodes, functions), ORDER)
        self._put("debug information", graph.get("debug"), NOTES)
        if self.set:
            self._put(f"order of {SET}", list(self.set.items()), SET_ORDER)
        return found

    def _put(self, what: str, value: Any, why: str) -> None:
        before = self.aside.get(what, ((), why))[0]
        self.aside[what] = ((*before, digest(value)), why)

    def _order(self, nodes: list[Any], functions: list[Any]) -> Any:
        """Return names in the order of the file, counters left out."""
        bodies = [[n.get("name") for n in f.get("nodes", [])] for f in functions]
        names = [self.program.names[f["signature"]["name"]] for f in functions]
        return [n.get("name") for n in nodes], names, bodies

    def text(self, text: str) -> Any:
        """Return a text of the graph with neither counters nor the order of Keras's set."""
        if KEYS not in text:
            return text
        if text.startswith("\n"):
            try:
                return canonical(memoryview(text.encode("utf-8", "surrogateescape")))
            except CannotCompare:
                return text
        return renamed(text, self.set)

    def _renamed(self, value: Any) -> Any:
        """Return a value with functions under names that do not change from process to process."""
        if isinstance(value, Mapping):
            return {self.program.names.get(k, k): self._renamed(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._renamed(v) for v in value]
        if isinstance(value, str):
            if TRACED.match(value) and value not in self.program.names:
                return COUNTER.sub("", value)
            return self.program.names.get(value, value)
        return value

    def _node(self, node: Mapping[str, Any]) -> Any:
        attr = {k: self.program.settled(k, v) for k, v in node.get("attr", {}).items()}
        rest = {k: v for k, v in node.items() if k not in {"name", "debug", "attr"}}
        return self._renamed({**rest, "attr": attr})

    def _function(self, function: Mapping[str, Any]) -> Any:
        signature = {k: v for k, v in function["signature"].items() if k != "name"}
        signature["inputs"] = [argument(a) for a in signature.get("inputs", [])]
        arg_attr = {
            n: {k: self.program.settled(k, v) for k, v in (held or {}).get("attr", {}).items()}
            for n, held in function.get("arg_attr", {}).items()
        }
        rest = {k: v for k, v in function.items() if k not in {"signature", "nodes", "arg_attr"}}
        nodes = {n.get("name", ""): self._node(n) for n in function.get("nodes", [])}
        found: dict[str, Any] = self._renamed({**rest, "arg_attr": arg_attr})
        return {**found, "signature": signature, "nodes": nodes}

    def _tracked(self) -> list[str]:
        """Return the functions that tracked objects name, by the paths of those objects."""
        paths = by_path(self.objects, self.set)
        found: list[str] = []
        for at in sorted(paths, key=lambda n: paths[n]):
            node = self.objects[at]
            found += node.get("function", {}).get("functions", [])
            found += [node.get(k, {}).get("function", "") for k in ("bare", "captured")]
        return found

    def _objects(self) -> Any:
        paths = by_path(self.objects, self.set)
        found: dict[str, Any] = {}
        for at, path in sorted(paths.items(), key=lambda item: item[1]):
            node = self.objects[at]
            rest = {k: v for k, v in node.items() if k not in LINKS | {"saveables"}}
            saved = {
                k: [paths.get(v.get(side, 0), "?") for side in ("save", "restore")]
                for k, v in node.get("saveables", {}).items()
            }
            inside = self.set if path == f"/{SET}" else {}
            found[path or "/"] = {
                **self._renamed(rest),
                **links(node, paths, inside),
                **({"saveables": saved} if saved else {}),
            }
        traced = self.held.get("objects", {}).get("functions", {})
        concrete = {
            name: {**held, "bound": [paths.get(n, "?") for n in held.get("bound", [])]}
            for name, held in traced.items()
        }
        return {"tracked": found, "functions": self._renamed(concrete)}


RESERVED = {"info", "signatures", "nodes", "functions", "objects", "library", "graph"}
