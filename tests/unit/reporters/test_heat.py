"""The heat map: every layer in model order, told by number and by hue, nothing unescaped."""

import math
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.reporters import heat, trees

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unit.reporters import samples


def tensor(name, status="IDENTICAL", **distances):
    found = samples.node(name, recorded="float32 [2, 2]", status=status)
    return {**found, "distances": samples.distances(**distances)} if distances else found


def model(*layers):
    return samples.node("model", *layers)


def drawn(found):
    return [node for node in ET.fromstring(heat.picture(found)).iter() if node.tag.endswith("text")]


def test_layers_stand_in_model_order_and_names_as_people_sort_them():
    names = [f"layers.{n}.weight" for n in range(12)]
    by_text = model(*(tensor(n) for n in sorted(names)))
    assert [layer.name for layer in heat.layers(by_text)] == names
    own = model(tensor("out"), tensor("in"), tensor("middle"))
    assert [layer.name for layer in heat.layers(own)] == ["out", "in", "middle"]


def test_a_layer_is_named_by_its_whole_path_and_scalars_are_no_layers():
    inner = samples.node("dense", tensor("kernel"), tensor("bias"))
    scalar = samples.node("step", recorded="3", reproduced="4")
    tree = model(samples.node("params", inner), scalar)
    assert [layer.name for layer in heat.layers(tree)] == [
        "params.dense.kernel",
        "params.dense.bias",
    ]


def test_what_long_names_share_is_left_out_of_the_picture_and_kept_in_the_table():
    names = [f"variables.data-of-00001/{n}/kernel/.ATTRIBUTES/VALUE" for n in ("one", "two")]
    assert heat.labels(names) == ["one", "two"]
    assert heat.labels([names[0]] * 2) == [names[0]] * 2
    assert heat.labels(["layers.0.weight", "layers.1.weight"])[1] == "layers.1.weight"
    assert heat.labels([]) == []
    page = trees.html(model(*(tensor(n) for n in names)), "a", "b")
    assert ">one<" in page
    assert f"<td>{names[0]}</td>" in page


def test_every_number_is_said_and_hue_tells_whether_the_tolerance_holds():
    far = tensor("far", "DIFFERENT", rel_l2=0.5, max_abs=2.0, ulp_p50=7.0, ulp_p99=9000.0)
    near = tensor("near", "WITHIN_TOLERANCE", rel_l2=1e-9, max_abs=1e-8, ulp_p50=0.0, ulp_p99=1.0)
    found = heat.layers(model(tensor("same"), far, near))
    said = [node.text for node in drawn(found)]
    assert {"0.5", "2", "7", "9000", "1e-09", "25.00%", "="} <= set(said)
    fills = {layer.name: heat._cell(layer, "rel_l2")[0] for layer in found}
    red, _, blue = (int(fills["far"][at : at + 2], 16) for at in (1, 3, 5))
    assert red > blue
    red, _, blue = (int(fills["near"][at : at + 2], 16) for at in (1, 3, 5))
    assert blue > red
    assert fills["same"] == "#ffffff"


@pytest.mark.parametrize("hue", [heat.BLUES, heat.ORANGES])
def test_farther_is_darker_for_every_kind_of_colour_vision(hue):
    def light(colour):
        return sum(c * w for c, w in zip(colour, (0.2126, 0.7152, 0.0722), strict=True))

    assert light(hue[0]) > 200
    assert light(hue[1]) < 70


@pytest.mark.parametrize("value", ["Infinity", "NaN", math.inf, None, "words"])
def test_what_is_no_finite_number_is_drawn_all_the_same(value):
    found = heat.layers(model(tensor("a", "DIFFERENT", rel_l2=value), tensor("b")))
    ET.fromstring(heat.picture(found))


@pytest.mark.parametrize("status", ["MISSING", "EXTRA", "UNCOMPARABLE", "DIFFERENT"])
def test_a_layer_without_distances_says_why(status):
    other = samples.node("b", status=status, recorded="int64 [3]", reproduced="int64 [4]")
    said = [node.text for node in drawn(heat.layers(model(tensor("a"), other)))]
    assert any(t.startswith(status) and "int64 [4]" in t for t in said)
    assert said.count("=") == len(heat.COLUMNS)


def test_of_many_layers_all_are_in_the_overview_and_the_farthest_in_full():
    many = [tensor(f"l{n}", "WITHIN_TOLERANCE", rel_l2=1e-9 * (n + 1)) for n in range(400)]
    many[7] = tensor("worst", "DIFFERENT", rel_l2=0.5)
    found = heat.layers(model(*many))
    shown = heat.farthest(found)
    assert (len(shown), shown[0].name) == (heat.MOST_ROWS, "worst")
    page = trees.html(model(*many), "a", "b")
    assert page.count('stroke-width=".5"') == 400
    assert "All 400 layers first" in page


def test_of_many_layers_equal_ones_are_in_the_overview_alone():
    many = [tensor(f"l{n}", "IDENTICAL") for n in range(400)]
    assert len(heat.farthest(heat.layers(model(*many)))) == heat.MOST_ROWS
    many[390] = tensor("near", "WITHIN_TOLERANCE", rel_l2=1e-17)
    assert [layer.name for layer in heat.farthest(heat.layers(model(*many)))] == ["near"]


def test_the_table_has_the_same_rows_as_the_picture():
    layers = [tensor("a"), tensor("b", "DIFFERENT", rel_l2=0.125)]
    page = trees.html(model(*layers), "a", "b")
    assert "The same as a table" in page
    assert "<td>0.125</td>" in page


def test_histograms_are_summed_over_the_model():
    one = tensor("a", "DIFFERENT", histogram=[1, 2])
    two = tensor("b", "DIFFERENT", histogram=[4, 0, 8], ulp_sampled=True)
    assert heat.histogram(model(one, two)) == ([5, 2, 8], True)
    page = trees.html(model(one, two), "a", "b")
    assert "every n-th value" in page
    assert "All values by distance in ULP" in page
    assert "distance in ULP" not in trees.html(model(tensor("a"), tensor("b")), "a", "b")


def test_hostile_names_and_values_stay_text():
    evil = samples.EVIL
    layers = [
        samples.node(evil, recorded="float32 [2]", status=evil, distances=samples.distances()),
        samples.node(f'" onload="x{evil}', recorded="float32 [2]", status="MISSING"),
    ]
    found = heat.layers(model(*layers))
    ET.fromstring(heat.picture(found))
    ET.fromstring(heat.overview(found))
    page = trees.html(model(*layers), evil, evil)
    assert "<script" not in page
    assert not re.search(r'<[^>]*" onload="', page)


def test_the_page_counts_values_and_a_deep_tree_is_cut():
    page = trees.html(samples.node("m", tensor("a"), tensor("b"), values=1234), "a", "b")
    assert "1234 values" in page
    tree = inner = samples.node("top")
    for index in range(3000):
        inner["children"] = [samples.node(f"n{index}")]
        inner = inner["children"][0]
    inner |= tensor("leaf")
    assert len(heat.layers(tree)[0].name) <= heat.LONGEST


def test_the_legend_is_whole_markup():
    ET.fromstring(heat.legend())
