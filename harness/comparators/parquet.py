"""Parquet, Feather and Arrow tables: schema, then columns, rows in order.

pyarrow parses hostile bytes in this process: what the footer claims is bounded before a column is
read, columns are read in batches up to a bound, texts that repeat are kept once, types that can
name one value many times are refused, and every array is validated whole before it is touched.
A page may still claim up to 2 GiB by itself, and a hole in pyarrow's own parsers remains: only a
sandbox around this process takes those away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.tensor import Tensor

WRITER = "the library that wrote the file"
LAYOUT = "row groups, pages and compression are how the table is stored"
PLAIN = [
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float",
    "double",
    "halffloat",
]
TEXTS = {"string", "large_string", "binary", "large_binary"}
# types in which a few bytes may stand for very many values
REPEATING = ("run_end_encoded", "_view")
BATCH, WIDTH, LONG = 1 << 16, 8, 4096
SMALL, RATIO = 1 << 28, 1000  # a table may always expand to the first, and to its size times this
FREE_PANDAS = {"creator", "pandas_version"}


class ParquetComparator(DocumentComparator):
    """Columnar tables that pyarrow reads."""

    id = "parquet"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the file begins as Parquet or as an Arrow file does."""
        return sniff.head.startswith((b"PAR1", b"ARROW1"))

    def parse(self, path: Path, context: Context) -> Document:
        """Read one table. Raises: CannotCompare without pyarrow."""
        try:
            import pyarrow as arrow
        except ImportError as error:
            raise CannotCompare(
                "tables need pyarrow", "pip install 'repro-harness[arrow]'"
            ) from error
        view = mapped(path, context.bounds.expanded)
        try:
            table, writer, layout = _table(path, bytes(view[:4]) == b"PAR1", context)
            content, free = _content(arrow, table, context)
        except (arrow.ArrowException, OSError, TypeError) as error:
            raise CannotCompare(f"{path.name}: malformed table: {error}") from error
        aside = {"writer": ((writer, repr(free)), WRITER), "layout": (layout, LAYOUT)}
        return Document(content, aside)


def _table(path: Path, is_parquet: bool, context: Context) -> tuple[Any, str, Any]:
    """Return the table, who wrote it and how it is cut; validated, so that it can be touched."""
    limit = min(context.bounds.member, max(SMALL, path.stat().st_size * RATIO))
    if not is_parquet:
        from pyarrow import ipc, memory_map

        with memory_map(str(path)) as source:
            reader = ipc.open_file(source)
            if reader.num_record_batches > context.bounds.entries:
                raise CannotCompare("an Arrow file with too many batches")
            parts = (reader.get_batch(n) for n in range(reader.num_record_batches))
            return _joined(parts, reader.schema, limit), "", reader.num_record_batches
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        info, schema = file.metadata, file.schema_arrow
        groups = [info.row_group(n) for n in range(info.num_row_groups)]
        size = sum(g.total_byte_size for g in groups)
        if size > context.bounds.member or info.num_columns > context.bounds.entries:
            raise CannotCompare(f"a table that expands to {size} bytes")
        if info.num_rows * max(info.num_columns, 1) * WIDTH > limit:
            raise CannotCompare(f"a table that claims {info.num_rows} rows")
        texts = [f.name for f in schema if str(f.type) in TEXTS]
    # One text that very many rows name is read once, not once per row.
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        parts = file.iter_batches(batch_size=BATCH)
        table = _joined(parts, file.schema_arrow, limit)
    return _Read(table, schema), info.created_by, [g.num_rows for g in groups]


class _Read:
    """A table whose texts were read as dictionaries, under the schema that the file has."""

    def __init__(self, table: Any, schema: Any) -> None:
        self.column, self.num_rows, self.schema = table.column, table.num_rows, schema


def _joined(parts: Iterable[Any], schema: Any, limit: int) -> Any:
    import pyarrow as arrow

    held, size = [], 0
    for part in parts:
        part.validate(full=True)
        size += part.nbytes
        if size > limit:
            raise CannotCompare(f"a table that expands beyond {limit} bytes")
        held.append(part)
    return arrow.Table.from_batches(held, schema if not held else held[0].schema)


def _content(arrow: Any, table: Any, context: Context) -> tuple[dict[str, Any], Any]:
    metadata = {
        k.decode("utf-8", "replace"): v.decode("utf-8", "replace")
        for k, v in (table.schema.metadata or {}).items()
    }
    free = {}
    if "pandas" in metadata:
        pandas = json.loads(metadata.pop("pandas"))
        free = {k: pandas.pop(k, None) for k in sorted(FREE_PANDAS)}
        metadata["pandas"] = pandas
    content: dict[str, Any] = {
        "schema": [f"{f.name}: {f.type}" for f in table.schema],
        "rows": table.num_rows,
        "metadata": metadata,
    }
    for number, name in enumerate(table.schema.names):
        label = name if table.schema.names.count(name) == 1 else f"{name} #{number}"
        content[f"column {label}" if label in content else label] = _column(
            arrow, table.column(number), context
        )
    return content, free


def _column(arrow: Any, column: Any, context: Context) -> Any:
    if str(column.type) not in PLAIN:
        if len(column) > context.bounds.entries * 50:
            raise CannotCompare("a column with more values than are read")
        if any(kind in str(column.type) for kind in REPEATING):
            raise CannotCompare(f"a column of type {str(column.type)[:80]}")
        return [_shown(v) for v in _list(column)]
    missing = column.is_null()
    zero = arrow.scalar(0, column.type) if column.null_count else None
    values = column.fill_null(zero) if column.null_count else column
    found = Tensor.of(values.combine_chunks().to_numpy(zero_copy_only=False))
    if not column.null_count:
        return found
    return {
        "values": found,
        "missing": Tensor.of(missing.combine_chunks().to_numpy(zero_copy_only=False)),
    }


def _word(value: Any) -> Any:
    """Return a long text as its digest: very many rows may name it, each of them is compared."""
    if not isinstance(value, str | bytes) or len(value) <= LONG:
        return value
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return f"{value[:80]!r}… ({len(value)} long, sha256 {hashlib.sha256(data).hexdigest()})"


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else repr(value)


def _list(column: Any) -> list[Any]:
    """Return a column as Python values; what a dictionary holds once is made once."""
    values: list[Any] = []
    for chunk in column.chunks:
        if str(chunk.type).startswith("dictionary"):
            words = [_word(w) for w in chunk.dictionary.to_pylist()]
            values += [None if n is None else words[n] for n in chunk.indices.to_pylist()]
        else:
            values += chunk.to_pylist()
    return values
