"""TensorFlow's messages by field name, read without TensorFlow; unknown fields stay visible."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from harness.comparators.base import CannotCompare
from harness.comparators.protobuf import Message
from harness.comparators.tensor import Tensor, checked

# DataType -> (name, bytes, field of TensorProto that holds the values, how they lie there)
TYPES = {
    1: ("float32", 4, 5, "<f4"), 2: ("float64", 8, 6, "<f8"), 3: ("int32", 4, 7, ""),
    4: ("uint8", 1, 7, ""), 5: ("int16", 2, 7, ""), 6: ("int8", 1, 7, ""),
    8: ("complex64", 8, 9, "<f4"), 9: ("int64", 8, 10, ""), 10: ("bool", 1, 11, ""),
    14: ("bfloat16", 2, 13, ""), 17: ("uint16", 2, 7, ""), 18: ("complex128", 16, 12, "<f8"),
    19: ("float16", 2, 13, ""), 22: ("uint32", 4, 16, ""), 23: ("uint64", 8, 17, ""),
}  # fmt: skip
STRING, MOST = 7, 1 << 28
# message -> "number name kind"; `*` repeated, `<…>` a map with text keys, `#<…>` with numbers
SCHEMA = {
    "SavedModel": "1 schema int, 2 meta MetaGraph*",
    "MetaGraph": "1 info MetaInfo, 2 graph Graph, 3 saver Saver, 4 collections <Raw>, "
    "5 signatures <Signature>, 6 assets Asset*, 7 objects Objects",
    "MetaInfo": "1 graph_version text, 2 ops Raw, 3 any Raw, 4 tags text*, 5 tf_version text, "
    "6 tf_git text, 7 stripped int, 8 aliases <text>",
    "Saver": "1 filename text, 2 save text, 3 restore text, 4 keep int, 5 sharded int, "
    "6 hours float, 7 version int",
    "Signature": "1 inputs <Info>, 2 outputs <Info>, 3 method text, 4 defaults <tensor>",
    "Info": "1 name text, 2 dtype int, 3 shape shape, 4 sparse Raw, 5 composite Raw",
    "Asset": "1 tensor Info, 2 file text",
    "Graph": "1 nodes Node*, 2 library Library, 3 version int, 4 versions Versions, 5 debug Raw",
    "Versions": "1 producer int, 2 consumer int, 3 bad int*",
    "Library": "1 functions Function*, 2 gradients Raw*, 3 registered Raw*",
    "Function": "1 signature Op, 5 attr <Attr>, 7 arg_attr #<ArgAttr>, 8 resources #<int>, "
    "3 nodes Node*, 4 ret <text>, 6 control_ret <text>",
    "Op": "1 name text, 2 inputs Arg*, 3 outputs Arg*, 20 control text*, 4 attr Raw*, "
    "8 deprecation Raw, 5 summary text, 6 description text, 18 commutative int, 16 aggregate int, "
    "17 stateful int, 19 uninitialized int, 21 distributed int",
    "Arg": "1 name text, 2 description text, 3 type int, 4 type_attr text, 5 number_attr text, "
    "6 type_list text, 7 handle Handle*, 16 is_ref int, 17 full_type Raw",
    "Handle": "1 dtype int, 2 shape shape",
    "ArgAttr": "1 attr <Attr>",
    "Node": "1 name text, 2 op text, 3 inputs text*, 4 device text, 5 attr <Attr>, "
    "6 debug Raw, 7 full_type Raw",
    "Attr": "1 list List, 2 s bytes, 3 i int, 4 f float, 5 b int, 6 type int, 7 shape shape, "
    "8 tensor tensor, 9 placeholder text, 10 func Func",
    "List": "2 s bytes*, 3 i int*, 4 f float*, 5 b int*, 6 type int*, 7 shape shape*, "
    "8 tensor tensor*, 9 func Func*",
    "Func": "1 name text, 2 attr <Attr>",
    "Objects": "1 nodes Object*, 2 functions <Concrete>",
    "Object": "1 children Ref*, 15 dependencies Ref*, 3 slots Slot*, 4 user User, 5 asset Raw, "
    "6 function Traced, 7 variable Variable, 8 bare Bare, 9 constant Constant, 10 resource Raw, "
    "12 captured Captured, 11 saveables <Saveable>, 13 registered text, 14 proto Raw, "
    "16 saver text",
    "Ref": "1 node int, 2 name text",
    "Slot": "1 original int, 2 name text, 3 variable int",
    "User": "1 identifier text, 2 version Versions, 3 metadata text",
    "Traced": "1 functions text*, 2 spec Spec",
    "Variable": "1 dtype int, 2 shape shape, 3 trainable int, 4 synchronization int, "
    "5 aggregation int, 6 name text, 7 device text, 8 parts Variable*",
    "Bare": "1 function text, 2 keywords text*, 3 positional int, 4 spec Spec",
    "Constant": "1 operation text",
    "Captured": "1 name text, 2 function text",
    "Saveable": "2 save int, 3 restore int",
    "Concrete": "2 bound int*, 3 inputs Structured, 4 outputs Structured",
    "Spec": "1 arguments Structured, 2 method int, 5 signature Structured, 6 jit int",
    "Structured": "1 none Raw, 11 double fixed, 12 int int, 13 text text, 14 bool int, "
    "31 shape shape, 32 dtype int, 33 tensor_spec TensorSpec, 34 type_spec TypeSpec, "
    "35 bounded Raw, 51 list Listed, 52 tuple Listed, 53 dict Fields, 54 named Named, "
    "55 tensor tensor, 56 numpy tensor",
    "TensorSpec": "1 name text, 2 shape shape, 3 dtype int",
    "TypeSpec": "1 class int, 2 state Structured, 3 name text, 4 components int",
    "Listed": "1 values Structured*",
    "Fields": "1 fields <Structured>",
    "Named": "1 name text, 2 values Pair*",
    "Pair": "1 key text, 2 value Structured",
    "Fingerprint": "1 saved_model_checksum int, 2 graph_def_program_hash int, "
    "3 signature_def_hash int, 4 saved_object_graph_hash int, 5 checkpoint_hash int, "
    "7 uuid text, 6 version Versions",
    # TrackableObjectGraph, which a checkpoint holds under _CHECKPOINTABLE_OBJECT_GRAPH
    "Trackables": "1 nodes Trackable*",
    "Trackable": "1 children Ref*, 2 attributes Held*, 3 slots Slot*, 4 registered Raw, "
    "5 has_values Raw",
    "Held": "1 name text, 2 full_name text, 3 key text",
}


@cache
def _fields(kind: str) -> tuple[tuple[int, str, str], ...]:
    rows = (row.split() for row in SCHEMA[kind].split(","))
    return tuple((int(number), name, of) for number, name, of in rows)


def decode(message: Message, kind: str) -> dict[str, Any]:
    """Return a message as a dictionary; what the schema does not know is kept as hex."""
    fields = _fields(kind)
    found: dict[str, Any] = {}
    for number, name, of in fields:
        if number in message.fields:
            found[name] = _field(message, number, of)
    return found | message.rest(*(number for number, _, _ in fields))


def _field(message: Message, number: int, kind: str) -> Any:
    if kind.endswith(">"):
        return _map(message, number, kind.startswith("#"), kind.strip("#<>"))
    if not kind.endswith("*"):
        if len(message.fields[number]) > 1:  # TensorFlow would merge them
            raise CannotCompare("a field that may stand once stands twice")
        return _many(message, number, kind)[-1]
    return _many(message, number, kind[:-1])


def _map(message: Message, number: int, numbered: bool, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in message.messages(number):
        key = str(entry.number(1)) if numbered else entry.text(1)
        if key in found:
            raise CannotCompare(f"the key {key[:80]!r} stands twice in one map")
        found[key] = _field(entry, 2, kind) if 2 in entry.fields else None
    return dict(sorted(found.items()))


def _many(message: Message, number: int, kind: str) -> list[Any]:
    if kind in PLAIN:
        return PLAIN[kind](message, number)
    return [decode(m, kind) for m in message.messages(number)]


def shape(message: Message) -> str:
    """Return a TensorShapeProto as text, `?` where a dimension is not known."""
    if message.number(3):
        return "unknown rank"
    dims = [(d.number(1), d.text(2)) for d in message.messages(2)]
    return str([name or ("?" if size < 0 else size) for size, name in dims])


def tensor(message: Message) -> Any:
    """Return a TensorProto as a tensor, its strings as a list, other types as their fields."""
    kind = message.number(1)
    dims = message.message(2)
    sizes = tuple(d.number(1) for d in dims.messages(2)) if dims else ()
    if kind == STRING:
        texts = [bytes(v).decode("utf-8", "surrogateescape") for v in message.raw(8)]
        return {"strings": texts, "shape": str(list(sizes)), **message.rest(1, 2, 8)}
    if kind not in TYPES:
        return {"type": kind, "shape": str(list(sizes)), **message.rest(1, 2)}
    name, width, field, form = TYPES[kind]
    if any(d < 0 for d in sizes) or np.prod(sizes, dtype=float) * width > MOST:
        raise CannotCompare(f"a constant of shape {list(sizes)[:8]}")
    data = message.raw(4)
    if data:
        return checked(name, sizes, data[-1], width)
    return _spread(_values(message, field, form, name, width), sizes, name, width)


def _values(message: Message, field: int, form: str, name: str, width: int) -> bytes:
    if form:
        return message.fixed(field, form).tobytes() if field in message.fields else b""
    mask = (1 << 8 * width) - 1
    return b"".join((v & mask).to_bytes(width, "little") for v in message.numbers(field))


def _spread(data: bytes, sizes: tuple[int, ...], name: str, width: int) -> Tensor:
    """Return the tensor; values that are left out repeat the last one, none at all means 0."""
    count = int(np.prod(sizes, dtype=np.int64))
    missing = count * width - len(data)
    if missing < 0:
        raise CannotCompare(f"a constant with more values than its shape {list(sizes)[:8]}")
    last = data[-width:] if data else bytes(width)
    return checked(name, sizes, data + last * (missing // width), width)


def _raw(message: Message, number: int) -> list[Any]:
    return [bytes(v).hex() for v in message.raw(number)]


def _floats(message: Message, number: int) -> list[Any]:
    return [float(v) for v in message.fixed(number, "<f4")]


PLAIN: dict[str, Callable[[Message, int], list[Any]]] = {
    "int": lambda m, n: m.numbers(n),
    "text": lambda m, n: m.texts(n),
    "bytes": lambda m, n: [bytes(v).decode("utf-8", "surrogateescape") for v in m.raw(n)],
    "float": _floats,
    "fixed": lambda m, n: [struct.unpack("<Q", v)[0] for v in m.raw(n)],
    "shape": lambda m, n: [shape(v) for v in m.messages(n)],
    "tensor": lambda m, n: [tensor(v) for v in m.messages(n)],
    "Raw": _raw,
}
