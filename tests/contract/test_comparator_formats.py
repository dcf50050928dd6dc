"""Every format of the portable, tree, pickle and table families, on files of the real libraries.

Per format: equal to itself, EXACT after each harmless variation (what was set aside is named),
DIFFERENT and localised after each real change, UNCOMPARABLE when cut off.
"""

import gzip
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from harness.comparators import family
from harness.model import Status

pytestmark = pytest.mark.filterwarnings("ignore")

RANDOM = np.random.RandomState(0)
X = RANDOM.randn(300, 3)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
FLIPPED = Y.copy()
FLIPPED[7] ^= 1


def up(array, index):
    """Return a copy with one value one ULP higher."""
    found = array.copy()
    found[index] = np.nextafter(found[index], np.array(np.inf, found.dtype))
    return found


def onnx(path, variant):
    import onnx as library
    from onnx import TensorProto, helper, numpy_helper

    prefix = "renamed_" if variant == "renamed" else ""
    w1 = np.arange(32, dtype="f4").reshape(4, 8) / 7
    w2 = np.arange(24, dtype="f4").reshape(8, 3) / 9
    nodes = [
        helper.make_node("MatMul", ["x", prefix + "w1"], [prefix + "a"], name=prefix + "first"),
        helper.make_node(
            "LeakyRelu", [prefix + "a"], [prefix + "b"], alpha=0.2 if variant == "alpha" else 0.1
        ),
        helper.make_node("Abs", ["x"], ["side"]),
        helper.make_node("MatMul", [prefix + "b", prefix + "w2"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(up(w1, (1, 2)) if variant == "ulp" else w1, prefix + "w1"),
        numpy_helper.from_array(w2, prefix + "w2"),
    ]
    if variant == "order":
        nodes, weights = [nodes[2], nodes[0], nodes[1], nodes[3]], weights[::-1]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("input" if variant == "interface" else "x", TensorProto.FLOAT, ["N", 4])],
        [value("y", TensorProto.FLOAT, ["N", 3]), value("side", TensorProto.FLOAT, ["N", 4])],
        weights,
    )
    if variant == "interface":
        for node in nodes:
            node.input[:] = ["input" if n == "x" else n for n in node.input]
        del graph.node[:]
        graph.node.extend(nodes)
    opset = 18 if variant == "opset" else 17
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    if variant == "producer":
        model.producer_version, model.doc_string = "9", "made in /home/ada"
        model.metadata_props.add(key="stack_trace", value="/home/ada/train.py")
    library.save(model, path)


def lightgbm(path, variant):
    import lightgbm as library

    labels = FLIPPED if variant == "label" else Y
    threads = 2 if variant == "threads" else 1
    settings = {"objective": "binary", "num_leaves": 4, "verbose": -1, "num_threads": threads}
    library.train(settings, library.Dataset(X, labels), 3).save_model(path)
    text = path.read_text()
    if variant == "permuted":
        head, one, two, rest = text.partition("Tree=1")[0], *_trees(text)
        path.write_text(head + two.replace("Tree=2", "Tree=1") + one.replace("=1\n", "=2\n") + rest)
    if variant == "missing":
        path.write_text("".join(t for t in text.splitlines(True) if "feature_names" not in t))


def _trees(text):
    one = text[text.index("Tree=1") : text.index("Tree=2")]
    two = text[text.index("Tree=2") : text.index("end of trees")]
    return one, two, text[text.index("end of trees") :]


def xgboost(path, variant):
    import xgboost as library

    labels = FLIPPED if variant == "label" else Y
    model = library.train({"max_depth": 3, "nthread": 1}, library.DMatrix(X, labels), 3)
    model.save_model(path)
    if variant == "spaces":
        path.write_text(path.read_text().replace(",", ", "))
    if variant == "attribute":
        model.set_attr(best="1")
        model.save_model(path)


def catboost(path, variant):
    import catboost as library

    labels = FLIPPED if variant == "label" else Y
    model = library.CatBoostClassifier(
        iterations=3, depth=2, verbose=0, thread_count=1, allow_writing_files=False
    ).fit(X, labels)
    model.save_model(path, format=path.suffix[1:])


def forest(labels=Y):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(4, random_state=0).fit(X, labels)


def pipeline(variant):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    if variant == "ulp":
        model[1].coef_ = up(model[1].coef_, (0, 1))
    if variant == "renamed":
        model.steps[1] = ("renamed", model.steps[1][1])
    if variant == "missing":
        del model[1].n_iter_
    return model


def pickle(path, variant):
    import pickle as library

    protocol = {"protocol 2": 2, "protocol 5": 5}.get(variant, 4)
    model = pipeline(variant)
    if variant == "reloaded":
        model = library.loads(library.dumps(model))
    path.write_bytes(library.dumps(model, protocol=protocol))
    if variant == "compressed":
        path.write_bytes(gzip.compress(path.read_bytes()))


def joblib(path, variant):
    import joblib as library

    compress = {"compressed": 3, "lzma": ("lzma", 3)}.get(variant, 0)
    library.dump(forest(FLIPPED if variant == "label" else Y), path, compress=compress)


def skops(path, variant):
    import skops.io

    skops.io.dump(deepcopy(pipeline(variant)), path)


def hdf5(path, variant):
    import h5py

    with h5py.File(path, "w", track_order=variant == "order") as file:
        for layer in ("b", "a") if variant == "order" else ("a", "b"):
            weights = np.arange(6.0) / 7
            name = "renamed" if variant == "renamed" and layer == "b" else layer
            file[f"{name}/w"] = up(weights, 3) if (variant, layer) == ("ulp", "a") else weights
        file.attrs["keras_version"] = "3.1" if variant == "writer" else "3.0"


def keras(path, variant):
    import keras as library

    library.backend.clear_session()
    library.utils.set_random_seed(1)
    first, last = library.layers.Dense(5, name="one"), library.layers.Dense(2, name="two")
    if variant == "activation":
        last = library.layers.Dense(2, activation="relu", name="two")
    model = library.Sequential([library.layers.Input((4,)), first, last], name="m")
    if variant == "ulp":
        kernel, bias = first.get_weights()
        first.set_weights([up(kernel, (1, 2)), bias])
    model.save(path)


def gguf(path, variant):
    import gguf as library

    writer = library.GGUFWriter(path, "llama")
    writer.add_name("other" if variant == "metadata" else "tiny")
    weights = np.arange(600, dtype="f4").reshape(300, 2)
    tensors = [
        ("renamed" if variant == "renamed" else "w", up(weights, (2, 1))),
        ("v", np.ones(5, "f2")),
    ]
    if variant != "ulp":
        tensors[0] = (tensors[0][0], weights)
    for name, tensor in tensors[::-1] if variant == "order" else tensors:
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def msgpack(path, variant):
    from flax import serialization

    kernel = np.arange(6, dtype="f4").reshape(2, 3)
    layer = "renamed" if variant == "renamed" else "dense"
    tree = {
        "params": {layer: {"kernel": up(kernel, (1, 1)) if variant == "ulp" else kernel}},
        "step": 3,
    }
    if variant == "order":
        tree = dict(reversed(tree.items()))
    path.write_bytes(serialization.to_bytes(tree))


def table(variant):
    import pandas as pd

    column = np.arange(5.0) / 7
    frame = pd.DataFrame(
        {"x": up(column, 3) if variant == "ulp" else column, "n": range(5), "s": list("abcde")}
    )
    if variant == "label":
        frame.loc[2, "s"] = "z"
    return frame.iloc[::-1] if variant == "rows" else frame


def csv(path, variant):
    end = "\r\n" if variant == "line ends" else "\n"
    table(variant).to_csv(path, index=False, lineterminator=end)


def parquet(path, variant):
    kind = "gzip" if variant == "compressed" else "snappy"
    table(variant).reset_index(drop=True).to_parquet(path, compression=kind)


def feather(path, variant):
    kind = "uncompressed" if variant == "compressed" else "lz4"
    table(variant).reset_index(drop=True).to_feather(path, compression=kind)


def image(path, variant):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    pixels = np.arange(1200, dtype="u1").reshape(20, 20, 3)
    if variant == "pixel":
        pixels[1, 2, 0] ^= 1
    info = PngInfo()
    info.add_text("Software", "other" if variant == "software" else "matplotlib")
    level = 1 if variant == "level" else 9
    Image.fromarray(pixels).save(path, pnginfo=info, compress_level=level)


def events(path, variant):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = path.with_suffix(".logs")
    writer = EventFileWriter(str(folder))
    for step in range(4):
        value = 2.5 if (variant, step) == ("value", 2) else float(step)
        tag = "renamed" if variant == "renamed" else "loss"
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        time = 9.0 if variant == "later" else 5.0
        writer.add_event(Event(wall_time=time + step, step=step, summary=summary))
    writer.close()
    shutil.move(next(folder.iterdir()), path)


def pmml(path, variant):
    space, stamp = ("4_3", "later") if variant == "header" else ("4_4", "once")
    second = "" if variant == "missing" else '<NumericPredictor name="y" coefficient="2.5"/>'
    value = "0.30000000000000004" if variant == "ulp" else "0.3"
    path.write_text(
        f'<?xml version="1.0"?>\n<PMML xmlns="http://www.dmg.org/PMML-{space}" version="4.4">'
        f"<Header><Timestamp>{stamp}</Timestamp></Header><RegressionModel>"
        f'<NumericPredictor name="x" coefficient="{value}"/>{second}'
        "</RegressionModel></PMML>"
    )


# format -> writer, file name, {harmless variation: what is set aside},
#           {real change: what the reason must name}, whether half a file is unreadable
SAMPLES = {
    "onnx": (
        onnx,
        "m.onnx",
        {"renamed": "graph names", "order": "node order", "producer": "metadata_props"},
        {
            "ulp": "w1 at index [1, 2]",
            "alpha": "LeakyRelu.attributes.alpha",
            "opset": "opset.ai.onnx",
            "interface": "graph.inputs",
        },
    ),
    "lightgbm": (
        lightgbm,
        "m.txt",
        {"threads": "run-time parameters"},
        {"label": "Tree=0.", "permuted": "Tree=1.", "missing": "feature_names"},
    ),
    "xgboost": (xgboost, "m.json", {"spaces": "encoding"}, {"label": "tree 0.", "attribute": ""}),
    "xgboost-ubj": (xgboost, "m.ubj", {}, {"label": "tree 0.", "attribute": "best"}),
    "catboost": (catboost, "m.json", {"again": "model_guid"}, {"label": ""}),
    "catboost-cbm": (catboost, "m.cbm", {"again": "model_guid"}, {"label": ""}),
    "pickle": (
        pickle,
        "m.pkl",
        {
            "protocol 2": "protocol",
            "protocol 5": "protocol",
            "reloaded": "memo and framing",
            "compressed": "compression",
        },
        {"ulp": "coef_ at index [0, 1]", "renamed": "steps.1.0", "missing": "n_iter_"},
    ),
    "joblib": (
        joblib,
        "m.joblib",
        {"compressed": "compression", "lzma": "compression"},
        {"label": "estimators_.0.tree_"},
    ),
    "skops": (
        skops,
        "m.skops",
        {"again": "object ids"},
        {"ulp": "coef_.data at index [0, 1]", "missing": "n_iter_"},
    ),
    "hdf5": (
        hdf5,
        "m.h5",
        {"writer": "writer"},
        {"ulp": "a.w at index [3]", "renamed": "first difference: b"},
    ),
    "keras": (
        keras,
        "m.keras",
        {"again": "object ids"},
        {"ulp": "at index [1, 2]", "activation": "activation"},
    ),
    "gguf": (
        gguf,
        "m.gguf",
        {"order": "tensor order"},
        {"ulp": "w at index [2, 1]", "renamed": "w", "metadata": "metadata.general.name"},
    ),
    "msgpack": (
        msgpack,
        "m.msgpack",
        {"order": "encoding"},
        {"ulp": "params.dense.kernel at index [1, 1]", "renamed": "params.dense"},
    ),
    "csv": (
        csv,
        "m.csv",
        {"line ends": "line ends"},
        {"ulp": "x at index [3]", "label": "s.2", "rows": "x at index [0]"},
    ),
    "parquet": (
        parquet,
        "m.parquet",
        {"compressed": ""},
        {"ulp": "x at index [3]", "label": "s.2", "rows": "x at index [0]"},
    ),
    "feather": (feather, "m.feather", {"compressed": ""}, {"ulp": "x at index [3]"}),
    "image": (
        image,
        "m.png",
        {"software": "texts", "level": "encoding"},
        {"pixel": "pixels at index [1, 2, 0]"},
    ),
    "events": (
        events,
        "events.out.tfevents.1",
        {"later": "wall_time"},
        {"value": "loss.values at index [2]", "renamed": "loss"},
    ),
    "pmml": (
        pmml,
        "m.pmml",
        {"header": "Header"},
        {"ulp": "@coefficient", "missing": "NumericPredictor[1]"},
    ),
}


@pytest.fixture
def made(tmp_path):
    def make(name, variant):
        write, file = SAMPLES[name][:2]
        path = tmp_path / variant.replace(" ", "") / file
        path.parent.mkdir(exist_ok=True)
        write(path, variant)
        return path

    return make


def cases(position):
    return [
        pytest.param(name, variant, expected, id=f"{name}-{variant}")
        for name, sample in SAMPLES.items()
        for variant, expected in sample[position].items()
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_equals_itself_in_bytes_and_in_content(made, name):
    path = made(name, "base")
    assert family.compare(path, path, name).status == Status.IDENTICAL
    comparator = knows(path)
    found = comparator.compare(path, path, context())
    assert found.status == Status.EXACT
    assert found.values > 0


@pytest.mark.parametrize(("name", "variant", "aside"), cases(2))
def test_a_harmless_variation_is_exact_and_said(made, name, variant, aside):
    found = family.compare(made(name, "base"), made(name, variant), name)
    assert found.status == Status.EXACT, found.reason
    assert found.set_aside
    assert any(aside in part.what for part in found.set_aside), found.set_aside
    assert all(part.why for part in found.set_aside)


@pytest.mark.parametrize(("name", "variant", "where"), cases(3))
def test_a_real_change_is_caught_and_localised(made, name, variant, where):
    found = family.compare(made(name, "base"), made(name, variant), name)
    assert found.status == Status.DIFFERENT, found.reason
    assert "first difference: " in found.reason
    assert where in found.reason


@pytest.mark.parametrize("name", [n for n in SAMPLES if n != "csv"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_file_that_is_cut_off_is_uncomparable(made, name, share, tmp_path):
    path = made(name, "base")
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found = family.compare(path, cut, name)
    assert found.status == Status.UNCOMPARABLE
    assert found.reason


def test_a_set_in_another_order_is_exact(tmp_path):
    code = "import pickle,sys; pickle.dump({'s': {'a','b','c','d','e'}}, open(sys.argv[1],'wb'))"
    paths = []
    for seed in ("1", "5"):
        paths.append(tmp_path / f"{seed}.pkl")
        subprocess.run(
            [sys.executable, "-c", code, paths[-1]], env={"PYTHONHASHSEED": seed}, check=True
        )
    assert paths[0].read_bytes() != paths[1].read_bytes()
    found = family.compare(*paths, "s.pkl")
    assert found.status == Status.EXACT
    assert [part.what for part in found.set_aside] == ["set order"]


def test_a_checkpoint_of_flax_has_no_ending_to_know_it_by(tmp_path):
    paths = [tmp_path / side / "checkpoint_3" for side in "ab"]
    for path, variant in zip(paths, ("base", "ulp"), strict=True):
        path.parent.mkdir()
        msgpack(path, variant)
    found = family.compare(*paths, "m")
    assert (found.status, found.comparator) == (Status.DIFFERENT, "msgpack@1")
    assert "params.dense.kernel at index [1, 1]" in found.reason


def test_a_checkpoint_of_tensorflow_is_read_by_its_index(tmp_path):
    code = (
        "import sys, tensorflow as tf\n"
        "for name, value in (('a', 1.0), ('b', 1.0000001)):\n"
        "    tf.train.Checkpoint(w=tf.Variable([[2.0, value]])).write(f'{sys.argv[1]}/{name}/ck')\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    found = family.compare(tmp_path / "a", tmp_path / "b", "tf")
    assert found.status == Status.DIFFERENT
    status = {c.name: (c.status, c.reason) for c in found.children}
    assert status["ck.index"][0] == Status.EXACT
    assert "w/.ATTRIBUTES/VARIABLE_VALUE at index [0, 1]" in status["ck.data-00000-of-00001"][1]


def context():
    from harness.comparators.base import Context

    return Context()


def knows(path: Path):
    from harness.comparators.base import Sniff

    sniff = Sniff(path, path.stat().st_size, path.read_bytes()[: 1 << 16])
    return next(c for c in family.table() if c.recognises(sniff))
