"""Parquet, Feather and Arrow tables: schema, then columns, rows in order."""

from __future__ import annotations

import json
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
    if not is_parquet:
        from pyarrow import ipc, memory_map

        with memory_map(str(path)) as source:
            reader = ipc.open_file(source)
            if reader.num_record_batches > context.bounds.entries:
                raise CannotCompare("an Arrow file with too many batches")
            table = reader.read_all()
        return table, "", reader.num_record_batches
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        info = file.metadata
        groups = [info.row_group(n) for n in range(info.num_row_groups)]
        size = sum(g.total_byte_size for g in groups)
        if size > context.bounds.member or info.num_columns > context.bounds.entries:
            raise CannotCompare(f"a table that expands to {size} bytes")
        if info.num_rows * max(info.num_columns, 1) > context.bounds.member:
            raise CannotCompare(f"a table that claims {info.num_rows} rows")
        return file.read(), info.created_by, [g.num_rows for g in groups]


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
        return [v if isinstance(v, str | int | float | bool) else repr(v) for v in _list(column)]
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


def _list(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values
