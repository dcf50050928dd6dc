"""Orbax checkpoints: OCDBT stores and zarr arrays as tensors, read by tensorstore where it is.

tensorstore parses hostile bytes in this process: files must be plain, and what an array claims
is bounded before it is read; a hole in its own parser remains a risk that only a sandbox takes.
"""

from __future__ import annotations

import json
import math
import stat
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.comparators.base import Bounds, CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, compare_documents, contents
from harness.comparators.tensor import Tensor
from harness.model import Difference

if TYPE_CHECKING:
    from harness.comparators.units import Unit

RATIO = 1000  # how many times its size a compressed store may claim to hold
NAMES = "files of a store have random names; how arrays lie in them carries no meaning"
TIMES = "when the checkpoint was written"
PLACE = "the folder that the checkpoint was first written to"
DEVICES = "on which devices the arrays lay"
STAMPS = {"init_timestamp_nsecs", "commit_timestamp_nsecs"}
METADATA, SHARDING, COMMIT = "_CHECKPOINT_METADATA", "_sharding", "commit_success.txt"
DONE = b"Checkpoint commit was successful to "


class OrbaxMetadataComparator(DocumentComparator):
    """What Orbax writes beside the arrays: times, devices, and that the writing was finished."""

    id = "orbax-metadata"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether name and content are those of one of these files."""
        if sniff.path.name == COMMIT:
            return sniff.head.startswith(DONE)
        return sniff.path.name in {METADATA, SHARDING} and sniff.head[:1] == b"{"

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        data = contents(path, context.bounds.text)
        if path.name == COMMIT:
            return Document({"committed": True}, {"folder": (data[len(DONE) :], PLACE)})
        held = json.loads(data)
        if path.name == SHARDING:
            return Document(sorted(held), {"devices": (repr(held), DEVICES)})
        times = {k: held.pop(k) for k in sorted(STAMPS & held.keys())}
        return Document(held, {"times": (times, TIMES)})


def compare_stores(unit: Unit, one: list[Path], two: list[Path], context: Context) -> Difference:
    """Compare two stores. Raises: CannotCompare without tensorstore, or for what it refuses."""
    try:
        store = import_module("tensorstore")
    except ImportError as error:
        hint = "pip install 'repro-harness[orbax]'"
        raise CannotCompare("Orbax checkpoints need tensorstore", hint) from error
    left, right = (_read(store, files, context.bounds) for files in (one, two))
    return compare_documents(left, right, unit.name, "", context)


def _read(store: Any, files: list[Path], bounds: Bounds) -> Document:
    size = 0
    for file in files:
        size += _size(file, bounds)
    if size > bounds.expanded:
        raise CannotCompare(f"a store of {size} bytes, more than {bounds.expanded} are read")
    left = _Left(min(bounds.expanded, max(size * RATIO, 1 << 26)), bounds)
    top = min(files, key=lambda f: (len(f.parts), f.name)).parent
    layout = sorted((f.relative_to(top).as_posix(), f.stat().st_size) for f in files)
    try:
        content = _arrays(store, top, {f.name for f in files}, left)
    except CannotCompare:
        raise
    except Exception as error:  # tensorstore tells everything by ValueError
        raise CannotCompare(f"{top.name}: {str(error)[:200]}") from error
    return Document(content, {"files of the store": (layout, NAMES)})


def _size(file: Path, bounds: Bounds) -> int:
    """Return the size of one file of a store; tensorstore reads whole chunks at once."""
    held = file.lstat()
    if not stat.S_ISREG(held.st_mode):
        raise CannotCompare(f"{file.name}: not a regular file")
    if held.st_size > bounds.header and held.st_blocks * 512 * RATIO < held.st_size:
        raise CannotCompare(f"{file.name}: {held.st_size} bytes that are nearly all a hole")
    if not _in_ocdbt(file) and held.st_size > 2 * bounds.member:
        raise CannotCompare(f"{file.name}: {held.st_size} bytes in one chunk")
    return held.st_size


def _in_ocdbt(file: Path) -> bool:
    return file.name == "manifest.ocdbt" or file.parent.name == "d"


class _Left:
    """What one store may still cost."""

    def __init__(self, size: int, bounds: Bounds) -> None:
        self.size, self.entries, self.member = size, bounds.entries, bounds.member

    def spend(self, claimed: int, chunk: int) -> None:
        self.size, self.entries = self.size - claimed, self.entries - 1
        if self.size < 0 or self.entries < 0 or chunk > self.member:
            raise CannotCompare(f"an array that claims {claimed} bytes in chunks of {chunk}")


def _arrays(store: Any, top: Path, names: set[str], left: _Left) -> Any:
    base = f"{top.as_uri()}/"
    if "manifest.ocdbt" not in names:
        driver = "zarr" if ".zarray" in names else "zarr3"
        return {"values": _array(store, driver, {"driver": "file", "path": f"{top}/"}, left)}
    whole = {"driver": "ocdbt", "base": base}
    keys = [k.decode("utf-8", "backslashreplace") for k in _keys(store, whole)]
    content: dict[str, Any] = {}
    arrays = {}
    for key in sorted(keys):
        folder, _, file = key.rpartition("/")
        if file in {".zarray", "zarr.json"}:
            arrays[folder] = "zarr" if file == ".zarray" else "zarr3"
    for folder, driver in arrays.items():
        kept = {**whole, "path": f"{folder}/" if folder else ""}
        content[folder or "(root)"] = _array(store, driver, kept, left)
    lost = [k for k in keys if not any(k.startswith(f"{f}/") or not f for f in arrays)]
    if lost:
        raise CannotCompare(f"a store with keys of no array: {lost[0][:80]!r}")
    return content


def _keys(store: Any, spec: dict[str, Any]) -> list[bytes]:
    found: list[bytes] = store.KvStore.open(spec).result().list().result()
    return found


def _array(store: Any, driver: str, place: dict[str, Any], left: _Left) -> Tensor:
    array = store.open({"driver": driver, "kvstore": place}, open=True, read=True).result()
    width = array.dtype.numpy_dtype.itemsize
    chunk = math.prod(array.chunk_layout.read_chunk.shape or ()) * width
    left.spend(math.prod(array.shape) * width, chunk)
    return Tensor.of(array.read(order="C").result())
