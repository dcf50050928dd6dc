"""Pickle, joblib and cloudpickle files, read on paper: never loaded, nothing imported or called."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from harness.comparators.base import Bounds, CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, clip, mapped
from harness.comparators.embedded import embedded
from harness.comparators.pickle_arrays import MODULES, appended, dtype_of, in_line, is_wrapper
from harness.comparators.pickle_machine import Call, Global, Machine, Pairs, Persistent, Sequence
from harness.comparators.run_only import stripped
from harness.comparators.tensor import Tensor, numbers
from harness.model import Difference, Status

DEPTH = 200
IMPORTS = "(imports)"
OPERATIONS = 50  # per entry of the bounds
MEMO = "memo numbering and framing are bookkeeping of the pickler"
PROTOCOL = "the protocol is how the content is written"
SET = "the order of a set's elements follows the hash seed"
SOURCE = "file and line of a function's source; its code is compared"
TRACKER = "a random identifier that cloudpickle gives to a class"
COMPRESSED = "how the pickle is compressed"
SUFFIXES = {".pkl", ".pickle", ".joblib", ".z", ".cloudpickle"}
# Packages whose objects a model is expected to be made of; all else is named as unsafe.
KNOWN = {
    "sklearn", "numpy", "scipy", "pandas", "joblib", "collections", "copyreg", "_codecs",
    "datetime", "lightgbm", "xgboost", "catboost", "torch", "array", "decimal", "fractions",
    "functools", "pathlib", "types", "uuid", "enum", "imblearn", "category_encoders",
}  # fmt: skip
BUILTINS = {
    "set", "frozenset", "list", "dict", "tuple", "int", "float", "complex", "bool", "str",
    "bytes", "bytearray", "object", "slice", "range", "type", "Ellipsis", "NotImplemented",
}  # fmt: skip


MACHINERY = {
    "numpy": {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"},
    "joblib": {"NumpyArrayWrapper"},
}


RECONSTRUCTORS = {"copyreg._reconstructor", "copy_reg._reconstructor"}


class Symbol(str):
    """Text of our own that no text inside a pickle can pass for."""


class PickleComparator(DocumentComparator):
    """Pickled objects of any library, compressed or not, by the calls that would rebuild them."""

    id = "pickle"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether the file, or what it compresses, begins as a pickle does."""
        if sniff.is_dir or len(sniff.head) < 3:
            return False
        if _begins(sniff.head):
            return True
        if _codec(sniff.head):
            try:
                return _begins(_expand(sniff.head, 64, partial=True))
            except CannotCompare:
                return False
        return sniff.path.suffix in SUFFIXES and sniff.head[:1] in b"(cl}]."

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file on paper."""
        view = mapped(path, context.bounds.expanded)
        codec = _codec(bytes(view[:8]))
        stream: Any = view.obj
        if codec:
            stream = io.BytesIO(_expand(bytes(view), context.bounds.member))
        return document(stream, path.name, context, codec)

    def told(self, found: Difference, one: Document, two: Document) -> Difference:
        """Add what loading would import to the answer, whether it differs or not."""
        names = [*dict.fromkeys((*one.content[IMPORTS], *two.content[IMPORTS]))]
        if not names:
            return found
        counts = Counter(name.split(".")[0] for name in names)
        packages = ", ".join(f"{n} of {package}" for package, n in sorted(counts.items()))
        reason = f"loading would import {len(names)} names, which was not done: {packages}"
        kept = [c for c in found.children if c.name != IMPORTS]
        node = next((c for c in found.children if c.name == IMPORTS), None)
        node = node or Difference(IMPORTS, Status.IDENTICAL)
        return replace(found, children=(*kept, replace(node, reason=reason)))


def document(stream: IO[bytes], name: str, context: Context, codec: str = "") -> Document:
    """Return the document of the pickle at the start of a stream."""

    def follow(source: IO[bytes], call: Call) -> Any:
        return appended(source, call, machine.run) if is_wrapper(call) else None

    machine = Machine(follow, context.bounds.entries * OPERATIONS)
    root = machine.run(stream)
    if stream.read(1):
        raise CannotCompare(f"{name}: bytes after the end of the pickle")
    canon = Canon(context.bounds.entries * OPERATIONS, context.bounds)
    tree = canon.value(root, "", 0)
    content = dict(tree) if isinstance(tree, dict) else {"object": tree}
    content["(discarded)"] = [
        canon.value(c, f"(discarded {n})", 0) for n, c in enumerate(machine.discarded)
    ]
    content[IMPORTS] = sorted(g for g in machine.globals if not _machinery(g))
    unsafe = unsafe_names(machine.globals)
    note = f"never loaded; it would import {clip(', '.join(unsafe))}" if unsafe else ""
    aside = {
        "protocol": (machine.protocol, PROTOCOL),
        "memo and framing": (machine.noise, MEMO),
        "compression": (codec, COMPRESSED),
        "set order": (canon.sets, SET),
        "source position": (canon.source, SOURCE),
        "class tracker": (canon.trackers, TRACKER),
        **canon.free,
    }
    return Document(content, aside, note)


def unsafe_names(names: Iterable[str]) -> list[str]:
    """Return what loading would import beyond the packages that models are made of."""
    return [name for name in sorted(names) if not _known(name)]


def _machinery(name: str) -> bool:
    """Return whether a name only rebuilds arrays or bytes, which are compared as such."""
    module, _, last = name.rpartition(".")
    package = module.split(".")[0]
    held = module in MODULES.get(package, ()) and last in MACHINERY.get(package, ())
    return held or name == "_codecs.encode"


def _known(name: str) -> bool:
    module, _, rest = name.rpartition(".")
    if module in {"builtins", "__builtin__"}:
        return rest in BUILTINS
    return name.split(".")[0] in KNOWN


def _begins(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in {b"\2", b"\3", b"\4", b"\5"}


def _codec(head: bytes) -> str:
    starts = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x5d\x00": "lzma"}
    for start, name in starts.items():
        if head.startswith(start):
            return name
    return (
        "zlib" if head[:1] == b"\x78" and len(head) > 1 and head[1] in b"\x01\x5e\x9c\xda" else ""
    )


def _expand(data: bytes, limit: int, *, partial: bool = False) -> bytes:
    """Return decompressed bytes, never more than the limit. Raises: CannotCompare."""
    codec = _codec(data)
    try:
        if codec in {"gzip", "zlib"}:
            engine = zlib.decompressobj(31 if codec == "gzip" else 15)
            found = engine.decompress(data, limit)
            ended = engine.eof
        elif codec == "bz2":
            packed = bz2.BZ2Decompressor()
            found, ended = packed.decompress(data, limit), packed.eof
        else:
            squeezed = lzma.LZMADecompressor(memlimit=256 << 20)
            found, ended = squeezed.decompress(data, limit), squeezed.eof
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
        raise CannotCompare(f"malformed {codec}: {error}") from error
    if not partial and not ended:
        raise CannotCompare(f"{codec} data that is cut off or expands beyond {limit} bytes")
    return found


class Canon:
    """Symbols to document: shared objects once, then by reference; what varies freely aside."""

    def __init__(self, values: int, bounds: Bounds | None = None) -> None:
        self.left, self.bounds = values, bounds or Bounds()
        self.free: dict[str, tuple[Any, str]] = {}
        self.seen: dict[int, str] = {}
        self.keep: list[Any] = []
        self.sets: list[str] = []
        self.source: list[Any] = []
        self.trackers: list[Any] = []

    def value(self, item: Any, path: str, depth: int) -> Any:
        """Return one symbol as a part of the document."""
        self.left -= 1
        if depth > DEPTH or self.left < 0:
            raise CannotCompare("a pickle nested deeper, or with more values, than is compared")
        if isinstance(item, str | bytes | bytearray):
            return self._written(item)
        if item is None or isinstance(item, bool | int | float):
            return item
        if isinstance(item, Global):
            return Symbol(f"name {item}")
        if isinstance(item, Persistent):
            return {"(persistent)": self.value(item.key, path, depth + 1)}
        if isinstance(item, Sequence) and _small(item):
            return tuple(self.value(i, path, depth + 1) for i in item.items)
        if id(item) in self.seen:
            return Symbol(f"the same object as {self.seen[id(item)] or 'the whole'}")
        self.seen[id(item)] = path
        return self._held(item, path, depth)

    def _written(self, item: str | bytes | bytearray) -> Any:
        """Return a text, bytes, or the model of another library that lies in them."""
        model = embedded(item, self.bounds)
        if model is not None:
            for what, (value, why) in model.aside.items():
                self._aside(what, value, why)
            return {"(model)": model.content}
        return item if isinstance(item, str) else _bytes(item)

    def _aside(self, what: str, value: Any, why: str) -> None:
        """Keep what varies freely, beside what was kept under that name before."""
        self.free[what] = ((*self.free.get(what, ((), ""))[0], value), why)

    def _held(self, item: Any, path: str, depth: int) -> Any:
        if isinstance(item, Sequence):
            return self._sequence(item, path, depth)
        if isinstance(item, Pairs):
            return self._pairs(item.items, path, depth)
        if isinstance(item, Call):
            return self._call(item, path, depth)
        return item if isinstance(item, Tensor | dict) else clip(item)

    def _sequence(self, item: Sequence, path: str, depth: int) -> Any:
        if item.kind in {"set", "frozenset"}:
            held = [self.value(i, path, depth + 1) for i in item.items]
            if not all(isinstance(i, str | int | float | bytes | None) for i in held):
                return {f"({item.kind})": held}
            self.sets.append(repr(held))
            return {f"({item.kind})": sorted(held, key=lambda i: (type(i).__name__, repr(i)))}
        if len(item.items) > 8 and all(type(i) in (int, float) for i in item.items):
            return {f"({item.kind} of numbers)": numbers(item.items)}
        held = [self.value(i, f"{path}[{n}]", depth + 1) for n, i in enumerate(item.items)]
        return tuple(held) if item.kind == "tuple" else held

    def _pairs(self, pairs: list[tuple[Any, Any]], path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number, (key, value) in enumerate(pairs):
            name = key if isinstance(key, str) else self._key(key, path, number, depth)
            if isinstance(key, str) and key[:1] in ("(", "\\"):
                name = f"\\{key}"  # our own keys are in parentheses
            if name in found:
                name = f"{name} #{number}"
            found[name] = self.value(value, f"{path}.{name}".lstrip("."), depth + 1)
        return found

    def _key(self, key: Any, path: str, number: int, depth: int) -> str:
        shown = self.value(key, f"{path} key {number}", depth + 1)
        if isinstance(shown, Tensor):
            return f"{shown.dtype} {list(shown.shape)} {bytes(shown.data[:64]).hex()}"
        return f"({shown!r})"

    def _call(self, item: Call, path: str, depth: int) -> Any:
        if item.raw is not None:
            return self.value(item.raw, path, depth + 1) if _symbol(item.raw) else item.raw
        array = in_line(item)
        if array is not None:
            return array
        kind = dtype_of(item)
        if kind is not None:
            return Symbol(f"dtype {kind.str if kind.names is None else kind.descr}")
        callee = self.value(item.callee, path, depth + 1)
        found: dict[str, Any] = {"(new)" if item.new else "(call)": callee}
        arguments = self._free(str(item.callee), item.arguments)
        if arguments:
            given = [self.value(a, f"{path}({n})", depth + 1) for n, a in enumerate(arguments)]
            found["(arguments)"] = given
        for number, state in enumerate(item.states):
            self._state(found, state, number, path, depth)
        if item.appended:
            found["(items)"] = self._sequence(Sequence("list", item.appended), path, depth)
        if item.items:
            found["(entries)"] = self._pairs(item.items, path, depth)
        for name, value, why in stripped(_class(item), found):
            self._aside(name, _comparable(value), why)
        return found

    def _state(self, found: dict[str, Any], state: Any, number: int, path: str, depth: int) -> None:
        """Put an object's state under the object itself, so that attributes have plain names."""
        if isinstance(state, Pairs) and not number and id(state) not in self.seen:
            self.seen[id(state)] = path
            found.update(self._pairs(state.items, path, depth))
        else:
            found[f"(state {number})"] = self.value(state, f"{path} state", depth + 1)

    def _free(self, callee: str, arguments: list[Any]) -> list[Any]:
        """Return a call's arguments without those that vary freely."""
        kept = list(arguments)
        if "_make_skeleton_class" in callee and len(kept) > 4:
            self.trackers.append(repr(kept[4]))
            kept[4] = "(set aside)"
        if len(kept) == 18 and isinstance(kept[6], bytes) and isinstance(kept[10], str):
            self.source.append(repr((kept[10], kept[13], kept[14])))
            kept[10] = kept[13] = kept[14] = "(set aside)"
        return kept


def _class(item: Call) -> str:
    """Return the class that a call makes an object of; the oldest protocols go by copyreg."""
    name = str(item.callee)
    old = name in RECONSTRUCTORS and item.arguments
    return str(item.arguments[0]) if old else name


def _comparable(value: Any) -> Any:
    """Return a value that compares by content."""
    if isinstance(value, Tensor):
        return value.dtype, value.shape, bytes(value.data)
    return repr(value)


def _symbol(value: Any) -> bool:
    return isinstance(value, Sequence | Pairs | Call | Global)


def _small(item: Sequence) -> bool:
    atoms = (str, int, float, bytes, type(None), Global)
    return (
        item.kind == "tuple"
        and len(item.items) <= 16
        and all(isinstance(i, atoms) for i in item.items)
    )


def _bytes(data: bytes | bytearray) -> Any:
    if len(data) > 32:
        return {"(bytes)": Tensor("uint8", (len(data),), data)}
    return Symbol(f"{type(data).__name__} {data.hex()}")
