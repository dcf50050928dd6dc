"""Which paths belong together: event files of two runs, shards, stores."""

import random

import pytest

from harness.comparators.events import pairing_key
from harness.comparators.units import Unit, units

EVENT = "events.out.tfevents"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (f"logs/{EVENT}.1700000000.alpha.123.0", f"logs/{EVENT}.1800000009.beta.lan.9.1"),
        (f"{EVENT}.1700000000.alpha.12.5.v2", f"{EVENT}.1700000001.b-2.c.77.1.v2"),
        (f"{EVENT}.1700000000.alpha.example.org", f"{EVENT}.1700000001.beta"),
        (f"{EVENT}.1700000000.alpha.12.5_train", f"{EVENT}.1700000001.beta.8.0_train"),
    ],
)
def test_time_host_and_process_do_not_name_an_event_file(one, two):
    assert pairing_key(one) == pairing_key(two)
    assert units([one], [two]) == (Unit(one, "events", (one,), (two,)),)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (f"a/{EVENT}.1700000000.h.1.0", f"b/{EVENT}.1700000000.h.1.0"),
        (f"{EVENT}.1700000000.h.1.0.v2", f"{EVENT}.1700000000.h.1.0"),
        (f"{EVENT}.1700000000.h.1.0_train", f"{EVENT}.1700000000.h.1.0_test"),
        ("metrics.1700000000.json", "metrics.1700000001.json"),
    ],
)
def test_what_a_path_says_beside_them_keeps_files_apart(one, two):
    assert pairing_key(one) != pairing_key(two)
    assert units([one], [two]) == ()


def test_the_files_of_two_runs_are_paired_in_the_order_they_were_begun():
    left = [f"{EVENT}.170000000{n}.h.5.{n}" for n in (2, 1, 3)]
    right = [f"{EVENT}.180000000{n}.g.6.{n}" for n in (7, 5)]
    found = [(u.left[0][-1], u.right[0][-1]) for u in units(left, right)]
    assert found == [("1", "5"), ("2", "7")]


def test_a_writer_counts_beyond_nine():
    left = [f"{EVENT}.1700000000.h.5.{n}" for n in (10, 9)]
    right = [f"{EVENT}.1800000000.h.5.{n}" for n in (9, 10)]
    assert [u.right[0][-2:] for u in units(left, right)] == [".9", "10"]


ONE = ["m/model.safetensors", "m/config.json"]
INDEX = "m/model.safetensors.index.json"
TWO = [INDEX, *(f"m/model-0000{n}-of-00002.safetensors" for n in (1, 2)), "m/config.json"]


def test_one_file_and_shards_belong_together_and_nothing_else_does():
    (found,) = units(ONE, TWO)
    assert (found.name, found.kind) == ("m/model.safetensors", "shards")
    assert found.left == ("m/model.safetensors",)
    assert sorted(found.right) == sorted(TWO[:3])
    assert units(ONE, ONE) == ()
    assert units(ONE, ["other/model.safetensors"]) == ()


def test_shards_without_their_index_stay_single_files():
    assert units(ONE, TWO[1:]) == ()
    assert units(TWO, [INDEX]) == ()


def test_a_store_is_what_its_manifest_holds_and_an_array_what_lies_in_its_folder():
    store = ["s/manifest.ocdbt", "s/d/ab12", "s/ocdbt.process_0/d/cd", "s/_METADATA"]
    other = ["s/manifest.ocdbt", "s/d/ffff", "s/_METADATA"]
    (found,) = units(store, other)
    assert (found.name, found.right) == ("s", ("s/d/ffff", "s/manifest.ocdbt"))
    assert "s/_METADATA" not in found.left
    array = ["a/w/.zarray", "a/w/0.0", "a/x/zarr.json", "a/x/c/0", "a/zarr.json"]
    assert [u.name for u in units(array, array)] == ["a/w", "a/x"]


def test_no_path_is_ever_in_two_units_or_lost():
    chance = random.Random(5)
    parts = ["d", "a", "manifest.ocdbt", ".zarray", "zarr.json", "c", "0", "m.safetensors",
             "m.safetensors.index.json", "m-00001-of-00001.safetensors", "ocdbt.process_0",
             f"{EVENT}.1700000000.h.1.0", f"{EVENT}.1700000001.h.1.0", "x.json"]  # fmt: skip
    for _ in range(300):
        sides = [
            {"/".join(chance.choices(parts, k=chance.randint(1, 3))) for _ in range(12)}
            for _ in range(2)
        ]
        found = units(*sides)
        for place, side in zip(("left", "right"), sides, strict=True):
            used = [p for u in found for p in getattr(u, place)]
            assert len(used) == len(set(used))
            assert set(used) <= side
            assert all(getattr(u, place) for u in found)
