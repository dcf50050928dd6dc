"""torch's files before the zip format: four pickles, then the storages one behind the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, clip, mapped
from harness.comparators.pickle import OPERATIONS, Canon, unsafe_names
from harness.comparators.pickle_machine import Machine, Sequence
from harness.comparators.torch_tensors import DTYPES, TorchCanon, storage

# Source: torch/serialization.py, MAGIC_NUMBER, as protocol 2 writes it.
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
KEYS = "storage keys are memory addresses of the process that saved"


class TorchLegacyComparator(DocumentComparator):
    """Whatever `torch.save` writes without a zip."""

    id = "torch-legacy"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it begins with torch's magic number."""
        return sniff.head.startswith(MAGIC)

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file; storages stay where they lie."""
        view = mapped(path, context.bounds.expanded)
        limit = context.bounds.entries * OPERATIONS
        stream: Any = view.obj
        machine = _Recorder(lambda _s, _c: None, limit)
        stream.seek(0)
        system = [Machine(lambda _s, _c: None, limit).run(stream) for _ in range(3)][2]
        if dict(Canon(limit).value(system, "", 0)).get("little_endian") is not True:
            raise CannotCompare("a torch file with big-endian storages")
        root = machine.run(stream)
        keys = Machine(lambda _s, _c: None, limit).run(stream)
        order = [str(k) for k in keys.items] if isinstance(keys, Sequence) else []
        found = _storages(view, stream.tell(), order, machine.types)
        canon = TorchCanon(limit, lambda key, _: found[key])
        tree = canon.value(root, "", 0)
        unsafe = ", ".join(unsafe_names(machine.globals))
        note = f"never loaded; it would import {clip(unsafe)}" if unsafe else ""
        content = dict(tree) if isinstance(tree, dict) else {"object": tree}
        return Document(content, {"storage keys": (order, KEYS), **canon.free}, note)


class _Recorder(Machine):
    """Remembers which type each storage has, since the raw data does not say."""

    types: dict[str, str]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.types = {}

    def _binpersid(self, _: None) -> None:
        super()._binpersid(_)
        kind, key, _device = storage(self.stack[-1])
        self.types[key] = kind


def _storages(
    view: memoryview, at: int, keys: list[str], types: dict[str, str]
) -> dict[str, memoryview]:
    found: dict[str, memoryview] = {}
    for key in keys:
        count = int.from_bytes(view[at : at + 8], "little")
        end = at + 8 + count * DTYPES[types[key]][1]
        if key in found or end > len(view):
            raise CannotCompare("a storage beyond the end of the file, or twice")
        found[key] = view[at + 8 : end]
        at = end
    if at != len(view):
        raise CannotCompare("bytes after the last storage")
    return found
