"""Every row of the table of comparators on a real file: equal, harmlessly varied, and changed.

A row without a golden pair fails, and so does one whose pair another comparator answers for.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.comparators import GROUP, TABLE, family
from harness.comparators.base import Context
from harness.comparators.units import IN_FORCE
from harness.model import Status
from harness.tables import load

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]


def samples(file):
    """Load the table of samples of another test file."""
    spec = importlib.util.spec_from_file_location(f"golden_{file}", Path(__file__).with_name(file))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SAMPLES


WRITTEN = {**samples("test_comparators.py"), **samples("test_comparator_formats.py")}
# rows whose sample tables list no such variant -> (harmless, changed) that their writers know
VARIANTS = {"toml": ("encoding", "changed"), "zip": ("container", "changed"),
            "tar": ("container", "changed"), "compressed": ("container", "changed")}  # fmt: skip


def written(row, top):
    """Write base, harmless and changed with the real library, as the sample table says."""
    writer, file, harmless, changes = WRITTEN[row][:4]
    varied, changed = VARIANTS.get(row) or (next(iter(harmless)), next(iter(changes)))
    found = []
    for variant in ("base", varied, changed):
        found.append(top / variant.replace(" ", "-") / file)
        found[-1].parent.mkdir()
        writer(found[-1], variant)
    return found


def onnx_data(_, top):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    found = []
    for variant in ("base", "harmless", "changed"):
        weights = np.arange(32, dtype="f4").reshape(8, 4) / 7
        weights[1, 2] += variant == "changed"
        names = ["w", "v"][:: -1 if variant == "harmless" else 1]  # where each lies in the file
        held = {"w": weights, "v": weights[:4] / 3}
        value = helper.make_tensor_value_info
        nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]),
                 helper.make_node("MatMul", ["a", "v"], ["y"])]  # fmt: skip
        interface = [[value(n, TensorProto.FLOAT, [1, k])] for n, k in (("x", 8), ("y", 4))]
        tensors = [numpy_helper.from_array(held[n], n) for n in names]
        graph = helper.make_graph(nodes, "g", *interface, tensors)
        path = top / variant / "m.onnx"
        path.parent.mkdir()
        onnx.save_model(
            helper.make_model(graph), path, save_as_external_data=True, size_threshold=0,
            location="m.onnx.data",
        )  # fmt: skip
        found.append(path.with_name("m.onnx.data"))
    return found


def huggingface(_, top):
    from transformers import BertConfig

    found = []
    for variant in ("base", "harmless", "changed"):
        config = BertConfig(hidden_size=32 if variant == "changed" else 16, num_attention_heads=2)
        config.save_pretrained(top / variant)
        found.append(top / variant / "config.json")
    text = found[1].read_text()
    version = re.search(r'"transformers_version": "(.*?)"', text)[1]
    found[1].write_text(text.replace(version, "4.0.0"))
    return found


TENSORFLOW = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
class Model(tf.Module):
    def __init__(self, order, bias, more):
        held = {n: tf.Variable([[v, 2.0]], name=n) for n, v in (("one", 1.0), ("two", bias))}
        self._all_variables = [held[n] for n in order]
        self.held = held
        if more:
            self.more = tf.Variable(1.0)
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def __call__(self, x):
        y = x * self.held["one"] + self.held["two"]
        return tf.nn.relu(y) if not hasattr(self, "more") else tf.nn.tanh(y)
for name, order, bias, more in (("base", ("one", "two"), 3.0, False),
                                ("harmless", ("two", "one"), 3.0, False),
                                ("changed", ("one", "two"), 3.0000002, True)):
    tf.saved_model.save(Model(order, bias, more), f"{sys.argv[1]}/{name}")
"""
ORBAX = """
import sys, jax.numpy as jnp, orbax.checkpoint as ocp
for name, note in (("base", 1), ("harmless", 1), ("changed", 2)):
    with ocp.PyTreeCheckpointer() as c:
        c.save(f"{sys.argv[1]}/{name}", {"w": jnp.ones(3)}, custom_metadata={"note": note})
"""
BY_HAND = {"onnx-data": onnx_data, "huggingface": huggingface}
PLACES = {
    "saved-model": "saved_model.pb",
    "tf-fingerprint": "fingerprint.pb",
    "tf-index": "variables/variables.index",
    "tf-checkpoint": "variables/variables.data-00000-of-00001",
    "orbax-metadata": "_CHECKPOINT_METADATA",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Let TensorFlow and Orbax save, each once, in a process of its own."""
    made = {}

    def folder(script):
        if script not in made:
            made[script] = tmp_path_factory.mktemp("saved")
            command = [sys.executable, "-c", script, made[script]]
            subprocess.run(command, check=True, capture_output=True)
        return made[script]

    return folder


@pytest.fixture
def golden(saved, tmp_path):
    def make(row):
        if row in BY_HAND:
            return BY_HAND[row](row, tmp_path)
        if row in PLACES:
            top = saved(ORBAX if row.startswith("orbax") else TENSORFLOW)
            found = [top / n / PLACES[row] for n in ("base", "harmless", "changed")]
            if row == "tf-fingerprint":  # all but its version follows from the other files
                found[2] = tmp_path / found[2].name
                # Field 6, a message with a producer: another number in each release of TensorFlow.
                version = re.compile(rb"\x32\x02\x08([\x01-\x3f])")
                changed, count = version.subn(b"\x32\x02\x08\x7f", found[0].read_bytes())
                assert count == 1
                found[2].write_bytes(changed)
            return found
        return written(row, tmp_path)

    return make


@pytest.mark.parametrize("row", TABLE)
def test_a_row_of_the_table_is_held_to_a_golden_pair(row, golden):
    comparator = load(TABLE, row, group=GROUP)()
    label = f"{comparator.id}@{comparator.version}"
    base, harmless, changed = golden(row)
    assert family.compare(base, base, row).status == Status.IDENTICAL
    itself = comparator.compare(base, base, Context(compare=family.compare))
    assert itself.status in {Status.EXACT, Status.IDENTICAL}
    assert itself.values > 0
    found = family.compare(base, harmless, row)
    assert (found.status, found.comparator) == (Status.EXACT, label), found.reason
    assert found.set_aside
    assert all(part.what and part.why for part in found.set_aside)
    found = family.compare(base, changed, row)
    assert (found.status, found.comparator) == (Status.DIFFERENT, label), found.reason
    assert "first difference: " in found.reason or found.children


def test_ids_are_told_apart_and_listed_in_the_record():
    listed = [name for name, _ in family.comparators_in_force()]
    assert len(listed) == len(set(listed)) == len(TABLE) + 1 + len(IN_FORCE)


def test_a_row_without_a_golden_pair_would_fail(golden):
    with pytest.raises(KeyError, match="made-up"):
        golden("made-up")
