"""The sheets of paper: headings, tables and signature blocks on A4.

A PDF's own fonts know western Latin only; a text that they cannot show, such as a printed name in
Greek or Polish, is set in DejaVu Sans, which matplotlib (and so MLflow) brings with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace, TTFFont

CODEC, MARGIN = "cp1252", 18
WIDE = "dejavu"
# Untrusted text has no control characters left, so that none of it can pass for this mark.
TOTAL = "\x01" * 5
INK, SOFT, GOOD, BAD, LINE = (
    (27, 31, 36),
    (87, 96, 106),
    (10, 92, 138),
    (163, 71, 0),
    (208, 215, 222),
)
MONO = FontFace(family="courier", size_pt=7)
DIM = FontFace(color=SOFT)


class Sheet(FPDF):  # type: ignore[misc]
    """A document that counts its pages, and notes whether a character could not be shown."""

    def __init__(self, title: str, footing: str, made_at: str) -> None:
        super().__init__(format="A4")
        self.core_fonts_encoding = CODEC
        self.lost = False
        self._footing = self.fit(footing)
        self.set_title(title)
        self.set_creator("repro-harness")
        self.set_lang("en")
        self.set_creation_date(_moment(made_at))
        self.alias_nb_pages(TOTAL)
        self.set_margin(MARGIN)
        self.set_auto_page_break(True, MARGIN + 6)
        self.add_page()

    def fit(self, text: str) -> str:
        """Return text that the fonts can show; what they cannot is a visible question mark."""
        whole = unicodedata.normalize("NFC", text)
        shown = whole.encode(CODEC, "replace").decode(CODEC)
        if shown != whole and (known := _wide()[1]):
            shown = "".join(c if ord(c) in known or c == "\n" else "?" for c in whole)
            self._add_wide(shown)
        self.lost |= shown != whole
        return shown

    def _add_wide(self, text: str) -> None:
        """Add the wide font before its first use: a document that can do without has none."""
        if not _core(text) and WIDE not in self.fonts:
            for style, file in zip(("", "B"), _wide()[0], strict=True):
                self.add_font(WIDE, style, file)

    def finished(self) -> bytes:
        """Return the document's bytes."""
        try:
            return bytes(self.output())
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the font files."""
        for font in self.fonts.values():
            if isinstance(font, TTFFont):
                font.ttfont.close()

    def footer(self) -> None:
        """Write what every page is a part of, and its number."""
        self.set_y(-MARGIN - 2)
        self._font(7, SOFT)
        self.set_draw_color(*LINE)
        self.line(MARGIN, self.get_y(), self.w - MARGIN, self.get_y())
        self.ln(1)
        self.cell(self.epw, 4, f"page {self.page_no()} of {TOTAL}", align="R")
        self.set_x(MARGIN)
        self._font(7, SOFT, text=self._footing)
        self.multi_cell(self.epw - 30, 3.4, self._footing, align="L")

    def heading(self, text: str, room: float = 30) -> None:
        """Begin a section; never at the foot of a page, but where `room` in mm is left."""
        if self.will_page_break(room):
            self.add_page()
        self.ln(4)
        self.text_line(text, 12.5, bold=True)
        self.set_draw_color(*LINE)
        self.line(MARGIN, self.get_y(), self.w - MARGIN, self.get_y())
        self.ln(1.5)

    def text_line(
        self,
        text: str,
        size: float = 9.5,
        color: tuple[int, int, int] = INK,
        *,
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        """Write a paragraph."""
        shown = self.fit(text)
        self._font(size, color, bold=bold, mono=mono, text=shown)
        self.multi_cell(self.epw, size * 0.47, shown, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(0.6)

    def items(self, lines: Sequence[str], color: tuple[int, int, int] = INK) -> None:
        """Write a list of sentences."""
        for line in lines:
            shown = self.fit(line)
            self._font(9.5, color, text=shown)
            self.cell(4, 4.5, "-")
            self.multi_cell(self.epw - 4, 4.5, shown, align="L", new_x="LMARGIN", new_y="NEXT")
        self.ln(1)

    def rows(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Write (what, value) rows."""
        self.grid((), pairs, (32, 68))

    def grid(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], widths: tuple[int, ...]
    ) -> None:
        """Write a table; digests and what has no space in it stand in a fixed-width font."""
        self._font(8.5, INK)
        self.set_draw_color(*LINE)
        with self.table(
            col_widths=widths,
            text_align="LEFT",
            v_align="TOP",
            line_height=4,
            padding=(0.6, 1),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            first_row_as_headings=bool(header),
            headings_style=FontFace(emphasis="BOLD"),
        ) as made:
            if header:
                made.row([self.fit(h) for h in header])
            for row in rows:
                line = made.row()
                for place, text in enumerate(row):
                    shown = self.fit(text)
                    style = MONO if _digest(text) else None if place or header else DIM
                    line.cell(shown, style=style if _core(shown) else FontFace(family=WIDE))
        self.ln(1.5)

    def box(self, title: str, color: tuple[int, int, int], rows: Sequence[tuple[str, str]]) -> None:
        """Write one electronic signature, kept together on a page."""
        if self.will_page_break(12 + 5.5 * len(rows)):
            self.add_page()
        top = self.get_y()
        self.text_line(title, 10.5, color, bold=True)
        self.rows(rows)
        if self.get_y() > top:
            self.set_fill_color(*color)
            self.rect(MARGIN - 4, top, 1.4, self.get_y() - top - 1.5, style="F")
            self.set_fill_color(255)
        self.ln(1.5)

    def pens(self, titles: Sequence[str]) -> None:
        """Write empty lines for people who sign by hand, one column each; 62 mm high."""
        top, width = self.get_y() + 2, self.epw / len(titles)
        self.set_draw_color(*SOFT)
        for place, title in enumerate(titles):
            left = MARGIN + place * width
            self.set_xy(left, top)
            self._font(9.5, INK, bold=True)
            self.cell(width - 6, 5, self.fit(title))
            for row, told in enumerate(("printed name", "role", "date, time (UTC)", "signature")):
                y = top + 17 + row * 12
                self.line(left, y, left + width - 6, y)
                self.set_xy(left, y)
                self._font(7, SOFT)
                self.cell(width - 6, 4, told)
        self.set_xy(MARGIN, top + 60)

    def _font(
        self,
        size: float,
        color: tuple[int, int, int],
        *,
        bold: bool = False,
        mono: bool = False,
        text: str = "",
    ) -> None:
        """Set the font for a text that fits already."""
        family = WIDE if not _core(text) else "courier" if mono else "helvetica"
        self.set_font(family, "B" if bold else "", size)
        self.set_text_color(*color)


@cache
def _wide() -> tuple[tuple[Path, ...], frozenset[int]]:
    """Return the files of the wide font and what both can show; nothing where it is not there."""
    spec = find_spec("matplotlib")
    for place in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(place, "mpl-data", "fonts", "ttf")
        files = (folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf")
        if all(f.is_file() for f in files):
            regular, bold = map(_shows, files)
            # The sign for a character that was taken out is no character of the text.
            return files, (regular & bold) - {0xFFFD}
    return (), frozenset()


def _shows(file: Path) -> frozenset[int]:
    with TTFont(file, lazy=True) as font:
        return frozenset(font.getBestCmap())


def _core(text: str) -> bool:
    """Return whether the core fonts can show a text."""
    return text.encode(CODEC, "replace").decode(CODEC) == text


def _digest(text: str) -> bool:
    return len(text) >= 32 and all(c in "0123456789abcdef" for c in text)


def _moment(text: str) -> datetime:
    """Return when the dossier was made; a fixed time where that cannot be read."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime(1980, 1, 1, tzinfo=UTC)
