"""Pickled models that differ: the probe decides, in the sandbox, and nothing forged passes."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from harness import predicting

LOCK = Path(__file__).parents[3] / "recipes/credit-sklearn/requirements.lock"
NEEDED = ("cloudpickle", "joblib", "numpy", "scikit-learn", "scipy", "threadpoolctl", "narwhals")
OUTPUTS = """
[[output]]
path = "model.joblib"
{tolerance}
[[output]]
path = "metrics.json"
role = "metrics"
"""
WITHIN = 'tolerances = [{ match = "behaviour", atol = 1e-6, rationale = "noise far below it" }]'
PROBE = '[probe]\ninputs = "data/probe.npz"\n'
TRAIN = """
import os, joblib, numpy as np
from sklearn.linear_model import LogisticRegression
draw = np.random.RandomState(3)
x = draw.standard_normal((200, 4))
y = (x @ [1.0, -2.0, 0.5, 0.0] > 0).astype(int)
model = LogisticRegression().fit(x, y)
noise = np.frombuffer(os.urandom(4), np.uint8) / 255 + 0.1
model.coef_ = model.coef_ + {scale} * noise * [-1, 1, -1, 1]
open("metrics.json", "w").write("{{}}")
joblib.dump(model, "model.joblib")
"""
FORGED = """
import os, pickle, sys
CODE = '''
import os, socket, sys, numpy as np
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    print("network", flush=True)
except OSError:
    print("no network", flush=True)
{act}
'''
class Model:
    def __reduce__(self):
        return exec, (CODE + "#" + os.urandom(4).hex(),)
open("metrics.json", "w").write("{{}}")
open("model.joblib", "wb").write(pickle.dumps(Model()))
"""


def lock():
    """The part of a recipe's lock that a scikit-learn model needs."""
    blocks = re.split(r"\n(?=\S)", LOCK.read_text())
    return "\n".join(b for b in blocks if b.split("==")[0] in NEEDED) + "\n"


def probe(rows=40, columns=4):
    held = io.BytesIO()
    np.savez(held, X=np.random.default_rng(1).standard_normal((rows, columns)))
    return held.getvalue()


@pytest.fixture
def verified(project, cli, recorded):
    def verify(script, tolerance=WITHIN, extra=PROBE, inputs=None):
        made = project(script, extra=OUTPUTS.format(tolerance=tolerance) + extra, timeout="120s")
        made.write("requirements.lock", lock())
        made.track("data/probe.npz", inputs or probe())
        # The second file's .gitignore line must not replace the first one's.
        made.write("data/.gitignore", "/rows.txt\n/probe.npz\n")
        made.commit("probe")
        recorded(made)
        code, answer, _ = cli("verify", "models:/M/1", "--json")
        return code, answer, tree(answer)

    return verify


def tree(answer):
    (found,) = (a for a in answer["record"]["artifacts"] if a["path"] == "model.joblib")
    return found


def test_a_harmless_difference_is_behavioural(verified):
    code, answer, found = verified(TRAIN.format(scale="1e-9"))
    assert (answer["outcome"], answer["grade"]) == ("REPRODUCED", "BEHAVIOURAL")
    assert code == 5  # the built-in policy asks for TOLERANCE
    assert "predict" in [s["name"] for s in answer["record"]["stages"]]
    told = str(found)
    assert "40 recorded probe rows by decision_function, predict, predict_proba" in told
    assert "0 of 80 decisions flipped" in told


def test_flipped_decisions_diverge(verified):
    code, answer, found = verified(TRAIN.format(scale="9.0"))
    assert (code, answer["outcome"]) == (1, "DIVERGED")
    flipped = r"behaviour: [1-9]\d* of 80 decisions flipped"
    assert re.search(flipped, str(found))
    assert re.search(flipped, str(answer["record"]["reasons"]))


def test_without_a_tolerance_predictions_are_equal_bit_by_bit(verified):
    code, answer, found = verified(TRAIN.format(scale="1e-9"), tolerance="")
    assert (code, answer["outcome"]) == (1, "DIVERGED")
    assert "behaviour: 0 of 80 decisions flipped" in str(found)


def test_without_a_probe_nothing_is_predicted(verified):
    code, answer, found = verified(TRAIN.format(scale="1e-9"), extra="")
    assert (code, answer["outcome"]) == (1, "DIVERGED")
    assert "behaviour" not in str(found)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [(probe(columns=3), "cannot predict: exit status 1"), (probe(rows=0), "at least one row")],
)
def test_a_probe_that_does_not_fit_is_no_pass(verified, inputs, why):
    code, answer, found = verified(TRAIN.format(scale="1e-9"), inputs=inputs)
    assert (code, answer["outcome"]) == (1, "DIVERGED")
    assert why in str(found)


FORGE = 'np.savez("predictions.npz", predict=np.zeros(40)); os._exit(0)'


def test_a_model_that_would_run_code_is_never_loaded(verified):
    code, answer, found = verified(FORGED.format(act=FORGE))
    assert (code, answer["outcome"]) == (1, "DIVERGED")
    assert "not loaded: it would import builtins.exec" in str(found)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ("os._exit(0)", "it wrote no predictions.npz"),
        ("sys.exit(3)", "exit status 3"),
        ('np.savez("predictions.npz", predict=np.zeros(7)); os._exit(0)', "for 40 probe rows"),
        ('np.savez("predictions.npz", other=np.zeros(40)); os._exit(0)', "that we asked for"),
        ('open("predictions.npz", "wb").write(b"PK"); os._exit(0)', "not a zip file"),
        ('os.symlink("/etc/passwd", "predictions.npz"); os._exit(0)', "wrote no predictions"),
    ],
)
def test_behind_that_the_sandbox_holds(verified, monkeypatch, home, act, why):
    monkeypatch.setattr(predicting, "_harmless", lambda *sides: None)
    code, answer, found = verified(FORGED.format(act=act))
    assert (code, answer["outcome"]) == (1, "DIVERGED")
    assert why in str(found)
    (log,) = home.glob("runs/*/predict-recorded/out/job.log")
    assert "no network" in log.read_text()
