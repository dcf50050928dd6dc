"""A dossier on paper: the page's facts in short form, to be read and signed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.dossier import checks, sides, told
from harness.dossier.model import Dossier
from harness.errors import UsageError
from harness.reporters import words

if TYPE_CHECKING:
    from harness.dossier.sheet import Sheet

MOST, MOST_PACKAGES = 100, 400
LOST = (
    "Some characters cannot be shown in this document's fonts and stand here as a question mark; "
    "dossier.html and dossier.json have them."
)


def render(value: Dossier, index_note: str = "", people: Mapping[str, str] = told.NOBODY) -> bytes:
    """Return the PDF; the same facts always give the same bytes.

    Args: `index_note` names what binds the paper to the dossier, such as a digest; `people` are
    the printed names of the trusted keys by key id.
    Raises: UsageError when fpdf2 is not installed.
    """
    made = _compose(value, index_note, people, note=False)
    if made.lost:
        made.release()
        made = _compose(value, index_note, people, note=True)
    return made.finished()


def _compose(value: Dossier, index_note: str, people: Mapping[str, str], *, note: bool) -> Sheet:
    try:
        from harness.dossier.sheet import Sheet
    except ImportError:
        raise UsageError(
            "a dossier on paper needs fpdf2", "pip install 'repro-harness[audit]'"
        ) from None
    name = told.name(value, 60)
    lineage = told.said(value.lineage_digest, "no lineage")
    sheet = Sheet(f"Dossier of {name}", f"{name}\nlineage sha256 {lineage}", value.made_at)
    _claim(sheet, value, note=note)
    _origin(sheet, value, people)
    _comparison(sheet, value)
    _departures(sheet, value)
    _people(sheet, value, people)
    _by_hand(sheet, value, index_note)
    _past(sheet, value, people)
    _checking(sheet, value, index_note)
    return sheet


def _claim(sheet: Sheet, value: Dossier, *, note: bool) -> None:
    from harness.dossier.sheet import BAD, GOOD, SOFT

    sheet.text_line("AUDIT DOSSIER", 8, SOFT)
    sheet.text_line(told.name(value), 17, bold=True)
    if value.problems:
        sheet.text_line("SOMETHING IS WRONG WITH THE EVIDENCE", 13, BAD, bold=True)
        sheet.text_line("Do not rely on any statement below before each is explained:", 9.5, BAD)
        sheet.items([words.plain(p, 1000) for p in value.problems], BAD)
    if note:
        sheet.text_line(LOST, 8.5, BAD)
    sheet.text_line(told.badge(value), 12.5, GOOD if told.passes(value) else BAD, bold=True)
    for line in (told.verdict(value), told.strength(value)):
        sheet.text_line(line)
    sheet.text_line(told.decision(value), bold=True)
    sheet.items(told.reasons(value), BAD)
    sheet.heading("The question")
    sheet.text_line(told.question(value))
    sheet.heading("What this does not say")
    sheet.items(told.limits(value))
    sheet.heading("Identity")
    sheet.rows(told.identity(value))
    sheet.rows(told.policy(value))


def _origin(sheet: Sheet, value: Dossier, people: Mapping[str, str]) -> None:
    sheet.heading("Recorded and made again", 50)
    header = ("", "recorded", "made again")
    pairs = [
        (_mark(r.what, r.differs), r.recorded, r.reproduced) for r in sides.both(value, people)
    ]
    sheet.grid(header, pairs, (24, 38, 38))
    sheet.heading("Code")
    if value.lineage:
        sheet.rows(sides.code(value))
    else:
        sheet.text_line("No lineage by a trusted recorder was found: nothing is known of the code.")
    sheet.text_line("Metrics and parameters, as recorded", bold=True)
    numbers = sides.numbers(value)
    sheet.rows(numbers[:MOST])
    _rest(sheet, len(numbers), "None was recorded.")
    sheet.heading("Data")
    data = sides.data(value)
    for d in data[:MOST]:
        where = f"{d['path']} ({d['size']} bytes, {d['target']})"
        sheet.rows([(where, d["sha256"]), ("   its md5", d["md5"])])
    _rest(sheet, len(data), "No data file was recorded.")
    sheet.heading("Environment")
    packages = sides.inventory(value)
    shown = ", ".join(f"{name} {was}" for name, was, _, _ in packages[:MOST_PACKAGES])
    sheet.text_line(shown or "No inventory of packages was recorded.", 8)
    if len(packages) > MOST_PACKAGES:
        sheet.text_line(f"{len(packages) - MOST_PACKAGES} more are in dossier.html.", 8)
    sheet.text_line("Mismatches of environment and hardware", bold=True)
    found = sides.mismatches(value)[:MOST]
    if found:
        sheet.grid(header, [(w, a or "(none)", b or "(none)") for w, a, b in found], (24, 38, 38))
    else:
        sheet.text_line(sides.no_mismatch(value))


def _mark(what: str, differs: bool) -> str:
    return f"{what} (DIFFERS)" if differs else what


def _rest(sheet: Sheet, count: int, empty: str) -> None:
    """Say that there is nothing, or that there is more than fits."""
    if not count:
        sheet.text_line(empty)
    elif count > MOST:
        sheet.text_line(f"{count - MOST} more are in dossier.json.")


def _comparison(sheet: Sheet, value: Dossier) -> None:
    sheet.heading("Comparison, file by file")
    artifacts = [told.facts(a) for a in told.listed(told.deciding(value).get("artifacts"))]
    for a in artifacts[:MOST]:
        same = a.get("recorded_sha256") == a.get("reproduced_sha256")
        again = "the same" if same else told.said(a.get("reproduced_sha256"), "(missing)")
        grade = told.said(a.get("grade"))
        if not same and grade not in words.DIFFERING:
            grade += " (the bytes differ)"
        sheet.rows(
            [
                (f"{told.said(a.get('path'))} ({told.said(a.get('role'))})", grade),
                ("   recorded sha256", told.said(a.get("recorded_sha256"), "(missing)")),
                ("   made again, sha256", again),
                ("   worst distance", sides.distance(a)),
            ]
        )
    _rest(sheet, len(artifacts), "No file was compared.")
    if left := sides.uncompared(value)[:MOST]:
        sheet.text_line("Recorded, but not compared", bold=True)
        sheet.rows(left)


def _departures(sheet: Sheet, value: Dossier) -> None:
    from harness.dossier.sheet import BAD

    sheet.heading("Deviations and waivers")
    for title, found in sides.deviations(value):
        sheet.text_line(title, bold=True)
        sheet.items(found[:MOST] or ["None."])
    sheet.text_line("Waivers", bold=True)
    for w in value.waivers[:MOST]:
        title = f"Waived: {told.said(w.get('code'))}, for {told.said(w.get('stage'))}, "
        sheet.box(f"{title}until {told.said(w.get('expires_at'))} (UTC)", BAD, told.signed(w))
    _rest(sheet, len(value.waivers), "No waiver was recorded.")


def _people(sheet: Sheet, value: Dossier, people: Mapping[str, str]) -> None:
    from harness.dossier.sheet import BAD, GOOD

    sheet.heading("Sign-off: the electronic signatures", 60)
    if value.lineage:
        sheet.box("Prepared", GOOD, told.prepared(value))
    else:
        sheet.text_line("No lineage by a trusted recorder was found.")
    if told.deciding(value):
        sheet.box("Verified", GOOD, told.verified(value, people))
    else:
        sheet.text_line("No verification by a trusted key was found.")
    for a in value.approvals[:MOST]:
        color = GOOD if a.get("decision") == "approved" else BAD
        title = f"{told.said(a.get('decision')).upper()} for {told.said(a.get('stage'))}"
        sheet.box(title, color, told.signed(a))
    _rest(sheet, len(value.approvals) or 1, "")
    for line in told.nobody(value):
        sheet.text_line(line)


def _by_hand(sheet: Sheet, value: Dossier, index_note: str) -> None:
    sheet.heading("Sign-off: by hand", 90)
    sheet.text_line(
        "Only where the operator's procedure asks for it; the electronic signatures above stand "
        f"without it. By signing I refer to {told.name(value)} with lineage sha256 "
        f"{told.said(value.lineage_digest)}. {words.plain(index_note)}",
        8.5,
    )
    sheet.pens(("Prepared by (authorship)", "Reviewed by (review)", "Approved by (approval)"))


def _past(sheet: Sheet, value: Dossier, people: Mapping[str, str]) -> None:
    sheet.heading("Every verification by a trusted key, oldest first")
    records = value.records[-MOST:]
    if records:
        header = ("judged at (UTC)", "verdict", "verifier", "record sha256")
        rows = [told.verification(value, digest, told.facts(r), people) for digest, r in records]
        sheet.grid(header, rows, (21, 24, 20, 35))
    _rest(sheet, len(value.records), "No verification was recorded.")
    sheet.heading("Which version had which alias")
    if value.moves:
        told_of = ("at (UTC)", "move", "version, in place of", "signed by", "reason")
        sheet.grid(told_of, [told.move(m) for m in value.moves[-MOST:]], (20, 18, 18, 22, 22))
    _rest(sheet, len(value.moves), told.UNMOVED)


def _checking(sheet: Sheet, value: Dossier, index_note: str) -> None:
    if value.notes:
        sheet.heading("Notes on the evidence")
        sheet.items([words.plain(n, 1000) for n in value.notes[:MOST]])
    sheet.heading("How to verify this dossier", 60)
    sheet.text_line(
        "This paper is made from dossier.json and proves nothing by itself. "
        "Run these in the dossier's folder:"
    )
    if index_note:
        sheet.text_line(words.plain(index_note, 300), 8.5)
    for check in checks.ways(value):
        sheet.text_line(check.title, bold=True)
        sheet.text_line(check.shows, 8.5)
        sheet.text_line(check.commands, 7, mono=True)
