"""Hostile graphs of TensorFlow: refused with a reason, or compared, never endless."""

import sys
import time
from pathlib import Path

import pytest

from harness.comparators import family
from harness.model import Status

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fuzz.saved_model_seed import attr, message, node, saved_model


def model(graph, objects=b"", times=1):
    meta = [(2, graph)] * times
    return message((1, 1), (2, message((1, message((4, "serve"))), *meta, (7, objects))))


def function(name, *nodes):
    return message((1, message((1, name))), *((3, n) for n in nodes))


def library(*functions):
    return message((1, node("x", "Abs")), (2, message(*((1, f) for f in functions))))


def calls(name):
    return node("call", "PartitionedCall", (), attr("f", (10, message((1, name)))))


def tensor(*fields):
    return message((1, node("c", "Const", (), attr("value", (8, message((1, 1), *fields))))))


def chain(levels):
    return library(*(function(f"f{n}_", calls(f"f{n + 1}_")) for n in range(levels)))


def wide(levels):
    """Each function calls the next one twice: followed naively, 2 to the power of `levels`."""
    twice = [
        function(
            f"f{n}_",
            calls(f"f{n + 1}_"),
            node("again", "PartitionedCall", (), attr("f", (10, message((1, f"f{n + 1}_"))))),
        )
        for n in range(levels)
    ]
    return message((1, calls("f0_")), (2, message(*((1, f) for f in twice))))


def dims(*sizes):
    return 2, message(*((2, message((1, size))) for size in sizes))


OUTSIDE = message((1, message((1, message((1, 99), (2, "a"))))))
REFUSED = {
    "recursive": (model(library(function("f_1", calls("f_1")))), "call themselves"),
    "mutual": (
        model(library(function("f", calls("g")), function("g", calls("f")))),
        "call themselves",
    ),
    "deep": (model(chain(300)), "call themselves"),
    "twice": (model(library(function("f"), function("f"))), "two functions of one name"),
    "nodes": (model(message((1, node("x", "Abs")), (1, node("x", "Neg")))), "two nodes"),
    "merged": (model(message((1, node("x", "Abs"))), times=2), "stands twice"),
    "claims": (model(tensor(dims(1 << 40))), "shape"),
    "cut": (model(tensor(dims(4), (4, b"abc"))), "claims"),
    "outside": (model(message((1, node("x", "Abs"))), OUTSIDE), "points out"),
    "tags": (
        message((1, 1), *((2, message((1, message((4, "serve"))), (2, b""))) for _ in range(2))),
        "two graphs",
    ),
    "attributes": (
        model(message((1, node("x", "Abs", (), attr("a", (3, 1)), attr("a", (3, 2)))))),
        "twice in one map",
    ),
}


def pair(tmp_path, one, two):
    paths = []
    for side, data in (("a", one), ("b", two)):
        paths.append(tmp_path / side / "saved_model.pb")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(data)
    return paths


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_graph_is_uncomparable_with_its_reason(name, tmp_path):
    data, said = REFUSED[name]
    start = time.monotonic()
    found = family.compare(*pair(tmp_path, data, saved_model()), "m")
    assert found.status == Status.UNCOMPARABLE
    assert "saved-model" in found.reason
    assert said in found.reason, found.reason
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "graph",
    [
        wide(40),
        message((1, node("a", "Abs", ("b",))), (1, node("b", "Neg", ("a",)))),
        message(*((1, node(f"n{n}", "Abs", (f"n{n + 1}",))) for n in range(20_000))),
    ],
    ids=["wide", "cycle", "long"],
)
def test_a_graph_that_would_be_endless_if_followed_naively_ends(graph, tmp_path):
    start = time.monotonic()
    paths = pair(tmp_path, model(graph), model(graph + message((4, message((1, 7))))))
    found = family.compare(*paths, "m")
    assert found.status == Status.DIFFERENT
    assert "versions" in found.reason
    assert time.monotonic() - start < 10


def test_the_seed_of_the_fuzzer_is_read(tmp_path):
    one = saved_model()
    two = one.replace(b"Placeholder", b"PlaceholdeR")
    found = family.compare(*pair(tmp_path, one, two), "m")
    assert (found.status, found.comparator) == (Status.DIFFERENT, "saved-model@1")
    assert "serve.nodes.x.op" in found.reason
