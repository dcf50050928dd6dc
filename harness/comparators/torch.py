"""torch's zip files (.pt, .pth, .ckpt, TorchScript, .pt2), read without torch."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.comparators.base import Bounds, CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, clip, mapped
from harness.comparators.members import checked_members, member_view
from harness.comparators.pickle import OPERATIONS, unsafe_names
from harness.comparators.pickle_machine import Machine
from harness.comparators.tensor import Tensor
from harness.comparators.textual import prepared
from harness.comparators.torch_tensors import DTYPES, TorchCanon

CONTAINER = {
    "version": "the version of the container",
    ".format_version": "the version of the container",
    ".storage_alignment": "how storages are aligned in the file",
    ".data/serialization_id": "a digest of the file's own layout",
    ".data/version": "the version of the container",
    "archive_version": "the version of the container",
}
DEBUG = "source paths and lines of the script that saved"
TOP = "the top folder is the file's name"
DEVICE = "the device that held a tensor is not its value"
GRADIENT = "whether a tensor asks for gradients is not its value"
LAYOUT = "offset, strides and storage size of a tensor are not its value"
REBUILDS = ("torch._utils.", "collections.OrderedDict", "torch.storage.")
# Source: torch/_export/serde/schema.py, ScalarType.
SCALARS = {
    1: "ByteStorage", 2: "CharStorage", 3: "ShortStorage", 4: "IntStorage", 5: "LongStorage",
    6: "HalfStorage", 7: "FloatStorage", 8: "DoubleStorage", 10: "ComplexFloatStorage",
    11: "ComplexDoubleStorage", 12: "BoolStorage", 13: "BFloat16Storage",
}  # fmt: skip


class TorchComparator(DocumentComparator):
    """Whatever `torch.save`, `torch.jit.save` and `torch.export.save` write."""

    id = "torch"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is a zip with torch's pickle or archive format under one folder."""
        if sniff.is_dir or not sniff.head.startswith(b"PK\x03\x04"):
            return False
        try:
            with zipfile.ZipFile(sniff.path) as archive:
                names = {name.partition("/")[2] for name in archive.namelist()}
        except Exception:  # not a whole zip: another format's file
            return False
        return "data.pkl" in names or "archive_format" in names

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file; storages stay where they lie."""
        return read_zip(mapped(path, context.bounds.expanded), path, context)


def read_zip(view: memoryview, path: Path, context: Context) -> Document:
    """Return the document of one torch zip. Raises: CannotCompare."""
    source: Any = path if view.obj is not None and not isinstance(view.obj, bytes) else None
    try:
        with zipfile.ZipFile(source or io.BytesIO(view)) as archive:
            members = checked_members(archive, path, context.bounds, len(view))
            parts = _Parts(archive, members, view, context.bounds)
            return _Reader(parts, path, context).document()
    except zipfile.BadZipFile as error:
        raise CannotCompare(f"{path.name}: {error}") from error


class _Parts:
    """The members of the zip without their top folder; stored ones are not copied."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        members: list[zipfile.ZipInfo],
        view: memoryview,
        bounds: Bounds,
    ) -> None:
        self.archive, self.view, self.bounds = archive, view, bounds
        tops = {m.filename.partition("/")[0] for m in members}
        if len(tops) != 1:
            raise CannotCompare("a torch file with more than one top folder")
        self.top = tops.pop()
        self.members = {m.filename.partition("/")[2]: m for m in members}

    def read(self, name: str) -> memoryview:
        """Return the bytes of one member."""
        member = self.members.get(name)
        if member is None:
            raise CannotCompare(f"a torch file without {clip(name)}")
        return member_view(self.archive, member, self.view, self.bounds)


class _Reader:
    """One torch zip to a document: every member is compared or set aside by name."""

    def __init__(self, parts: _Parts, path: Path, context: Context) -> None:
        self.parts, self.path, self.context = parts, path, context
        self.left = set(parts.members)
        self.aside: dict[str, tuple[Any, str]] = {"top folder": (parts.top, TOP)}
        self.unsafe: list[str] = []

    def document(self) -> Document:
        """Return the whole file."""
        self._set_aside()
        content: dict[str, Any] = {}
        if "data.pkl" in self.left:
            content = self._pickle("data.pkl", "data/")
        if "constants.pkl" in self.left:
            content["(constants)"] = self._pickle("constants.pkl", "constants/")
        for name in sorted(self.left):
            if name.endswith("_config.json"):
                content.update(self._exported(name))
        rest = {name: self._plain(name) for name in sorted(self.left)}
        if rest:
            content["(members)"] = rest
        names = ", ".join(self.unsafe)
        note = f"never loaded; it would import {clip(names)}" if names else ""
        return Document(content, self.aside, note)

    def _take(self, name: str) -> memoryview:
        self.left.discard(name)
        return self.parts.read(name)

    def _set_aside(self) -> None:
        for name in sorted(self.left):
            if name in CONTAINER:
                self.aside[name] = (bytes(self._take(name)[:4096]), CONTAINER[name])
            elif name.endswith(".debug_pkl"):
                self.aside[name] = (bytes(self._take(name)), DEBUG)
        if "byteorder" in self.left and bytes(self._take("byteorder")) != b"little":
            raise CannotCompare("a torch file with big-endian storages")

    def _pickle(self, name: str, folder: str) -> dict[str, Any]:
        machine = Machine(lambda _s, _c: None, self.context.bounds.entries * OPERATIONS)
        root = machine.run(io.BytesIO(self._take(name)))

        def read(key: str, _: str) -> memoryview:
            return self._take(folder + key)

        canon = TorchCanon(self.context.bounds.entries * OPERATIONS, read)
        tree = canon.value(root, "", 0)
        self.aside[f"{name}: device"] = (canon.devices, DEVICE)
        self.aside[f"{name}: requires_grad"] = (canon.gradients, GRADIENT)
        self.aside[f"{name}: layout"] = (canon.layouts, LAYOUT)
        self.aside |= {f"{name}: {what}": held for what, held in canon.free.items()}
        self.aside[f"{name}: set order"] = (canon.sets, "the order of a set follows the hash seed")
        self.aside[f"{name}: memo and protocol"] = (
            (machine.noise, machine.protocol), "bookkeeping of the pickler"
        )  # fmt: skip
        self.unsafe += (n for n in unsafe_names(machine.globals) if not n.startswith("__torch__."))
        content = dict(tree) if isinstance(tree, Mapping) else {"object": tree}
        imports = sorted(g for g in machine.globals if not g.startswith(REBUILDS))
        content["(imports)"] = [g for g in imports if g.rpartition(".")[2] not in DTYPES]
        return content

    def _exported(self, name: str) -> dict[str, Any]:
        """Return the tensors that a .pt2 configuration names, where their types are known."""
        config = json.loads(bytes(self._take(name))).get("config", {})
        found: dict[str, Any] = {}
        for key, entry in config.items():
            meta = entry.get("tensor_meta") or {}
            member = f"{name.rpartition('/')[0]}/{entry.get('path_name')}"
            kind = DTYPES.get(SCALARS.get(int(meta.get("dtype") or 0), ""))
            if kind is None or entry.get("use_pickle") or member not in self.parts.members:
                found[f"(config) {key}"] = prepared(entry)
                continue
            data = self._take(member)
            fits = not len(data) % kind[1]
            shape = (len(data) // kind[1],) if fits else (len(data),)
            found[key] = Tensor(kind[0] if fits else "uint8", shape, data)
            found[f"(config) {key}"] = prepared(meta)
        return found

    def _plain(self, name: str) -> Any:
        data = self._take(name)
        if name.endswith(".json"):
            paths: list[Any] = []
            value = _without_traces(json.loads(bytes(data)), paths, 0)
            self.aside[f"{name}: stack traces"] = (paths, DEBUG)
            return prepared(value)
        if name.endswith(".pt") and self.context.depth < self.context.bounds.depth:
            inner = zipfile.is_zipfile(io.BytesIO(data))
            if inner and not any(name.endswith(".pt") for name in self.left):
                return read_zip(memoryview(bytes(data)), Path(name), self.context).content
        if name.endswith(".py"):
            return bytes(data).decode("utf-8").splitlines()
        return Tensor("uint8", (len(data),), data)


def _without_traces(value: Any, found: list[Any], depth: int) -> Any:
    if depth > 200:
        raise CannotCompare("JSON nested deeper than 200 levels")
    if isinstance(value, dict):
        found += [value[k] for k in ("stack_trace",) if k in value]
        kept = {k: v for k, v in value.items() if k != "stack_trace"}
        return {k: _without_traces(v, found, depth + 1) for k, v in kept.items()}
    if isinstance(value, list):
        return [_without_traces(v, found, depth + 1) for v in value]
    return value
