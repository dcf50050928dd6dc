import re
import sys
import zlib
from dataclasses import fields, replace

import pytest

from harness.dossier import paper, rendering
from harness.errors import UsageError

HOSTILE = (
    "<b>**x**</b> {nb} \N{RIGHT-TO-LEFT OVERRIDE}\x00\x01(\\)\n\u0141uk\u00e1\u0161 \u4e2d\u6587 "
)
NOTE = "The facts are dossier.json with sha256 " + "9" * 64 + "."
TEXT = re.compile(rb"\(((?:\\.|[^\\()])*)\) Tj")


def pages(data):
    """Return what each page shows, without any spaces: lines and cells break words."""
    found = []
    for stream in re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL):
        try:
            shown = TEXT.findall(zlib.decompress(stream))
        except zlib.error:
            continue
        whole = b"".join(re.sub(rb"\\(.)", rb"\1", part) for part in shown)
        found.append("".join(whole.decode("cp1252").split()))
    return [text for text in found if text]


def shown(value, people=None):
    return "".join(pages(paper.render(value, NOTE, people or {})))


def holds(text, *facts):
    return [fact for fact in facts if "".join(fact.split()) not in text]


def test_the_same_facts_give_the_same_bytes(dossiers):
    one = paper.render(dossiers.make(), NOTE)
    assert one.startswith(b"%PDF-")
    assert one == paper.render(dossiers.make(), NOTE)
    assert one != paper.render(dossiers.make(owner="Somebody"), NOTE)
    assert b"D:20261123104420" in one


def test_the_paper_has_the_facts_of_the_page(dossiers):
    made = dossiers.lineage()
    assert not holds(
        shown(dossiers.make(), dossiers.PEOPLE),
        "Credit-Risk version 7",
        "REPRODUCED TOLERANCE",
        "carried the alias production at 2026-09-10T12:00:00Z",
        "Strength: within tolerance, the third of five grades",
        "it meets the operator's policy for Production",
        "It is not the same model number for number",
        "Retail credit scoring",
        "Tier 1",
        made["code"]["commit"],
        "python train.py --trees 120",
        dossiers.SHA["e"],
        "scikit-learn 1.9.1",
        "1 of 4 values differ, 0 beyond (bound rtol 1e-06, atol 0)",
        "reason: summation order",
        "another processor: AMD EPYC",
        "CPU (DIFFERS)",
        "metric auc",
        "Vera Verifier",
        "DIVERGED FLAKY",
        "rollback to Production",
        "harness audit-verify DOSSIER",
        NOTE,
    )


def test_every_electronic_signature_shows_what_it_must(dossiers):
    text = shown(dossiers.make())
    for signed in (dossiers.signed(), dossiers.REJECTION, dossiers.WAIVER):
        rows = [
            f"printed name{signed['printed_name']}identity{signed['identity']}",
            f"signed at (UTC){signed['created_at']}meaning{signed.get('meaning', 'waiver')}",
            f"reason{signed['reason']}key id{signed['keyid']}statement sha256{signed['digest']}",
        ]
        assert not holds(text, *rows)
    assert not holds(text, "APPROVED for Production", "REJECTED for Production")


def test_people_can_sign_it_by_hand(dossiers):
    text = shown(dossiers.make())
    start = text.index("Sign-off:byhand")
    block = text[start : text.index("Everyverificationbyatrustedkey")]
    assert "0a" * 32 in block
    for line in ("printedname", "role", "date,time(UTC)", "signature"):
        assert block.count(line) >= 3, line


def test_every_page_says_what_it_is_a_part_of(dossiers):
    found = pages(paper.render(dossiers.make(), NOTE))
    assert len(found) > 2
    for number, text in enumerate(found, 1):
        assert f"page{number}of{len(found)}" in text
        assert "Credit-Riskversion7" in text
        assert "lineagesha256" + "0a" * 32 in text


def test_what_is_absent_is_said(dossiers):
    assert not holds(
        shown(dossiers.bare()),
        "NOT VERIFIED",
        "does NOT meet the operator's policy",
        "no trusted verifier has judged it yet",
        "not stated",
        "nothing is known of the code",
        "No data file was recorded.",
        "No inventory of packages was recorded.",
        "No file was compared.",
        "No waiver was recorded.",
        "No approval was recorded.",
        "No rejection was recorded.",
        "No verification was recorded.",
        "No version of this model was ever moved",
    )


def test_problems_are_on_the_first_page_before_the_verdict(dossiers):
    first = pages(paper.render(dossiers.make(problems=("records: one is missing",))))[0]
    assert first.index("records:oneismissing") < first.index("REPRODUCEDTOLERANCE")
    assert "soitdoesNOTmeet" in first


@pytest.mark.parametrize("text", [HOSTILE, "x" * 600, "\U0010ffff\ud800", ""])
def test_no_text_breaks_it(dossiers, text):
    value = dossiers.make()
    names = [f.name for f in fields(value) if f.name not in {"schema", "deciding"}]
    changed = {n: dossiers.poisoned(getattr(value, n), text) for n in names}
    assert shown(replace(value, deciding=text, **changed))


def test_what_the_fonts_lack_is_a_question_mark_and_said(dossiers):
    value = dossiers.make(owner="\u674e M\u00fcller")
    text = shown(value)
    assert "?M\u00fcller" in text
    assert not holds(text, paper.LOST)
    assert holds(shown(dossiers.make()), paper.LOST)


def test_a_printed_name_of_other_scripts_is_printed(dossiers):
    """A signature block is there to be read: Part 11 asks for the printed name."""
    name = "\u0141ukasz \u0393\u03b9\u03ce\u03c1\u03b3\u03bf\u03c2 \u0418\u0440\u0438\u043d\u0430"
    made = dossiers.make()
    approvals = tuple({**a, "printed_name": name} for a in made.approvals)
    assert approvals
    whole = paper.render(replace(made, approvals=approvals), NOTE)
    assert b"DejaVuSans" in whole
    assert b"DejaVuSans" not in paper.render(made, NOTE)
    assert holds("".join(pages(whole)), paper.LOST)
    assert whole == paper.render(replace(made, approvals=approvals), NOTE)
    # Whoever copies the name out of the PDF, or searches it, gets the letters themselves.
    maps = b"".join(inflated(whole))
    assert all(b"<%04X>" % ord(c) in maps for c in name if ord(c) > 255)


def test_without_the_wide_font_a_question_mark_stands_there(dossiers, monkeypatch):
    from harness.dossier import sheet

    monkeypatch.setattr(sheet, "_wide", lambda: ((), frozenset()))
    text = shown(dossiers.make(owner="\u0141uk\u00e1\u0161 M\u00fcller"))
    assert "?uk\u00e1\u0161M\u00fcller" in text
    assert not holds(text, paper.LOST)


def inflated(data):
    for stream in re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL):
        try:
            yield zlib.decompress(stream)
        except zlib.error:
            yield stream


def test_a_hostile_name_is_not_taken_for_the_number_of_pages(dossiers):
    text = shown(dossiers.make(owner="{nb} of \x01\x01\x01\x01\x01"))
    assert "{nb}of?????" in text


def test_more_than_ten_pages_are_counted(dossiers):
    data = [{"path": f"data/{n}", "md5": "0" * 32} for n in range(paper.MOST + 3)]
    found = pages(paper.render(dossiers.make(lineage={**dossiers.lineage(), "data": data})))
    assert len(found) >= 10
    assert f"page10of{len(found)}" in found[9]
    assert "3moreareindossier.json" in "".join(found)


def test_without_fpdf2_the_dossier_says_how_to_get_the_paper(dossiers, monkeypatch):
    files = {"trust.toml": b"", "dossier.json": b"{}"}
    whole = rendering.render(dossiers.make(), files)
    assert whole["dossier.pdf"].startswith(b"%PDF-")
    assert b"was not made" not in whole["README.txt"]
    monkeypatch.delitem(sys.modules, "harness.dossier.sheet", raising=False)
    monkeypatch.setitem(sys.modules, "fpdf", None)
    with pytest.raises(UsageError, match=r"repro-harness\[audit\]"):
        paper.render(dossiers.make())
    made = rendering.render(dossiers.make(), files)
    assert "dossier.pdf" not in made
    assert b"dossier.pdf was not made" in made["README.txt"]
    assert b"repro-harness[audit]" in made["README.txt"]
    assert b"Credit-Risk" in made["dossier.html"]
