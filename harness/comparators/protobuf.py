"""The protobuf wire format, read with limits and without a schema or a library."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.comparators.base import CannotCompare

Value = int | memoryview


@dataclass
class Budget:
    """How much one file may still cost: fields to decode, and how deep messages may nest."""

    fields: int = 5_000_000
    depth: int = 32

    def spend(self) -> None:
        """Count one field. Raises: CannotCompare when none is left."""
        self.fields -= 1
        if self.fields < 0:
            raise CannotCompare("a protobuf message with more fields than are read")


def varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return an unsigned varint and where it ends."""
    value = shift = 0
    while shift < 70:
        if at >= len(view):
            raise CannotCompare("a protobuf message is cut off")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise CannotCompare("a protobuf number is longer than ten bytes")


def walk(view: memoryview, budget: Budget) -> Iterator[tuple[int, int, Value]]:
    """Yield field number, wire type and value; fixed-size values as the bytes they are."""
    at = 0
    while at < len(view):
        budget.spend()
        key, at = varint(view, at)
        number, kind = key >> 3, key & 7
        if not number:
            raise CannotCompare("a protobuf field with number 0")
        if kind == 0:
            value, at = varint(view, at)
            yield number, kind, value
            continue
        if kind == 2:
            size, at = varint(view, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise CannotCompare(f"a protobuf field of wire type {kind}")
        if size > len(view) - at:
            raise CannotCompare("a protobuf message is cut off")
        yield number, kind, view[at : at + size]
        at += size


class Message:
    """One decoded message: the values of each field in file order."""

    def __init__(self, view: memoryview, budget: Budget, depth: int = 0) -> None:
        if depth > budget.depth:
            raise CannotCompare(f"protobuf messages nested deeper than {budget.depth}")
        self._budget, self._depth = budget, depth
        self.fields: dict[int, list[Value]] = {}
        for number, _, value in walk(view, budget):
            self.fields.setdefault(number, []).append(value)

    def raw(self, number: int) -> list[memoryview]:
        """Return the values of a field that holds bytes."""
        found = self.fields.get(number, [])
        if any(isinstance(v, int) for v in found):
            raise CannotCompare(f"protobuf field {number} is not bytes")
        return [v for v in found if not isinstance(v, int)]

    def number(self, number: int, default: int = 0) -> int:
        """Return the last value of an integer field, as a signed 64-bit number."""
        value = self.fields.get(number, [default])[-1]
        if not isinstance(value, int):
            raise CannotCompare(f"protobuf field {number} is not a number")
        return signed(value)

    def numbers(self, number: int) -> list[int]:
        """Return a repeated integer field, packed or not, signed."""
        found: list[int] = []
        for value in self.fields.get(number, []):
            found += [signed(value)] if isinstance(value, int) else self._packed(value)
        return found

    def _packed(self, view: memoryview) -> list[int]:
        found, at = [], 0
        while at < len(view):
            self._budget.spend()
            value, at = varint(view, at)
            found.append(signed(value))
        return found

    def fixed(self, number: int, dtype: str) -> np.ndarray:
        """Return a repeated fixed-size field, packed or not, as an array."""
        data = self.raw(number)
        joined = data[0] if len(data) == 1 else b"".join(data)
        if len(joined) % np.dtype(dtype).itemsize:
            raise CannotCompare(f"protobuf field {number} has a part of a number")
        return np.frombuffer(joined, dtype)

    def text(self, number: int) -> str:
        """Return a string field; bytes that are no UTF-8 stay visible as escapes."""
        found = self.raw(number)
        return bytes(found[-1]).decode("utf-8", "backslashreplace") if found else ""

    def texts(self, number: int) -> list[str]:
        """Return a repeated string field."""
        return [bytes(v).decode("utf-8", "backslashreplace") for v in self.raw(number)]

    def float32(self, number: int) -> float | None:
        """Return a float field, None where it is absent."""
        found = self.raw(number)
        if not found:
            return None
        value: float = struct.unpack("<f", found[-1])[0]
        return value

    def message(self, number: int) -> Message | None:
        """Return the one sub-message of a field, None where it is absent.

        Raises: CannotCompare when it stands twice: readers would merge what is then hidden here.
        """
        found = self.raw(number)
        if len(found) > 1:
            raise CannotCompare(f"protobuf field {number} stands twice")
        return Message(found[-1], self._budget, self._depth + 1) if found else None

    def messages(self, number: int) -> list[Message]:
        """Return a repeated sub-message."""
        return [Message(v, self._budget, self._depth + 1) for v in self.raw(number)]

    def rest(self, *known: int) -> dict[str, list[str]]:
        """Return every field not named in `known`, so that nothing is passed over in silence."""
        return {
            f"field {n}": [str(v) if isinstance(v, int) else bytes(v).hex() for v in values]
            for n, values in sorted(self.fields.items())
            if n not in known
        }


def signed(value: int) -> int:
    """Return a varint as the signed 64-bit number that it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value
