"""TensorFlow's graph of tracked objects: paths instead of node numbers, Keras's set as a set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.comparators.base import CannotCompare
from harness.comparators.protobuf import Budget, Message
from harness.comparators.tf_wire import decode

SET = "_all_variables"
SET_ORDER = "Keras keeps these variables in a set, whose order follows memory addresses"
KEY = re.compile(rf"{SET}/(\d+)/")
KEYS = "/.ATTRIBUTES/"


def members(nodes: list[dict[str, Any]], name: Any) -> dict[str, str]:
    """Return a name for each member of Keras's set by its number, none where names are not unique.

    `name` returns what a node calls itself.
    """
    top = nodes[0].get("children", []) if nodes else []
    held = next((r.get("node", 0) for r in top if r.get("name") == SET), None)
    if held is None or not 0 <= held < len(nodes):
        return {}
    children = nodes[held].get("children", [])
    places = {r.get("name", ""): r.get("node", 0) for r in children}
    if any(not 0 <= at < len(nodes) for at in places.values()):
        return {}
    found = {number: name(nodes[at]) for number, at in places.items()}
    return found if all(found.values()) and len(set(found.values())) == len(found) else {}


def renamed(key: str, names: Mapping[str, str]) -> str:
    """Return the key of a checkpoint with the member's name in place of its number in the set."""
    found = KEY.match(key)
    return f"{SET}/{names[found[1]]}/{key[found.end() :]}" if found and found[1] in names else key


def trackables(view: memoryview) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the nodes of a TrackableObjectGraph and its names for Keras's set."""
    nodes = decode(Message(view, Budget(fields=1_000_000)), "Trackables").get("nodes", [])
    return nodes, members(nodes, _full_name)


def model_names(view: memoryview, budget: Budget) -> dict[str, str]:
    """Return the names for Keras's set of variables that a SavedModel's first graph holds."""
    for graph in Message(view, budget).messages(2):
        objects = graph.message(7)
        nodes = decode(objects, "Objects").get("nodes", []) if objects else []
        return members(nodes, variable_name)
    return {}


def variable_name(node: Mapping[str, Any]) -> str:
    """Return the name of a variable as a SavedModel tracks it."""
    return str(node.get("variable", {}).get("name", ""))


def _full_name(node: Mapping[str, Any]) -> str:
    held = node.get("attributes", [])
    return str(held[0].get("full_name", "")) if len(held) == 1 else ""


def canonical(view: memoryview) -> Any:
    """Return a TrackableObjectGraph by path. Raises: CannotCompare when it is none."""
    nodes, names = trackables(view)
    paths = by_path(nodes, names)
    return {
        path: {
            **{k: v for k, v in nodes[at].items() if k not in LINKS},
            "attributes": [
                {**a, "key": renamed(a.get("key", ""), names)}
                for a in nodes[at].get("attributes", [])
            ],
            **links(nodes[at], paths, names if path == f"/{SET}" else {}),
        }
        for at, path in paths.items()
    }


LINKS = {"children", "dependencies", "slots"}


def by_path(nodes: list[dict[str, Any]], names: Mapping[str, str]) -> dict[int, str]:
    """Return the first path to every node from the root, breadth first, children by name."""
    paths, waiting = ({0: ""}, [0]) if nodes else ({}, [])
    for at in waiting:
        inside = names if paths[at] == f"/{SET}" else {}
        for name, node in sorted(_children(nodes[at], inside, len(nodes))):
            if node not in paths:
                paths[node] = f"{paths[at]}/{name}"
                waiting.append(node)
    lost = [n for n in range(len(nodes)) if n not in paths]
    return paths | {n: f"(unreached) {i}" for i, n in enumerate(lost)}


def _children(
    node: Mapping[str, Any], names: Mapping[str, str], count: int
) -> list[tuple[str, int]]:
    found = [(r.get("name", ""), r.get("node", 0)) for r in node.get("children", [])]
    if any(not 0 <= at < count for _, at in found):
        raise CannotCompare("an object graph that points out of itself")
    return [(names.get(name, name), at) for name, at in found]


def links(
    node: Mapping[str, Any], paths: Mapping[int, str], names: Mapping[str, str]
) -> dict[str, Any]:
    """Return where a node points, as paths."""
    found: dict[str, Any] = {}
    for kind in ("children", "dependencies"):
        rows = [(r.get("name", ""), paths.get(r.get("node", 0), "?")) for r in node.get(kind, [])]
        if rows:
            found[kind] = dict(sorted((names.get(n, n), p) for n, p in rows))
    slots = [
        [s.get("name", ""), *(paths.get(s.get(k, 0), "?") for k in ("original", "variable"))]
        for s in node.get("slots", [])
    ]
    return found | ({"slots": sorted(slots)} if slots else {})
