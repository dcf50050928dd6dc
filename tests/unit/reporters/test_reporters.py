"""Every reporter shows every outcome, verdict first, and takes no name at its word."""

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from harness import reporters
from harness.model import Difference, Distances, SetAside, Status
from harness.record import plain
from harness.tables import load

EVIL = "<script>alert(1)</script> `x` | @team \x00\x1b[31m"
LEAF = Difference(
    EVIL,
    Status.DIFFERENT,
    "safetensors@1",
    values=8,
    distances=Distances(8, 3, 3, 0.5, float("inf"), 0.25, first=(1, 2), histogram=(5, 2, 1)),
    set_aside=(SetAside(EVIL, EVIL),),
)
OTHER = Difference("layer.1", Status.IDENTICAL, values=8, recorded="float32 [8]")
TREE = Difference("m.safetensors", Status.DIFFERENT, values=16, children=(LEAF, OTHER))
NO = {"meets": False, "reasons": [EVIL], "policy_digest": "d"}
YES = {"meets": True, "reasons": [], "policy_digest": "d"}


def record(outcome, grade=None, cause=None, **more):
    return {
        "schema": 1,
        "id": "r1",
        "model": EVIL,
        "version": "3",
        "outcome": outcome,
        "grade": grade,
        "cause": cause,
        "conditional": [],
        "reasons": [EVIL],
        "stages": [{"name": "resolve", "status": "failed", "seconds": 0.1}],
        "created_at": "2026-11-23T00:00:00Z",
        **more,
    }


def whole(outcome, grade=None, cause=None):
    curve = [[float(n), 1.0 / (n + 1)] for n in range(9)]
    later = [[s, v + (0.01 if s > 4 else 0)] for s, v in curve]
    artifact = {
        "path": EVIL,
        "role": "model",
        "grade": "DIFFERENT",
        "recorded_sha256": "a" * 64,
        "reproduced_sha256": "b" * 64,
        "distances": plain(LEAF.distances),
        "difference": plain(TREE),
    }
    return record(
        outcome,
        grade,
        cause,
        conditional=["profile: threads=2 was set for this replay", EVIL],
        artifacts=[artifact],
        lineage={"annotations": {"curves": {"loss": curve}}, "recipe_text": EVIL, "code": {}},
        runs=[{"curves": {"loss": later}, "sandbox": "bubblewrap", "log_tail": EVIL, "seconds": 2}],
        hardware={"recorded": {"threads": {"OMP": 1}}, "reproduced": {"threads": {"OMP": 2}}},
    )


SAMPLES = [
    (whole("REPRODUCED", "TOLERANCE"), YES),
    (whole("REPRODUCED", "BEHAVIOURAL"), NO),
    (whole("DIVERGED", cause="FLAKY"), NO),
    (whole("DIVERGED", cause="STABLE"), NO),
    *((record(o), NO) for o in ("TAMPERED", "INCOMPLETE_LINEAGE", "ERROR", "RERUN_FAILED")),
]


@pytest.fixture(params=range(len(SAMPLES)))
def sample(request):
    return SAMPLES[request.param]


def render(name, sample):
    return load(reporters.TABLE, name, group=reporters.GROUP)().render(*sample)


class Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in {"src", "href", "onload", "onclick"}]


def test_the_page_is_inert_and_loads_nothing(sample):
    seen = Seen()
    seen.feed(render("html", sample))
    assert "script" not in seen.tags
    assert seen.links == []
    assert "h1" in seen.tags


def test_the_page_shows_curves_layers_and_conditions_first():
    page = render("html", SAMPLES[2])
    assert page.index("DIVERGED FLAKY") < page.index("threads=2") < page.index("sha256")
    assert "first at step 5" in page
    assert "relative L2 distance by layer" in page
    assert "values by distance in ULP" in page


def test_text_begins_with_the_verdict_and_has_no_control_characters(sample):
    text = render("text", sample)
    assert text.startswith(sample[0]["outcome"])
    assert len(text.splitlines()) <= 60
    assert all(c.isprintable() for c in text.replace("\n", ""))


def test_json_is_the_record_and_the_decision(sample):
    found = json.loads(render("json", sample))
    assert found["outcome"] == sample[0]["outcome"]
    assert found["decision"]["meets"] is sample[1]["meets"]


def test_junit_fails_where_the_policy_is_not_met(sample):
    suite = ET.fromstring(render("junit", sample))
    policy = suite.find("testcase[@name='policy']")
    assert (policy.find("failure") is None) is sample[1]["meets"]
    assert int(suite.get("tests")) == len(suite.findall("testcase"))
    if sample[0]["outcome"] == "ERROR":
        assert int(suite.get("errors")) == 1


def test_markdown_escapes_names(sample):
    text = render("markdown", sample)
    assert text.startswith("### ")
    assert "<script" not in text
    assert "@team" not in text
    assert len(text.encode()) < 1 << 20
