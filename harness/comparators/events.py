"""TensorBoard event files: scalars by tag and step, other summaries bit by bit."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, mapped
from harness.comparators.protobuf import Budget, Message
from harness.comparators.tensor import Tensor

TIME = "the time of day of each event"
WRITER = "which writer made the file"
# time and host (which may hold dots), then mostly pid and number, then what a writer likes
EVENT_FILE = re.compile(r"(.*tfevents)\.\d{9,}\..*?(?:\.\d+\.\d+(\D.*)?)?")


class EventsComparator(DocumentComparator):
    """Files named `*tfevents*` in the TFRecord framing."""

    id = "events"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is named as an event file and its first record fits."""
        if "tfevents" not in sniff.path.name or len(sniff.head) < 16:
            return False
        return int.from_bytes(sniff.head[:8], "little") <= sniff.size - 16

    def parse(self, path: Path, context: Context) -> Document:
        """Read every event."""
        scalars: dict[str, tuple[list[int], list[float]]] = {}
        others: dict[str, list[Any]] = {}
        times: list[bytes] = []
        writers: list[bytes] = []
        budget = Budget(depth=context.bounds.depth)
        for record in _records(mapped(path, context.bounds.expanded), path.name):
            event = Message(record, budget)
            times += [bytes(v) for v in event.raw(1)]
            writers += [bytes(v) for n in (3, 10) for v in event.raw(n)]
            step = event.number(2)
            for value in (v for s in event.messages(5) for v in s.messages(1)):
                _value(value, step, scalars, others)
            rest = event.rest(1, 2, 3, 5, 6, 7, 10)
            if rest:
                others.setdefault("(other events)", []).append({"step": step, **rest})
        content: dict[str, Any] = {
            tag: {"steps": Tensor.of(np.array(s, np.int64)), "values": Tensor.of(np.array(v))}
            for tag, (s, v) in sorted(scalars.items())
        }
        content |= {f"{k} (other)" if k in content else k: v for k, v in sorted(others.items())}
        return Document(content, {"wall_time": (times, TIME), "writer": (writers, WRITER)})


def _records(view: memoryview, name: str) -> list[memoryview]:
    found, at = [], 0
    while at < len(view):
        if len(view) - at < 16:
            raise CannotCompare(f"{name}: cut off inside a record")
        (size,) = struct.unpack_from("<Q", view, at)
        if size > len(view) - at - 16:
            raise CannotCompare(f"{name}: a record that claims {size} bytes")
        found.append(view[at + 12 : at + 12 + size])
        at += size + 16
    return found


def _value(
    value: Message,
    step: int,
    scalars: dict[str, tuple[list[int], list[float]]],
    others: dict[str, list[Any]],
) -> None:
    tag, number = value.text(1), value.float32(2)
    if number is None:
        number = _scalar(value.message(8))
    if number is None:
        others.setdefault(tag, []).append({"step": step, **value.rest(1)})
        return
    steps, values = scalars.setdefault(tag, ([], []))
    steps.append(step)
    values.append(number)


def _scalar(tensor: Message | None) -> float | None:
    """Return the value of a TensorProto that holds one float, None for any other."""
    if tensor is None or tensor.number(1) not in {1, 2}:
        return None
    kind, field = ("<f4", 5) if tensor.number(1) == 1 else ("<f8", 6)
    found = tensor.fixed(field, kind)
    if not found.size:
        found = tensor.fixed(4, kind)
    return float(found[0]) if found.size == 1 else None


def pairing_key(path: str) -> str:
    """Return the path of an event file without what names the run that wrote it.

    `events.out.tfevents.<time>.<host>.<pid>.<number>[.v2]`: time, host and process are dropped;
    what a writer puts behind them as a suffix of its own stays.
    """
    folder, slash, name = path.rpartition("/")
    found = EVENT_FILE.fullmatch(name)
    return f"{folder}{slash}{found[1]}{found[2] or ''}" if found else path
