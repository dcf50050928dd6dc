"""SavedModels and checkpoints from TensorFlow itself: saved again, permuted, and changed."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from harness.comparators import family
from harness.model import Status, Tolerance, ToleranceRule

MAKE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
top = sys.argv[1]
for _ in range(int(sys.argv[2])):  # another process has traced something else before
    tf.function(lambda x: x + 1)(tf.constant(1.0))

def network(kind="relu", name="two"):
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    dense = keras.layers.Dense
    layers = [dense(4, activation=kind, name="one"), dense(4, name=name), dense(4, name="end")]
    return keras.Sequential([keras.layers.Input((4,)), *layers], name="m")

def export(model, name):
    model.export(f"{top}/{name}", verbose=False)

export(network(), "first")
export(network(), "again")
export(network("tanh"), "activation")
export(network(name="other"), "layer")

class Scaled(tf.Module):
    def __init__(self, factor=0.5):
        self.a, self.b = tf.Variable([1.0, 2.0]), tf.Variable([3.0, 4.0])
        self.factor = tf.constant([factor, 0.25])
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def __call__(self, x):
        y = tf.nn.leaky_relu(x * self.factor - self.a, 0.3) + self.b
        return tf.cond(tf.reduce_sum(y) > 0, lambda: y, lambda: -y)

def save(model, name):
    call = model.__call__.get_concrete_function()
    tf.saved_model.save(model, f"{top}/{name}", signatures={"predict": call})

save(Scaled(), "module")
save(Scaled(), "module-again")
save(Scaled(0.50000006), "constant")

class Table(tf.Module):
    def __init__(self, last=2):
        lookup = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, last])
        self.table = tf.lookup.StaticHashTable(lookup, -1)
        self.steps = [tf.Variable(float(n)) for n in range(12)]
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def find(self, x):
        return self.table.lookup(x)
    @tf.function
    def loop(self, x, training=False):
        for _ in tf.range(3):
            x = x + self.steps[10]
        return x * 2 if training else x

def table(name, last=2):
    model = Table(last)
    model.loop(tf.ones(2)), model.loop(tf.ones(3), training=True)
    tf.saved_model.save(model, f"{top}/{name}")

table("table")
table("table-again")
table("entry", 3)
keras.utils.set_random_seed(1)
recurrent = [keras.layers.Input((5, 3)), keras.layers.GRU(3), keras.layers.Dense(2)]
export(keras.Sequential(recurrent), "recurrent")

def edit(name, change):
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(open(f"{top}/module/saved_model.pb", "rb").read())
    change(model.meta_graphs[0])
    os.makedirs(f"{top}/{name}")
    open(f"{top}/{name}/saved_model.pb", "wb").write(model.SerializeToString())

def bodies(graph, op):
    held = [graph.graph_def.node, *(f.node_def for f in graph.graph_def.library.function)]
    return [n for nodes in held for n in nodes if n.op == op]

def shuffled(graph):
    functions = list(graph.graph_def.library.function)[::-1]
    del graph.graph_def.library.function[:]
    graph.graph_def.library.function.extend(functions)
    for function in graph.graph_def.library.function:
        nodes = list(function.node_def)[::-1]
        del function.node_def[:]
        function.node_def.extend(nodes)

def alpha(graph):
    bodies(graph, "LeakyRelu")[0].attr["alpha"].f = 0.31

def swapped(graph):
    node = bodies(graph, "Sub")[0]
    node.input[0], node.input[1] = node.input[1], node.input[0]

def restored(graph):
    # the two variables are restored from each other's key
    call = next(n for n in bodies(graph, "StatefulPartitionedCall")
                if "restore" in n.attr["f"].func.name)
    call.input[1], call.input[2] = call.input[2], call.input[1]

def read(graph):
    call = next(n for n in bodies(graph, "StatefulPartitionedCall")
                if "signature" in n.attr["f"].func.name)
    at = [i for i, name in enumerate(call.input) if name.startswith("Variable")]
    call.input[at[0]], call.input[at[1]] = call.input[at[1]], call.input[at[0]]

def bound(graph):
    for held in graph.object_graph_def.concrete_functions.values():
        held.bound_inputs[:] = list(held.bound_inputs)[::-1]

def signature(graph):
    graph.signature_def["other"].CopyFrom(graph.signature_def["predict"])
    del graph.signature_def["predict"]

for change in (shuffled, alpha, swapped, restored, read, bound, signature):
    edit(change.__name__, change)

import random
from tensorflow.core.framework.op_def_pb2 import OpList

def places(message):
    # every field of one value, as what holds it, its key and its path
    for field, held in message.ListFields():
        kind = field.message_type
        keyed = kind is not None and kind.GetOptions().map_entry
        keys = list(held) if keyed else range(len(held)) if field.is_repeated else [None]
        if isinstance(held, OpList):
            continue
        for key in keys:
            item = held if key is None else held[key]
            if hasattr(item, "ListFields"):
                yield from ((h, k, f"{field.name}.{p}") for h, k, p in places(item))
            else:
                yield (message, field.name, field.name) if key is None else (held, key, field.name)

def changed(value):
    if isinstance(value, bool):
        return not value
    return value + {str: "X", bytes: b"X"}.get(type(value), 1)

def mutate(source, count):
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(open(f"{top}/{source}/saved_model.pb", "rb").read())
    found = [f for f in places(model) if "version" not in f[2].rpartition(".")[2]]
    random.seed(7)
    for n, (held, key, path) in enumerate(random.sample(found, count)):
        by_name = hasattr(held, "ListFields")
        before = getattr(held, key) if by_name else held[key]
        put = (lambda v: setattr(held, key, v)) if by_name else (lambda v: held.__setitem__(key, v))
        try:
            put(changed(before))
        except ValueError:  # an enumeration has no such value
            continue
        place = f"{top}/mutants/{source}-{n}-{path[-80:]}"
        os.makedirs(place)
        open(f"{place}/saved_model.pb", "wb").write(model.SerializeToString())
        put(before)

if sys.argv[2] == "0":
    mutate("module", 150)
    mutate("first", 100)
"""
# who changed what -> what the reason must name
CHANGES = {
    "alpha": "LeakyRelu.attr.alpha",
    "swapped": "inputs",
    "restored": "",
    "read": "",
    "bound": "bound",
    "signature": "signatures.predict",
    "constant": "at index [0]",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    top = tmp_path_factory.mktemp("saved")
    running = []
    for number in range(2):  # a second process, where counters and addresses are others
        (place := top / str(number)).mkdir()
        (script := place / "make.py").write_text(MAKE)  # TensorFlow reads a function's source
        command = [sys.executable, script, place, str(3 * number)]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    for process in running:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said[-2000:]
    return top


def pair(models, one, two):
    place = models / "0"
    return place / one / "saved_model.pb", place / two / "saved_model.pb"


def aside(found):
    return {part.what for c in (found, *found.children) for part in c.set_aside}


@pytest.mark.parametrize("name", ["first", "module", "table", "recurrent"])
def test_a_model_that_is_trained_and_saved_by_another_process_is_exact(models, name):
    found = family.compare(models / "0" / name, models / "1" / name, "m")
    assert found.status == Status.EXACT, found
    assert "uuid" in aside(found)
    assert found.values > 100


@pytest.mark.parametrize(
    ("one", "two"), [("first", "again"), ("module", "module-again"), ("table", "table-again")]
)
def test_a_model_that_is_saved_twice_by_one_process_is_exact(models, one, two):
    found = family.compare(models / "0" / one, models / "0" / two, "m")
    assert found.status == Status.EXACT, found
    assert {"uuid", "function counters"} <= aside(found)


def test_the_order_of_functions_and_of_their_nodes_is_set_aside(models):
    found = family.compare(*pair(models, "module", "shuffled"), "m")
    assert found.status == Status.EXACT, found.reason
    assert "order" in aside(found)


def test_keras_keeps_its_variables_in_a_set(models):
    """Its order is another one in every process, in the graph and in the checkpoint's keys."""
    from harness.comparators.base import Context
    from harness.comparators.tensorflow import checkpoint_names

    orders = [
        checkpoint_names(models / n / name / "variables" / "variables", Context())
        for n in "01"
        for name in ("first", "again", "layer")
    ]
    assert all(len(o) == 6 for o in orders)
    assert len({tuple(o.values()) for o in orders}) > 1


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_the_program_is_caught_and_localised(models, name):
    found = family.compare(*pair(models, "module", name), "m")
    assert found.status == Status.DIFFERENT, found
    assert found.reason.startswith("first difference: serve.")
    assert CHANGES[name] in found.reason


def test_an_activation_and_a_renamed_layer_are_caught(models):
    for name, said in (("activation", "Relu"), ("layer", "two")):
        found = family.compare(*pair(models, "first", name), "m")
        assert found.status == Status.DIFFERENT
        assert said in found.reason, found.reason


def test_an_entry_of_a_table_is_caught_though_tables_have_made_up_names(models):
    found = family.compare(*pair(models, "table", "entry"), "m")
    assert found.status == Status.DIFFERENT
    assert "tensor at index [1]" in found.reason


def test_a_tolerance_holds_for_constants_in_the_graph(models):
    rules = Tolerance((ToleranceRule("*.tensor", rtol=1e-6),))
    found = family.compare(*pair(models, "module", "constant"), "m", tolerance=rules)
    assert found.status == Status.WITHIN_TOLERANCE


def test_no_single_field_can_be_changed_unnoticed(models):
    """But for what is set aside by name, each field counts, wherever it lies."""
    unseen, seen = [], 0
    for place in (models / "0" / "mutants").iterdir():
        base = models / "0" / place.name.partition("-")[0] / "saved_model.pb"
        found = family.compare(base, place / "saved_model.pb", "m")
        seen += 1
        if found.status not in {Status.DIFFERENT, Status.UNCOMPARABLE}:
            unseen.append((place.name, found.status))
    assert seen > 200
    assert unseen == []


def ulp(folder, place):
    """Change one weight by one ULP, in the first tensor of the checkpoint."""
    shutil.copytree(folder, place)
    path = place / "variables" / "variables.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    weights = np.frombuffer(bytes(data[:32]), "<f4").copy()
    weights[3] = np.nextafter(weights[3], np.float32(9))
    data[:32] = weights.tobytes()
    path.write_bytes(data)
    return place


def test_one_ulp_in_a_variable_is_caught_in_its_tensor(models, tmp_path):
    found = family.compare(models / "0/first", ulp(models / "1/first", tmp_path / "m"), "m")
    assert found.status == Status.DIFFERENT
    told = next(c.reason for c in found.children if c.status == Status.DIFFERENT)
    assert "VARIABLE_VALUE at index [0, 3]" in told


def test_two_variables_that_swap_their_names_do_not_pass_for_another_order(models, tmp_path):
    """The names are what makes the set's order free: both files must agree on them."""
    one, two = models / "0/first", tmp_path / "m"
    shutil.copytree(one, two)
    path = two / "variables" / "variables.data-00000-of-00001"
    data = path.read_bytes()
    named = [n for n in (b"m/one/kernel", b"m/two/kernel") if data.count(n) == 2]
    assert len(named) == 2
    at = data.rindex(named[0]), data.rindex(named[1])
    for place, name in zip(at, reversed(named), strict=True):
        data = data[:place] + name + data[place + len(name) :]
    path.write_bytes(data)
    assert family.compare(one, two, "m").status == Status.DIFFERENT


@pytest.mark.parametrize("name", ["saved_model.pb", "fingerprint.pb"])
def test_damage_anywhere_never_raises_and_never_passes_for_identical(models, tmp_path, name):
    path = models / "0" / "module" / name
    data, broken = bytearray(path.read_bytes()), tmp_path / name
    for at in range(0, len(data), max(1, len(data) // 60)):
        data[at] ^= 0xFF
        broken.write_bytes(data)
        assert family.compare(path, broken, "m").status != Status.IDENTICAL
        data[at] ^= 0xFF


def test_a_file_that_is_cut_off_is_uncomparable(models, tmp_path):
    path = models / "0" / "module" / "saved_model.pb"
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[:5000])
    assert family.compare(path, cut, "m").status == Status.UNCOMPARABLE
