"""The same questions to every format of tensors, documents and archives, on real files."""

import copy
import gzip
import io
import json
import os
import tarfile
import tomllib
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import torch as pytorch

from harness.comparators import family
from harness.comparators.base import Sniff
from harness.model import Status, Tolerance, ToleranceRule

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
RNG = np.random.default_rng(7)
WEIGHTS = {
    "layer.0.weight": RNG.standard_normal((16, 8), dtype=np.float32),
    "layer.0.bias": np.zeros(16, np.float32),
    "steps": np.array(3),
    "none": np.zeros((0, 4), np.float64),
    "half": RNG.standard_normal(5).astype(np.float16),
}
METRICS = {"accuracy": 0.93, "epochs": 5, "loss": [0.5, 0.25], "note": "ok", "best": {"auc": 0.9}}


def changed(tensors, variant):
    """One ULP in one weight, a renamed layer or a missing one."""
    found = {k: v.copy() for k, v in tensors.items()}
    if variant == "ulp":
        weight = found["layer.0.weight"]
        weight[2, 3] = np.nextafter(weight[2, 3], np.float32(9))
    if variant == "renamed":
        found["layer.1.bias"] = found.pop("layer.0.bias")
    if variant == "missing":
        del found["layer.0.bias"]
    if variant == "shape":
        found["layer.0.bias"] = found["layer.0.bias"].reshape(4, 4)
    return found


def safetensors_file(path, variant):
    metadata = {"format": "np", "a": "1", "b": "2"}
    data = safetensors.numpy.save(changed(WEIGHTS, variant), metadata)
    if variant == "header order":
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        text = json.dumps(dict(reversed(header.items()))).encode()
        text += b" " * (-len(text) % 8)
        data = len(text).to_bytes(8, "little") + text + data[8 + size :]
    path.write_bytes(data)


def npy(path, variant):
    array = changed(WEIGHTS, variant)["layer.0.weight"]
    np.save(path, np.asfortranarray(array) if variant == "memory order" else array)


def objects(path, variant):
    """Rows of Python objects, as `np.save` pickles them and `np.savez` beside other arrays."""
    weights = changed(WEIGHTS, variant)["layer.0.weight"]
    rows = [{"name": "a", "w": weights}, [1, 2], None, "é" if variant == "changed" else "e"]
    if path.suffix == ".npz":
        np.savez(path, rows=np.array(rows, object), plain=WEIGHTS["layer.0.bias"])
    else:
        np.save(path, np.array(rows, object), allow_pickle=True)


def npz(path, variant):
    save = np.savez_compressed if variant == "zip container" else np.savez
    tensors = changed(WEIGHTS, variant)
    save(path, **(dict(reversed(tensors.items())) if variant == "member order" else tensors))


def state(variant):
    tensors = {k: pytorch.from_numpy(v.copy()) for k, v in changed(WEIGHTS, variant).items()}
    tensors["half"] = tensors["half"].bfloat16()
    if variant == "layout":
        tensors["layer.0.weight"] = tensors["layer.0.weight"].t().contiguous().t()
    return {"model": tensors, "epoch": 4, "lr": 1e-3}


def torch(path, variant):
    name = "other.pt" if variant == "top folder" else path.name
    pytorch.save(state(variant), path.parent / name)
    (path.parent / name).rename(path)


def legacy(path, variant):
    pytorch.save(state(variant), path, _use_new_zipfile_serialization=False)
    if variant == "storage keys":
        data, keys = path.read_bytes(), set()
        for at in range(len(data)):
            run = data[at : at + 14]
            if run.isdigit():
                keys.add(run)
        for key in keys:
            data = data.replace(key, bytes(reversed(key)))
        path.write_bytes(data)


def script(path, variant):
    pytorch.manual_seed(0)
    model = pytorch.nn.Sequential(pytorch.nn.Linear(4, 3), pytorch.nn.ReLU())
    if variant == "ulp":
        with pytorch.no_grad():
            model[0].weight[1, 2] = model[0].weight[1, 2].nextafter(pytorch.tensor(9.0))
    name = "elsewhere.pt" if variant == "top folder" else path.name
    pytorch.jit.save(pytorch.jit.script(model), str(path.parent / name))
    (path.parent / name).rename(path)


def metrics(variant):
    found = copy.deepcopy(METRICS)
    if variant == "changed":
        found["best"]["auc"] = 0.8
    if variant == "missing":
        del found["note"]
    return dict(reversed(found.items())) if variant == "encoding" else found


def json_file(path, variant):
    path.write_text(json.dumps(metrics(variant)))


def yaml_file(path, variant):
    import yaml

    path.write_text(yaml.safe_dump(metrics(variant), sort_keys=False))


def toml_file(path, variant):
    found = metrics(variant)
    best = found.pop("best")
    lines = [f"{k} = {json.dumps(v)}" for k, v in found.items()]
    path.write_text("\n".join([*lines, "[best]", *(f"{k} = {v}" for k, v in best.items())]))
    assert tomllib.loads(path.read_text())


def text(path, variant):
    lines = ["trained", "0.25", "done"]
    lines[1] = "0.26" if variant == "changed" else lines[1]
    path.write_bytes(("\r\n" if variant == "line ends" else "\n").join(lines).encode())


def mlmodel(path, variant):
    run = "2" if variant in {"run_id", "model_uuid", "utc_time_created"} else "1"
    kind = "float" if variant == "signature" else "double"
    path.write_text(
        f"artifact_path: model\nflavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"
        f"mlflow_version: 3.17.0\nmodel_uuid: {run * 32}\nrun_id: {run * 32}\n"
        f'signature:\n  inputs: \'[{{"type": "{kind}"}}]\'\n'
        f"utc_time_created: '2026-01-0{run} 00:00:00'\n"
    )


def zipped(path, variant):
    kind = zipfile.ZIP_STORED if variant == "container" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("run/metrics.json", json.dumps(metrics(variant)))
        archive.writestr("run/notes.txt", "notes\n")


def tarred(path, variant):
    with tarfile.open(path, "w:gz") as archive:
        for name, value in (("metrics.json", metrics(variant)), ("other.json", [1])):
            data = json.dumps(value).encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 99 if variant == "container" else 1
            archive.addfile(entry, io.BytesIO(data))


def compressed(path, variant):
    mtime = 99 if variant == "container" else 1
    path.write_bytes(gzip.compress(json.dumps(metrics(variant)).encode(), mtime=mtime))


TENSORS = {"ulp": "layer.0.weight at index [2, 3]", "renamed": "layer.0.bias", "missing": "bias"}
VALUES = {"changed": "best.auc", "missing": "note"}
# name -> (writer, file name, harmless variant -> what is set aside, change -> where it is said)
SAMPLES = {
    "safetensors": (safetensors_file, "m.safetensors", ["header order"], TENSORS),
    "npy": (npy, "a.npy", ["memory order"], {"ulp": "index [2, 3]"}),
    "npy of objects": (objects, "o.npy", [], {"ulp": "index [2, 3]", "changed": "array"}),
    "npz of objects": (objects, "o.npz", [], {"ulp": "index [2, 3]", "changed": "rows"}),
    "npz": (npz, "a.npz", ["zip container", "member order"], TENSORS),
    "torch": (torch, "m.pt", ["top folder", "layout"], TENSORS),
    "torch-legacy": (legacy, "m.pth", ["storage keys"], TENSORS),
    "torchscript": (script, "s.pt", ["top folder"], {"ulp": "0.weight at index [1, 2]"}),
    "json": (json_file, "m.json", ["encoding"], VALUES),
    "yaml": (yaml_file, "m.yaml", ["encoding"], VALUES),
    "toml": (toml_file, "m.toml", [], VALUES),
    "text": (text, "log.txt", ["line ends"], {"changed": "line 2"}),
    "mlmodel": (mlmodel, "MLmodel", ["run_id", "model_uuid"], {"signature": "signature"}),
    "zip": (zipped, "a.zip", ["container"], {}),
    "tar": (tarred, "a.tgz", ["container"], {}),
    "compressed": (compressed, "m.json.gz", ["container"], {}),
}
DOCUMENTS = {"json", "yaml", "toml", "text", "mlmodel"}


@pytest.fixture
def made(tmp_path):
    def make(name, variant):
        write, file = SAMPLES[name][:2]
        path = tmp_path / variant.replace(" ", "-") / file
        path.parent.mkdir(exist_ok=True)
        write(path, variant)
        return path

    return make


def cases(position):
    return [(name, variant) for name, sample in SAMPLES.items() for variant in sample[position]]


def leaves(node):
    return [leaf for c in node.children for leaf in leaves(c)] if node.children else [node]


@pytest.mark.parametrize("name", SAMPLES)
def test_equal_bytes_are_identical_and_count(made, name):
    path = made(name, "base")
    found = family.compare(path, path, name)
    assert (found.status, found.values > 0) == (Status.IDENTICAL, True)


@pytest.mark.parametrize(("name", "variant"), cases(2))
def test_a_harmless_variation_is_exact_and_named(made, name, variant):
    found = family.compare(made(name, "base"), made(name, variant), name)
    assert found.status == Status.EXACT, found
    assert any(variant in part.what for part in found.set_aside), found.set_aside
    assert found.values > 0
    assert all(part.why for part in found.set_aside)


@pytest.mark.parametrize(("name", "variant"), cases(3))
def test_a_change_is_caught_and_localised(made, name, variant):
    found = family.compare(made(name, "base"), made(name, variant), name)
    assert found.status == Status.DIFFERENT, found
    assert SAMPLES[name][3][variant] in found.reason
    assert family.compare(made(name, variant), made(name, "base"), name).status == Status.DIFFERENT


@pytest.mark.parametrize("name", ["zip", "tar", "compressed"])
def test_a_change_inside_an_archive_is_caught_in_its_member(made, name):
    found = family.compare(made(name, "base"), made(name, "changed"), name)
    assert found.status == Status.DIFFERENT
    worst = [leaf for leaf in leaves(found) if leaf.status == Status.DIFFERENT]
    assert [leaf.name for leaf in worst] == ["auc"]


@pytest.mark.parametrize("name", [n for n in SAMPLES if n not in DOCUMENTS])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_a_file_that_is_cut_off_is_uncomparable(made, name, share, tmp_path):
    path = made(name, "base")
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found = family.compare(path, cut, name)
    assert (found.status, found.comparator) == (Status.UNCOMPARABLE, "bytes@1")
    assert "offset" in found.reason


@pytest.mark.parametrize("name", [n for n in SAMPLES if n not in DOCUMENTS])
def test_damage_anywhere_never_raises_and_never_passes_for_equal(made, name, tmp_path):
    path = made(name, "base")
    data = bytearray(path.read_bytes())
    broken = tmp_path / path.name
    for at in range(0, len(data), max(1, len(data) // 40)):
        data[at] ^= 0xFF
        broken.write_bytes(data)
        found = family.compare(path, broken, name)
        assert found.status != Status.IDENTICAL
        data[at] ^= 0xFF


@pytest.mark.parametrize("comparator", family.table(), ids=lambda c: c.id)
def test_garbage_is_not_recognised(comparator, tmp_path):
    path = tmp_path / "noise"
    path.write_bytes(bytes(np.random.default_rng(1).integers(128, 256, 4096, dtype=np.uint8)))
    assert not comparator.recognises(Sniff(path, 4096, path.read_bytes()))
    path.write_bytes(b"")
    assert not comparator.recognises(Sniff(path, 0, b""))


@pytest.mark.parametrize("name", ["safetensors", "npz", "torch", "torch-legacy"])
def test_a_tolerance_holds_where_its_pattern_fits(made, name):
    pair = made(name, "base"), made(name, "ulp")
    fits = Tolerance((ToleranceRule("*weight", rtol=1e-5),))
    found = family.compare(*pair, name, tolerance=fits)
    assert found.status == Status.WITHIN_TOLERANCE
    leaf = next(n for n in leaves(found) if n.status == Status.WITHIN_TOLERANCE)
    assert leaf.distances.differing == leaf.distances.ulp_max == 1
    assert leaf.distances.rtol == 1e-5
    other = Tolerance((ToleranceRule("*bias", rtol=1e-5),))
    assert family.compare(*pair, name, tolerance=other).status == Status.DIFFERENT


def test_ignored_keys_are_said_and_do_not_count(made):
    pair = made("json", "base"), made("json", "changed")
    found = family.compare(*pair, "m", tolerance=Tolerance(ignore=("best.auc",)))
    assert found.status == Status.EXACT
    assert [part.what for part in found.set_aside] == ["best.auc"]
    nothing = family.compare(*pair, "m", tolerance=Tolerance(ignore=("*",)))
    assert nothing.values == 0


def test_an_exported_program_is_read_without_its_stack_traces(tmp_path):
    pytorch.manual_seed(0)
    model = pytorch.nn.Linear(3, 2).eval()
    one, two, three = (tmp_path / f"{n}.pt2" for n in "abc")
    program = pytorch.export.export(model, (pytorch.ones(1, 3),))
    pytorch.export.save(program, one)
    pytorch.export.save(program, two)
    assert family.compare(one, two, "m").status == Status.EXACT
    with pytorch.no_grad():
        model.weight[0, 1] += 1
    pytorch.export.save(pytorch.export.export(model, (pytorch.ones(1, 3),)), three)
    found = family.compare(one, three, "m")
    assert (found.status, "weight" in found.reason) == (Status.DIFFERENT, True)


def test_file_names_do_not_decide_what_is_compared(made, tmp_path):
    for number, variant in enumerate(("base", "ulp")):
        os.rename(made("safetensors", variant), tmp_path / f"{number}.bin")
    found = family.compare(tmp_path / "0.bin", tmp_path / "1.bin", "m")
    assert found.comparator == "safetensors@1"
