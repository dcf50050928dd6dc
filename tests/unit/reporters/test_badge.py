"""A badge says in words what was found, never more than that, and grows old."""

import sys
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.model import Grade, Outcome
from harness.reporters.badge import BadgeReporter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from unit.reporters import samples

SVG = "{http://www.w3.org/2000/svg}"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
MEETS, REFUSED = samples.MEETS, samples.REFUSED


def drawn(record, decision=MEETS, **more):
    root = ET.fromstring(BadgeReporter().render(record, decision, now=NOW, **more))
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert root.find(f"{SVG}title").text == ": ".join(texts) == root.get("aria-label")
    assert root.get("role") == "img"
    fills = [r.get("fill") for r in root.iter(f"{SVG}rect")]
    return texts[1], fills[1]


def found(grade, **more):
    created = {"created_at": "2026-10-20T00:00:00Z"}
    return samples.reproduced(**{**created, "grade": grade, **more})


@pytest.mark.parametrize(
    ("grade", "said"),
    [
        ("BITWISE", "reproduced bit-for-bit"),
        ("EXACT", "reproduced exactly"),
        ("TOLERANCE", "reproduced within tolerance"),
        ("BEHAVIOURAL", "same behaviour"),
    ],
)
def test_each_grade_has_its_words(grade, said):
    text, colour = drawn(found(grade))
    assert text == said
    assert drawn(found(grade), REFUSED) == (
        f"{said}, refused by policy",
        drawn(found(grade), REFUSED)[1],
    )
    assert drawn(found(grade), REFUSED)[1] != colour
    assert drawn(found(grade, conditional=["other interpreter"]))[1] != colour


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_reproduction_is_green(outcome):
    green = drawn(found("BITWISE"))[1]
    text, colour = drawn(samples.record(outcome=outcome, grade=None))
    assert text == ("not reproduced" if outcome in {"DIVERGED", "TAMPERED"} else "inconclusive")
    assert colour != green


def test_a_grade_that_is_not_known_claims_nothing():
    assert drawn(found("PERFECT"))[0] == "inconclusive"
    assert drawn(found(None))[0] == "inconclusive"
    assert {g for g in Grade if drawn(found(g))[0] == "inconclusive"} == {Grade.STATISTICAL}
    assert drawn({}, {})[0] == "inconclusive"


def test_a_verdict_grows_stale_only_under_a_policy_that_says_so():
    day = 86400
    assert drawn(found("BITWISE"))[0] == "reproduced bit-for-bit"
    text, colour = drawn(found("BITWISE"), max_age=30 * day)
    assert text == "stale 34 d"
    assert colour != drawn(found("BITWISE"))[1]
    assert drawn(found("BITWISE"), {**MEETS, "max_age": 30 * day})[0] == "stale 34 d"
    assert drawn(found("BITWISE"), max_age=35 * day)[0] == "reproduced bit-for-bit"
    for odd in ("yesterday", None, "2026-10-20T00:00:00"):
        assert drawn(found("BITWISE", created_at=odd), max_age=day)[0] == "stale"


def test_a_difference_never_grows_into_stale():
    assert (
        drawn(samples.record(created_at="2020-01-01T00:00:00Z"), max_age=1)[0] == "not reproduced"
    )


def test_hostile_names_are_text_and_bounded():
    svg = BadgeReporter().render(samples.hostile(), MEETS)
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert len(BadgeReporter().render(found("EXACT", model="m" * 9999), MEETS)) < 2000
    tags = {e.tag.removeprefix(SVG) for e in ET.fromstring(svg).iter()}
    assert tags == {"svg", "title", "rect", "g", "text"}
