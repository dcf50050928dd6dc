"""Pickles on paper: nothing that loads differently may look the same."""

import pickle
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest

from harness.comparators import family
from harness.model import Status, Tolerance, ToleranceRule

NAME = b"\x80\x04cbuiltins\nlen\n."
CALL = b"\x80\x04cbuiltins\nlen\n)R."


class Held:
    pass


def held(**attributes):
    found = Held()
    found.__dict__.update(attributes)
    return found


def compared(folder, one, two, **more):
    paths = folder / "a.pkl", folder / "b.pkl"
    for path, content in zip(paths, (one, two), strict=True):
        data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=4)
        path.write_bytes(data)
    return family.compare(*paths, "m.pkl", **more)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([1, 2], (1, 2)),
        (list(range(20)), tuple(range(20))),
        (list(range(20)), np.arange(20)),
        ({"a": {1, 2}}, {"a": frozenset({1, 2})}),
        ({1, 2}, {"(set)": [1, 2]}),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ([b"ab"], ["ab"]),
        ([b"ab"], ["bytes 6162"]),
        ([b"x" * 99], [np.frombuffer(b"x" * 99, "u1")]),
        (NAME, "name builtins.len"),
        (CALL, {"(call)": "name builtins.len"}),
        (OrderedDict(a=1), {"a": 1}),
        (held(a=1), held(b=1)),
        (held(a=1), held(a=1, b=2)),
        (partial(print, 1), partial(print, 2)),
        (np.arange(4), np.arange(4).reshape(2, 2)),
        (np.arange(4), np.arange(4.0)),
        (np.arange(4).view(np.ndarray), np.arange(4).view(np.recarray)),
        ({"a": 1, 1: "a"}, {"a": 1, "1": "a"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_loads_differently_is_different(tmp_path, one, two):
    assert compared(tmp_path, one, two).status == Status.DIFFERENT


def test_a_call_that_is_thrown_away_still_counts(tmp_path):
    hidden = NAME[:2] + CALL[2:-1] + b"0" + NAME[2:]
    found = compared(tmp_path, NAME, hidden)
    assert found.status == Status.DIFFERENT
    assert "(discarded)" in found.reason


def test_an_attribute_cannot_stand_in_for_the_class(tmp_path):
    honest, forged = held(), held(**{"(new)": "name builtins.len"})
    assert compared(tmp_path, honest, forged).status == Status.DIFFERENT


def test_a_shared_object_may_be_pickled_once_or_as_equal_text(tmp_path):
    word = "".join(["sh", "ared"])
    found = compared(tmp_path, [word, word], ["".join(["sh", "ared"]), "".join(["shar", "ed"])])
    assert found.status == Status.EXACT
    assert [part.what for part in found.set_aside] == ["memo and framing"]


def test_memory_order_is_not_content(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    assert compared(tmp_path, array, np.asfortranarray(array)).status == Status.EXACT


def test_attributes_are_named_for_tolerances(tmp_path):
    rule = ToleranceRule("coef_", rtol=1e-6, rationale="threads")
    near = held(coef_=np.array([1.0, 2.0 + 1e-9]), n=1)
    found = compared(tmp_path, held(coef_=np.array([1.0, 2.0]), n=1), near)
    assert found.status == Status.DIFFERENT
    assert "coef_ at index [1]" in found.reason
    tolerated = compared(
        tmp_path, held(coef_=np.array([1.0, 2.0]), n=1), near, tolerance=Tolerance((rule,))
    )
    assert tolerated.status == Status.WITHIN_TOLERANCE


def test_what_loading_would_import_is_listed_whether_it_differs_or_not(tmp_path):
    from collections import OrderedDict
    from fractions import Fraction

    held = {"a": OrderedDict(x=1), "b": Fraction(1, 3)}
    paths = [tmp_path / f"{n}.pkl" for n in (2, 4)]
    for protocol, path in zip((2, 4), paths, strict=True):
        path.write_bytes(pickle.dumps(held, protocol=protocol))
    found = family.compare(*paths, "m")
    assert found.status == Status.EXACT
    (told,) = (c for c in found.children if c.name == "(imports)")
    assert told.status == Status.IDENTICAL
    assert "which was not done: 1 of collections, 1 of fractions" in told.reason
    paths[1].write_bytes(pickle.dumps({"a": OrderedDict(x=1), "b": print}, protocol=4))
    found = family.compare(*paths, "m")
    (told,) = (c for c in found.children if c.name == "(imports)")
    assert told.status == Status.DIFFERENT
    assert "1 of builtins" in told.reason
    assert "builtins.print" in found.reason


def two_pickles(tmp_path, one, two):
    paths = tmp_path / "a.pkl", tmp_path / "b.pkl"
    for path, value in zip(paths, (one, two), strict=True):
        path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=4))
    return paths


def test_times_differ_by_their_unit_though_their_numbers_agree(tmp_path):
    one, two = (np.arange(3).astype(f"M8[{unit}]") for unit in ("s", "ms"))
    assert family.compare(*two_pickles(tmp_path, one, two), "m").status == Status.DIFFERENT
    one, two = (np.arange(3).astype(f"m8[{count}s]") for count in (1, 5))
    assert family.compare(*two_pickles(tmp_path, one, two), "m").status == Status.DIFFERENT
    later = np.arange(3).astype("M8[s]")
    later[1] += 1
    found = family.compare(*two_pickles(tmp_path, np.arange(3).astype("M8[s]"), later), "m")
    assert (found.status, "index [1]" in found.reason) == (Status.DIFFERENT, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"numpy._core.multiarray", b"numpy.xcore.multiarray"),  # another module's function
        (b"K\x10t\x94b", b"K\x11t\x94b"),  # the flags of a structured type
    ],
)
def test_what_an_array_would_be_rebuilt_by_is_compared(tmp_path, old, new):
    values = np.zeros(4, [("a", "f8"), ("b", "i4")])
    data = pickle.dumps(values, protocol=4)
    if b"numpy._core" not in data:
        old, new = old.replace(b"_core", b"core"), new.replace(b"xcore", b"xore")
    assert old in data
    found = family.compare(*two_pickles(tmp_path, data, data.replace(old, new)), "m")
    assert found.status == Status.DIFFERENT


@pytest.mark.parametrize("align", [True, False])
def test_structured_arrays_are_compared_by_field(tmp_path, align):
    kind = np.dtype([("a", "f8"), ("b", "u1"), ("c", "M8[ns]")], align=align)
    one = np.zeros(4, kind)
    two = one.copy()
    two["b"][2] = 1
    found = family.compare(*two_pickles(tmp_path, one, two), "m")
    assert (found.status, found.reason) == (
        Status.DIFFERENT,
        "first difference: (fields).b at index [2]",
    )
