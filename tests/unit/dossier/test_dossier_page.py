import re
from dataclasses import fields, replace
from html import unescape
from html.parser import HTMLParser

import pytest

from harness.dossier import aliases, page, told

HOSTILE = "<script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\x00\x1b[31m\n" + "x" * 300


class Seen(HTMLParser):
    """What a reader sees: the text, and every element with its attributes."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.parts, self.open = [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if "style" not in self.open:
            self.parts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.parts).split())


def seen(value, people=None):
    return Seen(page.render(value, people or {}))


def test_it_is_self_contained_and_runs_nothing(dossiers):
    source = page.render(dossiers.make(), dossiers.PEOPLE)
    tags = {tag for tag, _ in Seen(source).elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert "default-src 'none'" in source
    assert "@media print" in source
    loaded = re.findall(r'(?:src|href)="([^"]*)"', source)
    assert all(target.startswith("#") for target in loaded)
    assert "url(" not in source
    assert "@import" not in source


def test_the_same_facts_give_the_same_page(dossiers):
    assert page.render(dossiers.make()) == page.render(dossiers.make())
    assert page.render(dossiers.make()) != page.render(dossiers.make(owner="Somebody"))


def test_every_fact_is_told(dossiers):
    text = seen(dossiers.make(), dossiers.PEOPLE).text
    made = dossiers.lineage()
    for fact in (
        "Credit-Risk version 7",
        "https://mlflow.bank.example",
        "Retail credit scoring",
        "Tier 1",
        "carried the alias production at 2026-09-10T12:00:00Z",
        "was made again within the declared tolerances",
        "Strength: within tolerance, the third of five grades",
        "it meets the operator's policy for Production",
        made["code"]["commit"],
        made["code"]["url"],
        "python train.py --trees 120",
        "20260902",
        "data/loans.csv",
        dossiers.SHA["e"],
        "23" * 16,
        "scikit-learn 1.9.1",
        made["environment"]["lock_sha256"],
        "1 of 4 values differ, 0 beyond (bound rtol 1e-06, atol 0)",
        "reason: summation order",
        "metrics.json: train_seconds: the recipe ignores it",
        "another processor: AMD EPYC",
        "hardware: cpu model Intel Xeon AMD EPYC",
        "metric auc 0.7127601412408472",
        "2026-09-01T08:04:00Z",
        "DIVERGED FLAKY",
        "rollback to Production",
        "harness audit-verify DOSSIER",
        "model_signing sign key",
        "openssl pkeyutl -verify",
    ):
        assert fact in text, fact


@pytest.mark.parametrize("which", ["approval", "rejection", "waiver"])
def test_every_signature_shows_what_it_must(dossiers, which):
    signed = {
        "approval": dossiers.signed(),
        "rejection": dossiers.REJECTION,
        "waiver": dossiers.WAIVER,
    }[which]
    text = seen(dossiers.make()).text
    start = text.index(f"printed name {signed['printed_name']}")
    block = text[start : text.index(signed["digest"]) + 64]
    rows = (
        f"identity {signed['identity']}",
        f"signed at (UTC) {signed['created_at']}",
        f"meaning {signed.get('meaning', 'waiver')}",
        f"reason {signed['reason']}",
        f"key id {signed['keyid']}",
        f"statement sha256 {signed['digest']}",
    )
    assert all(row in block for row in rows)
    assert which != "waiver" or "until 2026-12-01T00:00:00Z" in text
    assert which != "rejection" or "REJECTED for Production" in text


def test_the_verifier_is_named_where_the_trust_file_names_it(dossiers):
    named = seen(dossiers.make(), dossiers.PEOPLE).text
    assert "printed name Vera Verifier signed at (UTC) 2026-09-01T08:05:00Z meaning verif" in named
    assert "in the operator's trust file, under the key id" in seen(dossiers.make()).text


def test_what_is_absent_is_said(dossiers):
    text = seen(dossiers.bare()).text
    for said in (
        "NOT VERIFIED",
        "has no verification by a trusted key",
        "asked for by its number, not by an alias",
        "does NOT meet the operator's policy",
        "no trusted verifier has judged it yet",
        "intended use (as stated by who asked) not stated",
        "owner (as stated by who asked) not stated",
        "nothing is known of the code",
        "No data file was recorded.",
        "No inventory of packages was recorded.",
        "No file was compared.",
        "No waiver was recorded.",
        "No approval was recorded.",
        "No rejection was recorded.",
        "No verification was recorded.",
        "No version of this model was ever moved",
    ):
        assert said in text, said
    assert "✓" not in text


def test_no_cell_is_silently_empty(dossiers):
    for value in (dossiers.make(), dossiers.bare(), dossiers.make(dossiers.diverged())):
        assert not re.search(r"<td[^>]*>\s*</td>", page.render(value))


def test_one_side_of_a_decision_that_nobody_signed_is_said(dossiers):
    text = seen(dossiers.make(approvals=(dossiers.REJECTION,))).text
    assert "No approval was recorded." in text
    assert "No rejection was recorded." not in text


def test_problems_come_first_and_take_the_tick_away(dossiers):
    value = dossiers.make(problems=("records: one is missing",))
    found = seen(value)
    text = found.text[found.text.index("Something is wrong") :]
    assert text.index("records: one is missing") < text.index("Credit-Risk version 7")
    assert "so it does NOT meet" in text
    assert "verdict good" not in page.render(value)
    assert "verdict good" in page.render(dossiers.make())


def test_a_difference_is_never_dressed_up(dossiers):
    value = dossiers.make(dossiers.diverged())
    source = page.render(value)
    assert "verdict good" not in source
    text = Seen(source).text
    assert "came out different: the runs do not agree with each other" in text
    assert "Strength: none." in text
    assert "90 of 100 values differ, 90 beyond" in text
    assert "its recorded origin does not explain it" in text


def test_hostile_text_stays_text(dossiers):
    value = poisoned(dossiers, HOSTILE)
    source = page.render(value, {HOSTILE: HOSTILE})
    found = Seen(source)
    assert not [tag for tag, _ in found.elements if tag == "script"]
    assert not [a for _, attrs in found.elements for a in attrs if a.startswith("on")]
    assert "alert(1)" in found.text
    bad = [c for c in unescape(source) if not c.isprintable() and c != "\n"]
    assert bad == []


def poisoned(dossiers, text):
    value = dossiers.make()
    kept = {"schema", "deciding"}
    names = [f.name for f in fields(value) if f.name not in kept]
    changed = {n: dossiers.poisoned(getattr(value, n), text) for n in names}
    return replace(value, deciding=text, **{**changed, "problems": (text,)})


def test_values_of_the_wrong_kind_do_not_break_it(dossiers):
    found = dossiers.record(artifacts=["no mapping", None], runs="none", environment=[], hardware=7)
    value = dossiers.make(found, lineage={"code": "c", "data": [1], "annotations": []})
    assert "Credit-Risk version 7" in seen(value).text


def test_more_than_a_page_can_hold_is_counted(dossiers):
    data = [{"path": f"data/{n}", "md5": "0" * 32} for n in range(page.MOST_ROWS + 3)]
    value = dossiers.make(lineage={**dossiers.lineage(), "data": data})
    assert "3 more are in dossier.json" in seen(value).text


def test_the_timeline_follows_the_signed_moves(dossiers):
    end = aliases.seconds("2026-11-23T10:44:20Z")
    spans = {(s.alias, s.version, s.open) for s in aliases.spans(dossiers.MOVES, end)}
    assert spans == {
        ("staging", "6", False),
        ("production", "6", False),
        ("staging", "7", False),
        ("production", "7", False),
        ("production", "6", True),
    }
    picture = aliases.draw(dossiers.make())
    assert 'class="asked"' in picture
    assert "asked: 2026-09-10 12:00 UTC" in picture
    assert picture.count('class="own"') == 2
    assert aliases.draw(dossiers.bare()) == ""


def test_a_time_that_is_none_is_left_out_of_the_picture(dossiers):
    broken = ({**dossiers.MOVES[0], "created_at": "yesterday"}, *dossiers.MOVES[1:])
    assert "yesterday" not in aliases.draw(dossiers.make(moves=broken))
    assert "yesterday" in seen(dossiers.make(moves=broken)).text


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "It is not the same model number for number"),
        ({"grade": "BEHAVIOURAL"}, "recorded probe inputs only"),
        ({"outcome": "TAMPERED", "grade": None}, "Which of the two is right"),
        ({"outcome": "RERUN_FAILED", "grade": None}, "speaks neither for the model nor against"),
    ],
)
def test_the_limits_follow_the_verdict(dossiers, changes, limit):
    lines = told.limits(dossiers.make(dossiers.tolerated(**changes)))
    assert any(limit in line for line in lines)
    assert not any(limit in line for line in told.limits(dossiers.make(dossiers.record())))


def test_a_single_move_is_a_history_too(dossiers):
    made = dossiers.make()
    one = replace(made, moves=made.moves[:1], question={**made.question, "asked": {}})
    assert 'class="timeline"' in page.render(one)
