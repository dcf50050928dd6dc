"""skops files: the schema as a document, its arrays from the members, nothing constructed."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator
from harness.comparators.embedded import embedded
from harness.comparators.members import checked_members, read_member
from harness.comparators.npy import array
from harness.comparators.run_only import stripped
from harness.comparators.tensor import Tensor

IDS = "memory addresses of the process that saved; references are compared by order"
VERSION = "the version of skops that wrote the file"
DEPTH = 200


class SkopsComparator(DocumentComparator):
    """Models saved by `skops.io.dump`."""

    id = "skops"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is a zip with the schema of skops."""
        if sniff.is_dir or not sniff.head.startswith(b"PK"):
            return False
        try:
            with zipfile.ZipFile(sniff.path) as archive:
                return b"__loader__" in archive.open("schema.json").read(4096)
        except Exception:  # not a whole zip, or none with a schema: another format's file
            return False

    def parse(self, path: Path, context: Context) -> Document:
        """Read the schema and every array that it names."""
        try:
            with zipfile.ZipFile(path) as archive:
                members = {
                    m.filename: read_member(archive, m, context.bounds)
                    for m in checked_members(archive, path, context.bounds)
                }
        except zipfile.BadZipFile as error:
            raise CannotCompare(f"{path.name}: {error}") from error
        schema = json.loads(members.pop("schema.json"))
        version = schema.pop("_skops_version", "")
        reader = _Schema(members, context)
        content = reader.value(schema, 0)
        if unused := members.keys() - reader.used:
            raise CannotCompare(f"{path.name}: members that the schema does not name: {unused!r}")
        return Document(
            content,
            {
                "object ids": (reader.ids, IDS),
                "skops version": (version, VERSION),
                **reader.free,
            },
        )


class _Schema:
    def __init__(self, members: dict[str, bytes], context: Context) -> None:
        self.members, self.context = members, context
        self.used: set[str] = set()
        self.ids: dict[int, int] = {}
        self.free: dict[str, tuple[Any, str]] = {}

    def value(self, item: Any, depth: int) -> Any:
        if depth > DEPTH:
            raise CannotCompare(f"a schema nested deeper than {DEPTH}")
        if isinstance(item, list):
            return [self.value(i, depth + 1) for i in item]
        if not isinstance(item, dict):
            return item
        number = item.get("__id__")
        first = len(self.ids)
        if isinstance(number, int):
            first = self.ids.setdefault(number, first)
        if item.get("__loader__") == "CachedNode":
            return f"the same object as number {first}"
        found = {
            k: self.value(v, depth + 1) for k, v in item.items() if k not in {"__id__", "file"}
        }
        if isinstance(item.get("file"), str):
            found["data"] = self._member(item["file"])
        if item.get("is_json") and isinstance(item.get("content"), str):
            held = json.loads(item["content"])
            found["content"] = self._written(held) if isinstance(held, str) else held
        self._run_only(found)
        return found

    def _run_only(self, found: dict[str, Any]) -> None:
        """Set aside what only says how an object's training ran."""
        held = found.get("content")
        attributes = held.get("content") if isinstance(held, dict) else None
        if isinstance(attributes, dict):
            name = f"{found.get('__module__')}.{found.get('__class__')}"
            plain = {key: _dictionary(value) for key, value in attributes.items()}
            for key, value, why in stripped(name, plain):
                self._aside(key, repr(value), why)
            for key in attributes.keys() - plain.keys():
                del attributes[key]

    def _member(self, name: str) -> Any:
        self.used.add(name)
        data = self.members[name]
        if name.endswith(".npy"):
            return array(memoryview(data), name)[0]
        if name.endswith(".npz"):
            with zipfile.ZipFile(io.BytesIO(data)) as inner:
                held = checked_members_of(inner, data, self.context)
            return {n: array(memoryview(d), n)[0] for n, d in held.items()}
        return self._written(data)

    def _written(self, item: str | bytes) -> Any:
        """Return a text, bytes, or the model of another library that lies in them."""
        model = embedded(item, self.context.bounds)
        if model is None:
            return item if isinstance(item, str) else Tensor("uint8", (len(item),), item)
        for what, (value, why) in model.aside.items():
            self._aside(what, value, why)
        return {"(model)": model.content}

    def _aside(self, what: str, value: Any, why: str) -> None:
        """Keep what varies freely, beside what was kept under that name before."""
        self.free[what] = ((*self.free.get(what, ((), ""))[0], value), why)


def _dictionary(node: Any) -> Any:
    """Return the entries of a node that stands for a dictionary, any other node as it is."""
    if isinstance(node, dict) and node.get("__loader__") == "DictNode":
        return node.get("content")
    return node


def checked_members_of(inner: zipfile.ZipFile, data: bytes, context: Context) -> dict[str, bytes]:
    """Return the members of a zip inside a member, within the bounds."""
    members = inner.infolist()
    if len(members) > context.bounds.entries or len({m.filename for m in members}) != len(members):
        raise CannotCompare("an inner zip with too many members, or one twice")
    if sum(m.file_size for m in members) > context.bounds.member:
        raise CannotCompare(f"an inner zip of {len(data)} bytes expands beyond the bounds")
    return {m.filename: read_member(inner, m, context.bounds) for m in sorted(members, key=str)}
