"""Mutate real files for a bounded time: nothing but the family's own error may come out.

    python tests/fuzz/fuzz_comparators.py [--minutes N] [--seed N]

Seeds are small files of the real libraries; each round mutates one and parses it by the
comparator that knows it. A finding prints the file as hex and ends with status 1.
"""

from __future__ import annotations

import argparse
import gzip
import io
import pickle
import struct
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from saved_model_seed import FINGERPRINT, saved_model

from harness.comparators import family
from harness.comparators.base import Bounds, CannotCompare, Context, Sniff
from harness.comparators.xgboost import PICKLED
from harness.model import Difference

BOUNDS = Bounds(expanded=1 << 24, member=1 << 22, header=1 << 20, entries=2000, text=1 << 20)
VALUES = np.arange(12, dtype="f4").reshape(3, 4) / 7

TREE = b"tree\nversion=v4\ntree_sizes=9\n\nTree=0\nleaf_value=1 2.5\n\nend of trees\n"
GGUF = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<II", 4, 7)
SUMMARY = b"\x10\1\x2a\x0a\x0a\x08\x0a\1a\x15\0\0\x80?"
EVENT = struct.pack("<QI", len(SUMMARY), 0) + SUMMARY + bytes(4)


def seeds() -> dict[str, bytes]:
    """Return a small valid file for each format that can be written without a training."""
    found = {
        "m.pkl": pickle.dumps({"a": [1, 2.5, {"x", "y"}], "w": VALUES}, protocol=4),
        "m5.pkl": gzip.compress(pickle.dumps((VALUES, "text", {"k": None}), protocol=5)),
        "m.csv": b"a,b,c\n1,2.5,x\n3,4.5,y\n",
        "m.pmml": b'<?xml version="1.0"?><PMML version="4.4"><Header/><M a="1">1 2 3</M></PMML>',
        "m.json": b'{"learner":{"gradient_booster":{"model":{"trees":[{"id":0,"w":[1,2.5]}]}}}}',
        "m.ubj": b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\1a[$d#L\0\0\0\0\0\0\0\1\0\0\0\0}}",
        "m.txt": TREE,
        "m.gguf": GGUF,
        "events.out.tfevents.1": EVENT,
        "saved_model.pb": saved_model(),
        "fingerprint.pb": FINGERPRINT,
        "config.json": b'{"hidden_size": 16, "transformers_version": "5.0", "a": [1, 2.5]}',
        "trainer_state.json": b'{"log_history": [{"loss": 0.5, "train_runtime": 3.5}]}',
        "rows.jsonl": b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n',
        "checkpoint_3": b"\x82\xa1a\x01\xa1b\x93\x01\x02\x03",
        "_CHECKPOINT_METADATA": b'{"item_handlers": {"a": null}, "init_timestamp_nsecs": 5}',
        "commit_success.txt": b"Checkpoint commit was successful to /tmp/x",
        "booster.pkl": pickle.dumps({"m": TREE.decode(), "u": PICKLED + b"L\0\0"}, protocol=4),
        "any.json": b'{"loss": [1.5, 2.5], "name": "x", "deep": {"a": {"b": null}}}',
        "any.yaml": b"a: 1\nb: [1.5, 2]\n",
        "any.toml": b"a = 1\n[b]\nc = 2.5\n",
    }
    return found | _numpy() | _libraries()


def _numpy() -> dict[str, bytes]:
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, VALUES)
    np.savez(npz, a=VALUES, b=np.arange(3))
    return {"m.npy": npy.getvalue(), "m.npz": npz.getvalue()}


def _libraries() -> dict[str, bytes]:
    import h5py
    import joblib
    import onnx
    import pandas as pd
    from flax import serialization
    from PIL import Image
    from safetensors.numpy import save

    helper = onnx.helper
    value = helper.make_tensor_value_info("x", 1, ["N", 3])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value],
        [helper.make_tensor_value_info("y", 1, ["N", 4])],
        [onnx.numpy_helper.from_array(VALUES, "w")],
    )
    packed, picture, table, held = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    joblib.dump({"w": VALUES}, packed)
    Image.fromarray((VALUES * 9).astype("u1")).save(picture, "PNG")
    pd.DataFrame(VALUES, columns=list("abcd")).to_parquet(table)
    with h5py.File(held, "w") as file:
        file["a/w"] = VALUES
    return {
        "m.onnx": helper.make_model(graph).SerializeToString(),
        "m.joblib": packed.getvalue(),
        "m.png": picture.getvalue(),
        "m.parquet": table.getvalue(),
        "m.h5": held.getvalue(),
        "m.msgpack": serialization.to_bytes({"w": VALUES, "n": 3}),
        "m.safetensors": save({"w": VALUES}),
    }


MUTATION = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "repeat"]),
        st.integers(0, 1 << 20),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, steps: list[tuple[str, int, bytes]]) -> bytes:
    """Return a file with each mutation done in turn."""
    found = bytearray(data)
    for kind, place, extra in steps:
        at = place % (len(found) + 1)
        if kind == "flip" and at < len(found):
            found[at] ^= extra[0] or 1
        elif kind == "set":
            found[at : at + len(extra)] = extra
        elif kind == "cut":
            del found[at : at + extra[0] + 1]
        elif kind == "insert":
            found[at:at] = extra
        elif kind == "repeat":
            found[at:at] = bytes(found[max(0, at - 64) : at]) * (extra[0] % 4)
    return bytes(found)


def below(one: Path, two: Path, name: str) -> Difference:
    """Compare a part of an archive, as the family does for it."""
    return family.compare(one, two, name, bounds=BOUNDS)


def attempt(path: Path, original: Path) -> bool:
    """Compare one mutated file with its origin; return whether a comparator read it."""
    data = path.read_bytes()
    sniff = Sniff(path, len(data), data[: 1 << 16])
    for comparator in family.table():
        if comparator.recognises(sniff):
            try:
                found = comparator.compare(path, original, Context(bounds=BOUNDS, compare=below))
            except CannotCompare:
                return False
            assert isinstance(found, Difference)
            return True
    return False


def main() -> int:
    """Fuzz for the time given; print what was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=20260901)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    tried = {"read": 0, "refused": 0}
    end = time.monotonic() + asked.minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        kept = seeds()
        for name, data in kept.items():
            Path(folder, f"origin-{name}").write_bytes(data)
        number = asked.seed
        while time.monotonic() < end:
            number += 1
            _round(Path(folder), kept, number, tried, end)
    print(f"{sum(tried.values())} files tried: {tried['read']} read, {tried['refused']} refused")
    return 0


def _round(
    folder: Path, kept: dict[str, bytes], number: int, tried: dict[str, int], end: float
) -> None:
    @seeded(number)
    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(kept)), MUTATION)
    def run(name: str, steps: list[tuple[str, int, bytes]]) -> None:
        if time.monotonic() > end:
            return
        path = folder / name
        path.write_bytes(mutated(kept[name], steps))
        tried["read" if attempt(path, folder / f"origin-{name}") else "refused"] += 1

    run()


if __name__ == "__main__":
    sys.exit(main())
