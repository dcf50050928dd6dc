"""A small SavedModel, written by hand: a graph, a saver, a variable that Keras keeps in a set."""

from __future__ import annotations

import struct

Field = tuple[int, "int | str | bytes"]


def number(value: int) -> bytes:
    """Return a varint."""
    found = b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def message(*fields: Field) -> bytes:
    """Return a message: numbers as varints, texts and messages by their length."""
    found = b""
    for at, value in fields:
        if isinstance(value, int):
            found += number(at << 3) + number(value)
            continue
        data = value.encode() if isinstance(value, str) else value
        found += number(at << 3 | 2) + number(len(data)) + data
    return found


def attr(name: str, *value: Field) -> Field:
    return 5, message((1, name), (2, message(*value)))


def node(name: str, op: str, inputs: tuple[str, ...] = (), *attrs: Field) -> bytes:
    return message((1, name), (2, op), *((3, i) for i in inputs), *attrs)


def strings(name: str, *values: str) -> bytes:
    shape = message((2, message((1, len(values)))))
    tensor = message((1, 7), (2, shape), *((8, v) for v in values))
    return node(name, "Const", (), attr("value", (8, tensor)), attr("dtype", (6, 7)))


FLOATS = message((1, 1), (2, message((2, message((1, 2))))), (4, struct.pack("<2f", 0.5, 1.5)))
KEY = "_all_variables/0/.ATTRIBUTES/VARIABLE_VALUE"
CALL = attr("f", (10, message((1, "__inference__traced_restore_7"))))


def restore() -> bytes:
    """Return the function that assigns what a checkpoint holds."""
    path = message((1, "prefix"), (3, 7))
    variable = message((1, "assign"), (3, 20))
    signature = message(
        (1, "__inference__traced_restore_7"), (2, path), (2, variable), (3, message((1, "out")))
    )
    types = attr("dtypes", (1, message((6, bytes([1])))))
    names = ("prefix", "names:output:0", "slices:output:0")
    nodes = [
        strings("names", KEY),
        strings("slices", ""),
        node("RestoreV2", "RestoreV2", names, types),
        node("Assign", "AssignVariableOp", ("assign", "RestoreV2:tensors:0")),
        node("Out", "Identity", ("prefix", "^Assign"), attr("_class", (2, b"loc:@w"))),
    ]
    ret = message((1, "out"), (2, "Out:output:0"))
    return message((1, signature), *((3, n) for n in nodes), (4, ret))


def saved_model() -> bytes:
    """Return the whole file."""
    nodes = [
        node("w", "VarHandleOp", (), attr("shared_name", (2, b"w"))),
        node("x", "Placeholder", (), attr("dtype", (6, 1))),
        node("c", "Const", (), attr("value", (8, FLOATS)), attr("dtype", (6, 1))),
        node("path", "Placeholder", (), attr("dtype", (6, 7))),
        node("call", "StatefulPartitionedCall", ("path", "w"), CALL),
    ]
    library = message((1, restore()))
    graph = message(*((1, n) for n in nodes), (2, library), (4, message((1, 1987))))
    info = message((4, "serve"), (5, "2.21.0"), (6, "v2.21.0"))
    tensor = message((1, "x:0"), (2, 1))
    signature = message((1, "serve"), (2, message((1, message((1, "x"), (2, tensor))))))
    children = [message((1, 1), (2, "_all_variables")), message((1, 2), (2, "serve"))]
    objects = [
        message(*((1, c) for c in children), (4, message((1, "_generic_user_object")))),
        message((1, message((1, 3), (2, "0")))),
        message((6, message((1, "__inference__traced_restore_7")))),
        message((7, message((1, 1), (6, "w")))),
    ]
    bound = message((1, "__inference__traced_restore_7"), (2, message((2, bytes([3])))))
    tracked = message(*((1, o) for o in objects), (2, bound))
    meta = message((1, info), (2, graph), (5, signature), (7, tracked))
    return message((1, 1), (2, meta))


FINGERPRINT = message((1, 5), (2, 6), (7, "123"), (6, message((1, 1))))
