"""Which pickles may be loaded in the sandbox at all, and which answers count as predictions."""

import os
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from harness import predicting
from harness.comparators.base import CannotCompare
from harness.model import Difference, Status
from harness.predicting import _checked, _harmless, _told

X = np.random.default_rng(0).standard_normal((20, 2))


class Calls:
    """Pickles as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def dumped(path, value, plainly=False):
    if plainly:
        path.write_bytes(pickle.dumps(value))
    else:
        joblib.dump(value, path)
    return path


@pytest.fixture
def honest(tmp_path):
    return dumped(tmp_path / "honest", LogisticRegression().fit(X, X[:, 0] > 0))


def test_two_models_of_the_same_known_classes_may_be_loaded(tmp_path, honest):
    _harmless(honest, dumped(tmp_path / "b", LogisticRegression(C=3).fit(X, X[:, 1] > 0)))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Calls(os.system, ("true",)), "would import posix.system"),
        (Calls(eval, ("1",)), "would import builtins.eval"),
        (partial(print), "would import"),
        (Ridge(), "only one of the two would import"),
    ],
)
@pytest.mark.parametrize("hostile_is_recorded", [True, False])
def test_code_of_its_own_on_either_side_is_never_loaded(
    tmp_path, honest, value, why, hostile_is_recorded
):
    other = dumped(tmp_path / "b", value, plainly=True)
    with pytest.raises(CannotCompare, match=why):
        _harmless(*((other, honest) if hostile_is_recorded else (honest, other)))


def test_what_cannot_be_read_on_paper_is_never_loaded(tmp_path, honest):
    broken = tmp_path / "b"
    broken.write_bytes(honest.read_bytes()[:-9])
    with pytest.raises(CannotCompare, match="not loaded"):
        _harmless(honest, broken)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"other": np.zeros(4)},
        {"predict": np.zeros(3)},
        {"predict": np.zeros((4, 0))},
        {"predict": np.float64(1)},
        {"predict": np.array(["a"] * 4)},
    ],
)
def test_what_is_no_prediction(arrays):
    with pytest.raises(CannotCompare):
        _checked({k: np.asarray(v) for k, v in arrays.items()}, 4, "the model")


def test_predictions_of_as_many_rows_count():
    arrays = {"predict": np.zeros(4), "predict_proba": np.zeros((4, 2))}
    assert _checked(arrays, 4, "the model") == arrays


@pytest.mark.parametrize("was", sorted(predicting.OPEN))
def test_only_agreement_changes_what_the_artifact_is(was):
    found = Difference("m.pkl", was, "pickle@1", "coef_", values=3)
    for status in (Status.DIFFERENT, Status.UNCOMPARABLE):
        kept = _told(found, Difference("behaviour", status, "predictions", "why"))
        assert (kept.status, kept.reason) == (was, "coef_; behaviour: why")
        assert kept.children[-1].name == "behaviour"
    settled = _told(found, Difference("behaviour", Status.BEHAVIOURAL, "predictions", "0 of 4", 4))
    assert (settled.name, settled.status, settled.values) == ("m.pkl", Status.BEHAVIOURAL, 4)
    assert "coef_" in settled.reason
