"""Every report says the verdict first, tells no untruth, and takes every name as text."""

from __future__ import annotations

import copy
import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from harness.reporters import charts, trees, words
from harness.reporters.html import HtmlReporter
from harness.reporters.json import JsonReporter
from harness.reporters.junit import JunitReporter
from harness.reporters.markdown import LIMIT, MarkdownReporter
from harness.reporters.text import TextReporter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unit.reporters import samples

ALL = [HtmlReporter, JsonReporter, JunitReporter, MarkdownReporter, TextReporter]
SHOWN = [HtmlReporter, MarkdownReporter, TextReporter]


@pytest.mark.parametrize("reporter", ALL)
def test_no_missing_key_crashes_a_report(reporter: Any) -> None:
    whole = samples.record()
    broken = [{}, *({k: v for k, v in whole.items() if k != key} for key in whole)]
    for family, keys in (("artifacts", whole["artifacts"][0]), ("stages", whole["stages"][0])):
        for key in keys:
            case = copy.deepcopy(whole)
            del case[family][0][key]
            broken.append(case)
    for case in broken:
        assert reporter().render(case, samples.REFUSED)
        assert reporter().render(case, {})


@pytest.mark.parametrize("reporter", SHOWN)
def test_the_verdict_comes_first(reporter: Any) -> None:
    text = reporter().render(samples.record(), samples.REFUSED)
    body = text.split("<body>")[-1]
    assert body.index("DIVERGED STABLE") < body.index("came out different")
    assert body.index("came out different") < body.index("does not meet the policy")
    assert body.index("another interpreter patch") < body.index("npz: second")


@pytest.mark.parametrize("reporter", ALL)
def test_a_reproduction_is_told_from_a_divergence(reporter: Any) -> None:
    same = reporter().render(samples.reproduced(), samples.MEETS)
    other = reporter().render(samples.record(), samples.REFUSED)
    assert "REPRODUCED" in same
    assert "DIVERGED" not in same
    assert "DIVERGED" in other


def test_no_tick_below_the_policy() -> None:
    assert "✓" in HtmlReporter().render(samples.reproduced(), samples.MEETS)
    assert "✓" not in HtmlReporter().render(samples.reproduced(), samples.REFUSED)


@pytest.mark.parametrize("reporter", [*SHOWN, JunitReporter])
def test_hostile_names_are_text(reporter: Any) -> None:
    text = reporter().render(samples.hostile(), samples.REFUSED)
    assert reporter is TextReporter or "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_markdown_takes_no_mention_pipe_or_heading_from_a_name() -> None:
    text = MarkdownReporter().render(samples.hostile(), samples.REFUSED)
    assert "@all" not in text
    assert "`x`" not in text
    assert "\n## " not in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "script" in line]
    assert [row.replace("\\|", "").count("|") for row in rows] == [5]


def test_the_page_needs_no_script_and_no_network() -> None:
    page = HtmlReporter().render(samples.record(), samples.REFUSED)
    assert "default-src 'none'" in page
    assert "src=" not in page.replace("default-src=", "")
    assert "<link" not in page
    assert "last line" in page
    assert "NOT pinned" in page


def test_a_text_report_fits_a_screen() -> None:
    many = [samples.artifact(f"m{i}") for i in range(99)]
    lists = {"reasons": ["r"] * 99, "conditional": ["c"] * 99, "artifacts": many}
    runs = [{"bootstrap": {"unseeded": [{"generator": "g", "count": 1}] * 99}}]
    text = TextReporter().render(samples.record(**lists, runs=runs), samples.REFUSED)
    assert len(text.splitlines()) <= 40
    assert "… and 94 more" in text


def test_markdown_fits_a_step_summary() -> None:
    many = [samples.artifact("`" * 4000) for _ in range(5000)]
    lists = {"reasons": ["*" * 9000] * 900, "artifacts": many}
    text = MarkdownReporter().render(samples.record(**lists), samples.REFUSED)
    assert len(text.encode()) <= LIMIT
    assert "4950 more are not shown" in text


def test_a_large_tree_stays_a_page_and_says_what_is_left_out() -> None:
    bins = samples.distances(histogram=[1] * 65)
    groups = [
        samples.node(f"g{i}", *(samples.node(f"l{j}", distances=bins) for j in range(200)))
        for i in range(50)
    ]
    tree = samples.node("root", *groups)
    for page in (
        HtmlReporter().render(
            samples.record(artifacts=[samples.artifact(difference=tree)]), samples.REFUSED
        ),
        trees.html(tree, "a", "b"),
    ):
        assert len(page) < 4 << 20
        assert "40 more parts are not shown here" in page


def test_a_deep_tree_is_cut_not_a_crash() -> None:
    tree = inner = samples.node("top")
    for index in range(3000):
        inner["children"] = [samples.node(f"n{index}")]
        inner = inner["children"][0]
    case = samples.record(artifacts=[samples.artifact(difference=tree)])
    assert "1 more parts" in HtmlReporter().render(case, samples.REFUSED)
    assert "1 more parts" in trees.html(tree, "a", "b")
    assert "more lines" in trees.text(tree)


def test_leaves_keep_model_order() -> None:
    tree = samples.node("r", samples.node("a", samples.node("b")), samples.node("c"))
    assert [(d, n["name"]) for d, n in words.leaves(tree)] == [
        (0, "r"),
        (1, "a"),
        (2, "b"),
        (1, "c"),
    ]


@pytest.mark.parametrize(
    ("recorded", "reproduced", "said"),
    [
        ([(0, 1.0), (1, 0.5)], [(0, 1.0), (1, 0.5)], "none at any shared step"),
        ([(0, 1.0), (1, 0.5)], [(0, 1.0), (1, 0.6)], "first at step 1"),
        ([(0, 1.0), (1, float("nan"))], [(0, 1.0), (1, 0.6)], "first at step 1"),
        ([(0, 1.0), (1, float("nan"))], [(0, 1.0), (1, float("nan"))], "none at any shared step"),
        ([(0, 1.0), (1, 0.5)], [(2, 1.0), (3, 9.0)], "not known: no step in common"),
        ([(0, 1.0), (1, 0.5)], [(0, 1.0)], "1 steps are on one side only"),
    ],
)
def test_a_history_says_where_it_differs(recorded: Any, reproduced: Any, said: str) -> None:
    assert said in charts.curves("loss", recorded, reproduced)


def _sides(part: str, was: Any, now: Any) -> list[tuple[str, str, str, bool]]:
    return words.pairs({part: {"recorded": was, "reproduced": now}})


def test_values_that_differ_beyond_what_is_shown_still_differ() -> None:
    rows = _sides("environment", {"libraries": "a" * 500 + "1"}, {"libraries": "a" * 500 + "2"})
    assert [row[3] for row in rows] == [True]


@pytest.mark.parametrize(("was", "now"), [({"python": "3.11"}, {}), ({}, {"python": "3.11"})])
def test_a_side_of_which_nothing_is_known_does_not_differ(was: Any, now: Any) -> None:
    assert [row[3] for row in _sides("environment", was, now)] == [False]


def test_the_page_says_when_no_environment_was_rebuilt() -> None:
    sides = {"recorded": {"python": "3.11"}, "reproduced": {}}
    gone = samples.record(outcome="SOURCE_UNAVAILABLE", environment=sides, hardware={})
    page = HtmlReporter().render(gone, samples.REFUSED)
    assert "No environment was rebuilt" in page
    assert '<tr class="differs"><td>environment: python</td>' not in page


def test_other_packages_and_cpu_flags_are_shown() -> None:
    numpy = [{"name": "numpy", "version": "1"}], [{"name": "numpy", "version": "2"}]
    rows = _sides("environment", {"inventory": numpy[0]}, {"inventory": numpy[1]})
    assert rows == [("package numpy", "1", "2", True)]
    rows = _sides("hardware", {"cpu_flags": ["avx", "sse"]}, {"cpu_flags": ["sse"]})
    assert rows == [("hardware: cpu flags on one side only", "avx", "", True)]
    assert _sides("environment", {"inventory": numpy[0]}, {"inventory": numpy[0]}) == []


def test_junit_counts_what_it_says() -> None:
    uncomparable = samples.artifact("x.bin", grade="UNCOMPARABLE")
    stages = [{"name": "compare", "status": "skipped", "seconds": 0.0}]
    case = samples.record(artifacts=[samples.artifact(), uncomparable], stages=stages)
    suite = ET.fromstring(JunitReporter().render(case, samples.REFUSED).encode())
    assert suite.get("name") == "digits/3"
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == [
        "10",
        "2",
        "1",
        "7",
    ]
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["cause"] == "STABLE"
    assert properties["grade"] == ""


def test_json_keeps_the_record_whole() -> None:
    answer = json.loads(JsonReporter().render(samples.hostile(), samples.REFUSED))
    assert answer == {**samples.hostile(), "decision": samples.REFUSED}


def test_a_difference_tree_by_itself() -> None:
    tree = samples.artifact()["difference"]
    tree["set_aside"] = [{"what": samples.EVIL, "why": samples.EVIL}]
    text, page = trees.text(tree), trees.html(tree, samples.EVIL, "b")
    assert "1 of 4 values differ" in text
    assert "\x1b" not in text
    assert "<script" not in page
    assert "How far each layer is apart" in page


@pytest.mark.parametrize("status", ["DIFFERENT", "MISSING", "EXTRA", "UNCOMPARABLE"])
def test_a_layer_of_another_shape_is_not_called_equal(status: str) -> None:
    same = samples.node("same", status="IDENTICAL", recorded="int64 [3]")
    other = samples.node("other", status=status, recorded="int64 [3]", reproduced="int64 [4]")
    picture, _ = charts.layers(samples.node("tree", same, other))
    assert picture.count(">equal<") == 1
    assert f">{status.lower()}<" in picture
