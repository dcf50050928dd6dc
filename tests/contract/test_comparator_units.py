"""Files that are compared together, from the libraries that write them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy as st

from harness.comparators import family
from harness.comparing import Comparer
from harness.executor import locate
from harness.files import digest
from harness.model import FileEntry, Role, Status, Tolerance, ToleranceRule
from harness.recipe import parse as parse_recipe

RNG = np.random.default_rng(3)
MODEL = {f"layer.{n}.weight": RNG.standard_normal((8, 4), dtype=np.float32) for n in range(4)}


def up(model, name, at):
    found = {k: v.copy() for k, v in model.items()}
    found[name][at] = np.nextafter(found[name][at], np.float32(9))
    return found


def whole(folder, model=MODEL):
    folder.mkdir(parents=True)
    st.save_file(model, folder / "model.safetensors", {"format": "np"})
    (folder / "config.json").write_text("{}")
    return folder


def sharded(folder, count, model=MODEL):
    folder.mkdir(parents=True)
    names, places = sorted(model), {}
    for n in range(count):
        file = f"model-{n + 1:05}-of-{count:05}.safetensors"
        kept = names[n::count]
        places |= dict.fromkeys(kept, file)
        st.save_file({k: model[k] for k in kept}, folder / file, {"format": "np"})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    return folder


def unit(found):
    return next(c for c in found.children if c.name == "model.safetensors")


@pytest.mark.parametrize("count", [2, 3])
def test_a_resharded_model_is_exact_and_says_so(tmp_path, count):
    pair = whole(tmp_path / "a"), sharded(tmp_path / "b", count)
    for one, two in (pair, reversed(pair)):
        found = family.compare(one, two, "m")
        assert found.status == Status.EXACT, found
        assert [part.what for part in unit(found).set_aside] == ["sharding"]
        assert unit(found).values == 4 * 32 + 1  # and one text of metadata
    found = family.compare(sharded(tmp_path / "c", 4), sharded(tmp_path / "d", 2), "m")
    assert found.status == Status.EXACT


def test_equal_shards_are_identical(tmp_path):
    found = family.compare(sharded(tmp_path / "a", 2), sharded(tmp_path / "b", 2), "m")
    assert found.status == Status.IDENTICAL


def test_one_ulp_in_a_resharded_model_is_caught_in_its_tensor(tmp_path):
    changed = up(MODEL, "layer.2.weight", (1, 3))
    one, two = whole(tmp_path / "a"), sharded(tmp_path / "b", 2, changed)
    found = family.compare(one, two, "m")
    assert found.status == Status.DIFFERENT
    assert unit(found).reason == "first difference: layer.2.weight at index [1, 3]"
    rules = Tolerance((ToleranceRule("layer.2.*", rtol=1e-6),))
    found = family.compare(one, two, "m", tolerance=rules)
    assert found.status == Status.WITHIN_TOLERANCE


def test_a_tensor_that_no_shard_has_is_missing(tmp_path):
    less = {k: v for k, v in MODEL.items() if "0" not in k}
    found = family.compare(whole(tmp_path / "a"), sharded(tmp_path / "b", 3, less), "m")
    assert found.status == Status.DIFFERENT
    assert "layer.0.weight" in unit(found).reason


@pytest.mark.parametrize("change", ["drop", "elsewhere", "nothing", "twice"])
def test_an_index_that_does_not_fit_its_shards_is_uncomparable(tmp_path, change):
    """A loader follows the index: a tensor that it does not name is not loaded."""
    one, two = whole(tmp_path / "a"), sharded(tmp_path / "b", 2)
    path = two / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    if change == "drop":
        del index["weight_map"]["layer.1.weight"]
    if change == "elsewhere":
        index["weight_map"]["layer.1.weight"] = "../outside.safetensors"
    if change == "twice":
        st.save_file(MODEL, two / "model-00001-of-00002.safetensors")
    path.write_text("[]" if change == "nothing" else json.dumps(index))
    found = family.compare(one, two, "m")
    assert found.status == Status.UNCOMPARABLE, found
    assert unit(found).reason


def test_without_its_index_the_shards_are_missing_files(tmp_path):
    one, two = sharded(tmp_path / "a", 2), sharded(tmp_path / "b", 2)
    (two / "model.safetensors.index.json").unlink()
    found = family.compare(one, two, "m")
    assert found.status == Status.DIFFERENT
    worst = [c.name for c in found.children if c.status == Status.MISSING]
    assert worst == ["model.safetensors.index.json"]


def events(folder, values=(1.0, 0.5), time=1700000000):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for step, value in enumerate(values):
        summary = Summary(value=[Summary.Value(tag="loss", simple_value=value)])
        writer.add_event(Event(wall_time=5.0, step=step, summary=summary))
    writer.close()
    (path,) = folder.iterdir()
    return path.rename(folder / f"events.out.tfevents.{time}.host{time % 7}.{time % 99}.0")


def test_event_files_of_two_runs_are_paired(tmp_path):
    one = events(tmp_path / "a/logs")
    events(tmp_path / "b/logs", time=1800000001)
    found = family.compare(tmp_path / "a", tmp_path / "b", "m")
    assert [c.name for c in found.children] == [f"logs/{one.name}"]
    assert found.status in {Status.EXACT, Status.IDENTICAL}
    events(tmp_path / "c/logs", values=(1.0, 0.25), time=1800000001)
    found = family.compare(tmp_path / "a", tmp_path / "c", "m")
    assert found.status == Status.DIFFERENT
    assert "loss.values at index [1]" in found.children[0].reason


def sha256(path):
    return digest(path, "sha256")[0]


RECIPE = """
schema = 1
name = "m"
[train]
command = ["python", "train.py"]
[environment]
lock = "requirements.lock"
[[output]]
path = "model*"
role = "{role}"
"""


def entries(root, role):
    """The outputs of one run, where the executor puts them."""
    top = locate(root, FileEntry("", 0, "", role))
    paths = sorted(p for p in top.rglob("*") if p.is_file())
    return tuple(
        FileEntry(p.relative_to(top).as_posix(), p.stat().st_size, sha256(p), role) for p in paths
    )


def verified(tmp_path, role=Role.MODEL):
    recipe = parse_recipe(RECIPE.format(role=role), "recipe.toml")
    one, two = tmp_path / "one", tmp_path / "two"
    comparer = Comparer(recipe, one, entries(one, role), tmp_path)
    return comparer.with_recorded(two, entries(two, role))


def test_a_verification_pairs_event_files_and_shards_too(tmp_path):
    side = {n: locate(tmp_path / n, FileEntry("", 0, "", Role.MODEL)) for n in ("one", "two")}
    whole(side["one"])
    sharded(side["two"], 2)
    name = events(side["one"] / "logs").name
    events(side["two"] / "logs", time=1800000001)
    found = {c.path: c for c in verified(tmp_path)}
    assert set(found) == {"model.safetensors", "config.json", f"logs/{name}"}
    assert found["model.safetensors"].difference.status == Status.EXACT
    assert found["config.json"].difference.status == Status.IDENTICAL
    assert found[f"logs/{name}"].difference.status in {Status.EXACT, Status.IDENTICAL}
    assert all(len(c.recorded_sha256) == len(c.reproduced_sha256) == 64 for c in found.values())
    assert found["model.safetensors"].recorded_sha256 == sha256(side["one"] / "model.safetensors")


def test_equal_shards_stay_single_files_in_a_verification(tmp_path):
    for n in ("one", "two"):
        sharded(locate(tmp_path / n, FileEntry("", 0, "", Role.MODEL)), 2)
    found = verified(tmp_path)
    assert len(found) == 4
    assert {c.difference.status for c in found} == {Status.IDENTICAL}


SAVE = """
import sys, jax.numpy as jnp, numpy as np, orbax.checkpoint as ocp
top = sys.argv[1]
def tree(name="kernel", at=None):
    kernel = np.arange(12, dtype="f4").reshape(3, 4) / 7
    if at: kernel[at] = np.nextafter(kernel[at], np.float32(9))
    half = jnp.ones((2,), jnp.bfloat16)
    dense = {name: jnp.asarray(kernel), "bias": jnp.zeros(4)}
    return {"params": {"dense": dense, "h": half}, "step": 3}
def save(folder, value, **more):
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**more)) as c:
        c.save(f"{top}/{folder}", value)
for kind, more in (("ocdbt", {}), ("zarr", {"use_ocdbt": False}),
                   ("zarr3", {"use_ocdbt": False, "use_zarr3": True})):
    save(f"{kind}/first", tree(), **more)
    save(f"{kind}/again", tree(), **more)
    save(f"{kind}/ulp", tree(at=(1, 2)), **more)
    save(f"{kind}/renamed", tree("other"), **more)
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    top = tmp_path_factory.mktemp("orbax")
    subprocess.run([sys.executable, "-c", SAVE, top], check=True, capture_output=True)
    return top


KINDS = ["ocdbt", "zarr", "zarr3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_that_is_saved_again_is_exact(stores, kind):
    found = family.compare(stores / kind / "first", stores / kind / "again", "m")
    assert found.status == Status.EXACT, found
    aside = {part.what for c in found.children for part in c.set_aside}
    assert {"times", "folder"} <= aside
    assert ("files of the store" in aside) == (kind == "ocdbt")


@pytest.mark.parametrize("kind", KINDS)
def test_one_ulp_and_a_renamed_layer_in_a_checkpoint_are_caught(stores, kind):
    found = family.compare(stores / kind / "first", stores / kind / "ulp", "m")
    assert found.status == Status.DIFFERENT
    (told,) = (c for c in found.children if c.status == Status.DIFFERENT)
    assert "at index [1, 2]" in told.reason
    assert "kernel" in told.reason or "kernel" in told.name
    found = family.compare(stores / kind / "first", stores / kind / "renamed", "m")
    assert found.status == Status.DIFFERENT


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_store_never_raises_and_never_passes(stores, kind, tmp_path):
    import shutil

    place = tmp_path / "broken"
    shutil.copytree(stores / kind / "first", place)
    names = {"manifest.ocdbt", ".zarray", "zarr.json", "0.0", "c"}
    for path in [p for p in place.rglob("*") if p.is_file() and names & set(p.parts)]:
        data = path.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 5)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
            found = family.compare(stores / kind / "first", place, "m")
            assert found.status not in {Status.IDENTICAL, Status.WITHIN_TOLERANCE}
        path.write_bytes(data)


def test_an_array_that_claims_more_than_its_store_could_hold_is_refused(stores, tmp_path):
    import shutil

    place = tmp_path / "huge"
    shutil.copytree(stores / "zarr/first", place)
    path = place / "params.dense.kernel" / ".zarray"
    path.write_text(path.read_text().replace('"shape":[3,4]', f'"shape":[{1 << 40},4]'))
    found = family.compare(stores / "zarr/first", place, "m")
    assert found.status == Status.UNCOMPARABLE
    told = next(c for c in found.children if c.status == Status.UNCOMPARABLE)
    assert "claims" in told.reason


@pytest.mark.parametrize(("kind", "pattern"), [("zarr", "*kernel/0.0"), ("ocdbt", "d/*")])
def test_a_sparse_file_of_a_terabyte_is_refused_at_once(stores, tmp_path, kind, pattern):
    import shutil

    place = tmp_path / "sparse"
    shutil.copytree(stores / kind / "first", place)
    with next(place.glob(pattern)).open("r+b") as file:
        file.truncate(1 << 40)
    found = family.compare(stores / kind / "first", place, "m")
    assert found.status == Status.UNCOMPARABLE, found
    assert any("a hole" in c.reason or "are read" in c.reason for c in found.children)


def test_a_link_in_a_store_is_not_followed(stores, tmp_path):
    import shutil

    place = tmp_path / "linked"
    shutil.copytree(stores / "zarr/first", place)
    chunk = next(place.glob("*kernel/0.0"))
    chunk.unlink()
    chunk.symlink_to(next((stores / "zarr/first").glob("*kernel/0.0")))
    found = family.compare(stores / "zarr/first", place, "m")
    assert found.status not in {Status.IDENTICAL, Status.EXACT}


def test_without_tensorstore_the_reason_says_what_to_install(stores, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    found = family.compare(stores / "ocdbt/first", stores / "ocdbt/again", "m")
    told = next(c for c in found.children if c.status == Status.UNCOMPARABLE)
    assert "repro-harness[orbax]" in told.reason
