"""CSV and TSV tables: rows in order, columns of numbers by tolerance."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, contents, is_number
from harness.comparators.tensor import numbers

SEPARATORS = {".csv": ",", ".tsv": "\t"}
ENDS = "line ends and quotes are how the table is written"


class CsvComparator(DocumentComparator):
    """Tables with a header, by column."""

    id = "csv"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is text named as a table."""
        return sniff.path.suffix.lower() in SEPARATORS and b"\0" not in sniff.head

    def parse(self, path: Path, context: Context) -> Document:
        """Read one table."""
        text = contents(path, context.bounds.header).decode("utf-8-sig")
        separator = SEPARATORS.get(path.suffix.lower(), ",")
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
        except csv.Error as error:
            raise CannotCompare(f"{path.name}: malformed CSV: {error}") from error
        rows = [r for r in rows if r]
        if not rows:
            return Document({"columns": []})
        header, *body = rows
        ragged = next((n for n, r in enumerate(body, 2) if len(r) != len(header)), None)
        if ragged is not None:
            return Document({"rows": rows})
        columns = {
            name if header.count(name) == 1 else f"{name} #{n}": _column([r[n] for r in body])
            for n, name in enumerate(header)
        }
        content = {"columns": header, "rows": len(body), **{f"{k}": v for k, v in columns.items()}}
        return Document(content, {"line ends": ("\r\n" in text, ENDS)})


def _column(cells: list[str]) -> Any:
    if not all(map(is_number, cells)):
        return cells
    return numbers([int(c) if c.removeprefix("-").isdecimal() else float(c) for c in cells])
