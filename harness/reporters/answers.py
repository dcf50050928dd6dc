"""Answers that are no record, of `gate` and `check`, as Markdown and as checks for JUnit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.reporters import words
from harness.reporters.checks import Check
from harness.reporters.markdown import MOST, escaped

Answer = Mapping[str, Any]


def title(answer: Answer) -> str:
    """Return what the answer is about: a version, or the recipe of a repository."""
    return words.plain(answer["path"]) if "path" in answer else words.title(answer)


def headline(answer: Answer) -> str:
    """Return what was asked and the answer, in one line."""
    name = title(answer)
    if "findings" in answer:
        stage = words.plain(answer.get("to") or answer.get("stage") or "?", 40)
        waived = sum(bool(f.get("waived")) for f in answer["findings"])
        note = f", {waived} waived" if waived else ""
        return f"gate to {stage} {'open' if answer.get('meets') else 'SHUT'}{note}: {name}"
    if "path" in answer:
        return f"{'ready to record' if answer.get('ok') else 'not ready'}: {name}"
    return f"{'complete' if answer.get('ok') else 'cannot be made again as it stands'}: {name}"


def reasons(answer: Answer) -> list[str]:
    """Return what speaks against it, each on one line; what is waived is said apart."""
    if "findings" in answer:
        return [_finding(f) for f in answer["findings"] if not f.get("waived")]
    return [_gap(g) for g in answer.get("gaps", ())]


def waivers(answer: Answer) -> list[str]:
    """Return what is waived, and by which signed waiver."""
    return [
        f"{_finding(f)} (waiver {words.plain(f['waived'], 12)})"
        for f in answer.get("findings", ())
        if f.get("waived")
    ]


def _finding(finding: Answer) -> str:
    return words.plain(f"{finding.get('code', '?')}: {finding.get('detail', '')}")


def _gap(gap: Answer) -> str:
    return words.plain(": ".join(str(gap[k]) for k in ("what", "detail") if gap.get(k)))


def markdown(answer: Answer) -> str:
    """Return the answer for a step summary, headings from the third level."""
    lines = [f"### {escaped(headline(answer))}", ""]
    for what, items in (("Against", reasons(answer)), ("Waived", waivers(answer))):
        if items:
            lines += [f"**{what}**", "", *(f"- {escaped(i)}" for i in items[:MOST]), ""]
            lines += [f"… and {len(items) - MOST} more", ""] if len(items) > MOST else []
    if fixes := [g["fix"] for g in answer.get("gaps", ()) if g.get("fix")]:
        lines += ["**Next**", "", *(f"- {escaped(f)}" for f in dict.fromkeys(fixes[:MOST])), ""]
    if answer.get("record_digest"):
        lines += [f"Record {escaped(words.plain(answer['record_digest'], 64))}", ""]
    return "\n".join(lines) + "\n"


def checks(answer: Answer) -> Iterator[Check]:
    """Yield a check per finding or gap, and one for the whole."""
    for finding in answer.get("findings", ()):
        waived = finding.get("waived")
        name = words.plain(f"{'waived' if waived else 'finding'}.{finding.get('code', '?')}")
        why = f"waived: {_finding(finding)}" if waived else _finding(finding)
        yield Check(name, "skipped" if waived else "failed", why)
    for gap in answer.get("gaps", ()):
        yield Check(words.plain(f"lineage.{gap.get('what', '?')}"), "failed", _gap(gap))
    good = not answer.get("exit_code")
    whole = "gate" if "findings" in answer else "check"
    yield Check(whole, "passed" if good else "failed", "" if good else headline(answer))
