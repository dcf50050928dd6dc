"""ONNX by behaviour: given only when it is asked for, and never with a flipped decision."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.comparators import family
from harness.comparators.base import Context
from harness.comparators.onnx import Onnx
from harness.comparators.predictions import upper_bound
from harness.model import Status, Tolerance, ToleranceRule

RULE = ToleranceRule("behaviour", rtol=1e-4, atol=1e-5, rationale="float noise")


def model(path, weights, name="w"):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", name], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, ["N", 4])],
        [value("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weights, name)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def weights():
    return np.random.default_rng(0).standard_normal((4, 3)).astype("f4")


@pytest.fixture
def recorded(tmp_path, weights):
    return model(tmp_path / "recorded.onnx", weights)


def compared(recorded, reproduced, rules=(), **more):
    return Onnx().compare(recorded, reproduced, Context(Tolerance(rules), **more))


def test_noise_is_behavioural_only_when_asked_for(tmp_path, recorded, weights):
    close = model(tmp_path / "b.onnx", np.nextafter(weights, np.float32(9)))
    assert compared(recorded, close).status == Status.DIFFERENT
    found = compared(recorded, close, (RULE,))
    assert found.status == Status.BEHAVIOURAL
    assert "0 of 256 decisions flipped, flip rate at most 0.01163 at 95 %" in found.reason
    assert "inputs drawn by seed 0" in found.reason
    assert found.values == 768


def test_a_flipped_decision_is_different_whatever_the_tolerance(tmp_path, recorded, weights):
    loose = ToleranceRule("behaviour", rtol=1e9, atol=1e9, rationale="none")
    found = compared(recorded, model(tmp_path / "b.onnx", -weights), (loose,))
    assert found.status == Status.DIFFERENT
    assert "decisions flipped" in found.children[-1].reason


def test_weights_within_tolerance_are_not_asked_for_their_behaviour(tmp_path, recorded, weights):
    close = model(tmp_path / "b.onnx", np.nextafter(weights, np.float32(9)))
    rule = ToleranceRule("w", rtol=1e-5, rationale="noise")
    assert compared(recorded, close, (rule, RULE)).status == Status.WITHIN_TOLERANCE


def test_recorded_probe_inputs_are_used(tmp_path, recorded, weights):
    close = model(tmp_path / "b.onnx", np.nextafter(weights, np.float32(9)))
    np.savez(tmp_path / "probe.npz", x=np.ones((5, 4), "f4"))
    found = compared(recorded, close, (RULE,), probe=tmp_path / "probe.npz")
    assert found.status == Status.BEHAVIOURAL
    assert "0 of 5 decisions flipped" in found.reason
    assert "recorded probe inputs" in found.reason


def test_a_model_that_does_not_run_is_never_behavioural(tmp_path, recorded, weights):
    broken = model(tmp_path / "b.onnx", np.zeros((7, 3), "f4"))
    found = compared(recorded, broken, (RULE,))
    assert found.status == Status.DIFFERENT
    assert found.children[-1].status == Status.UNCOMPARABLE
    assert "cannot predict" in found.children[-1].reason


def test_weights_in_a_file_beside_the_model_are_compared_through_it(tmp_path, weights):
    for side, held in (("a", weights), ("b", weights * 2)):
        (tmp_path / side).mkdir()
        inner = onnx.load(model(tmp_path / "m.onnx", held))
        onnx.save(
            inner, tmp_path / side / "m.onnx", save_as_external_data=True, size_threshold=0,
            location="m.onnx.data",
        )  # fmt: skip
    found = family.compare(tmp_path / "a", tmp_path / "b", "folder")
    assert found.status == Status.DIFFERENT
    (data,) = (c for c in found.children if c.name == "m.onnx.data")
    assert data.status == Status.DIFFERENT
    assert "w at index [0, 0]" in data.reason


def test_a_model_of_one_row_is_asked_many_times(tmp_path, weights):
    paths = []
    for number, held in enumerate((weights, np.nextafter(weights, np.float32(9)))):
        fixed = onnx.load(model(tmp_path / f"{number}.onnx", held))
        for value in (*fixed.graph.input, *fixed.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(fixed, tmp_path / f"{number}.onnx")
        paths.append(tmp_path / f"{number}.onnx")
    assert "0 of 64 decisions flipped" in compared(*paths, (RULE,)).reason


@pytest.mark.parametrize(
    ("events", "trials", "bound"),
    [(0, 100, 1 - 0.05 ** (1 / 100)), (0, 1, 0.95), (5, 5, 1.0), (1, 10, 0.3941633)],
)
def test_the_upper_bound_is_clopper_and_pearsons(events, trials, bound):
    assert upper_bound(events, trials) == pytest.approx(bound, abs=1e-6)
