"""The script that predicts in the sandbox, run as there: one process, a model file and a probe."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from harness.runtimes import predict

X = np.random.default_rng(0).standard_normal((30, 3))
Y = (X[:, 0] > 0).astype(int)


def run(folder, name, kind, **arrays):
    np.savez(folder / predict.PROBE, **(arrays or {"X": X}))
    done = subprocess.run(
        [sys.executable, predict.__file__, name, kind],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    made = folder / predict.OUT
    return done, dict(np.load(made, allow_pickle=False)) if made.exists() else {}


def test_a_classifier_answers_with_every_function_that_it_has(tmp_path):
    model = LogisticRegression().fit(X, np.array(["no", "yes"])[Y])
    joblib.dump(model, tmp_path / "subject.joblib")
    _, found = run(tmp_path, "subject.joblib", "pickle")
    assert set(found) == {"predict_proba", "decision_function", "predict"}
    assert (found["predict_proba"] == model.predict_proba(X)).all()
    assert found["predict"].dtype == np.int64
    assert len(set(found["predict"])) == 2


def test_labels_written_as_floats_are_decisions(tmp_path):
    joblib.dump(LogisticRegression().fit(X, Y.astype(float)), tmp_path / "subject.pkl")
    assert run(tmp_path, "subject.pkl", "pickle")[1]["predict"].dtype.kind == "i"


def test_a_regressor_keeps_its_numbers(tmp_path):
    joblib.dump(Ridge().fit(X, X[:, 0]), tmp_path / "subject.pkl")
    assert run(tmp_path, "subject.pkl", "pickle")[1]["predict"].dtype == np.float64


@pytest.mark.parametrize(("kind", "suffix"), [("lightgbm", ".txt"), ("xgboost", ".json")])
def test_a_booster_shows_the_decision_in_its_chances(tmp_path, kind, suffix):
    import lightgbm
    import xgboost

    name = f"subject{suffix}"
    if kind == "lightgbm":
        data = lightgbm.Dataset(X, Y)
        made = lightgbm.train({"objective": "binary", "verbose": -1}, data, 3)
    else:
        made = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, Y), 3)
    made.save_model(str(tmp_path / name))
    done, found = run(tmp_path, name, kind)
    assert found["predict"].shape == (30, 2), done.stderr


@pytest.mark.parametrize("arrays", [{"X": X[:0]}, {"X": X[:, :2]}, {"a": X, "b": X}])
def test_a_probe_that_does_not_fit_fails(tmp_path, arrays):
    joblib.dump(Ridge().fit(X, X[:, 0]), tmp_path / "subject.pkl")
    done, found = run(tmp_path, "subject.pkl", "pickle", **arrays)
    assert done.returncode
    assert not found


def test_what_cannot_predict_fails(tmp_path):
    joblib.dump({"weights": X}, tmp_path / "subject.pkl")
    done, found = run(tmp_path, "subject.pkl", "pickle")
    assert done.returncode
    assert not found


@pytest.mark.parametrize("form", ["cbm", "json"])
def test_catboost_shows_scores_and_decisions(tmp_path, form):
    from catboost import CatBoostClassifier

    made = CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False).fit(X, Y)
    made.save_model(str(tmp_path / f"subject.{form}"), format=form)
    done, found = run(tmp_path, f"subject.{form}", "catboost")
    assert set(found) == {"decision_function", "predict"}, done.stderr
    assert (found["predict"] == made.predict(X)).all()
