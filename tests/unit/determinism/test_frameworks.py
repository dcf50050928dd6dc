"""torch, scikit-learn, TensorFlow and JAX, the real packages, seeding nothing themselves."""

from __future__ import annotations

import pytest

TORCH = """
import sys
import torch
print(torch.rand(2).tolist(), torch.nn.Linear(3, 3).weight.sum().item())
torch.seed()
print(torch.rand(1).item())
assert torch.are_deterministic_algorithms_enabled() == (sys.argv[1] == "strict")
"""
OPS = """
import sys, warnings
import torch
assert "torch._inductor.config" not in sys.modules
warnings.simplefilter("error")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for _ in range(3):
        torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2))
torch.zeros(4).put_(torch.tensor([0, 0]), torch.ones(2))
try:
    warnings.warn("the script's own")
except UserWarning:
    print("raised")
"""
FOREST = """
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
x, y = load_iris(return_X_y=True)
a, b, c, d = train_test_split(x, y)
forest = RandomForestClassifier(5).fit(a, c)
print([t.tree_.threshold.sum() for t in forest.estimators_])
"""
TENSORFLOW = """
import tensorflow as tf
layers = tf.keras.layers
net = tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(4), layers.Dropout(0.5)])
net.compile("sgd", "mse")
x = tf.random.normal([32, 4])
net.fit(x, x, epochs=1, verbose=0)
print(net.get_weights()[0].tolist())
print(tf.config.threading.get_intra_op_parallelism_threads())
"""
JAX = """
import jax
import numpy as np
key = jax.random.key(np.random.randint(2**31))
print(jax.random.normal(key, (3,)).tolist(), jax.config.jax_default_matmul_precision)
"""


def test_torch_repeats_at_strict_and_differs_at_off(train):
    strict = train(TORCH, "strict", "strict")
    assert strict.out == train(TORCH, "strict", "strict").out
    assert train(TORCH, "off", "off").out != train(TORCH, "off", "off").out
    assert strict.summary["threads"]["torch"] == 1
    assert strict.summary["capability"]
    assert "torch" in strict.summary["libraries"]
    assert {"torch", "torch.seed()"} <= {e["generator"] for e in strict.summary["unseeded"]}


def test_a_nondeterministic_operation_is_reported_and_never_raises(train):
    done = train(OPS)
    assert done.out == "raised\n"
    (op,) = done.summary["nondeterministic"]
    assert (op["op"], op["count"], op["where"]) == ("put_", 4, "script.py:9")
    assert train(OPS, "seeds").summary["nondeterministic"] == []


def test_the_compiler_is_told_when_it_is_imported(train):
    script = "import torch, torch._inductor.config as c; print(c.deterministic)"
    assert train(script, "strict").out == "True\n"
    assert train(script, "seeds").out == "False\n"


def test_scikit_learn_repeats_at_seeds_and_differs_at_off(train):
    assert train(FOREST, "seeds").out == train(FOREST, "seeds").out
    assert train(FOREST, "off").out != train(FOREST, "off").out


@pytest.mark.parametrize(
    ("script", "last", "pin"),
    [
        (TENSORFLOW, "1", "tensorflow deterministic operations"),
        (JAX, "highest", "jax full matmul precision"),
    ],
)
def test_tensorflow_and_jax_repeat_at_strict_and_differ_at_off(train, script, last, pin):
    first = train(script, "strict")
    assert first.out == train(script, "strict").out
    assert first.out.split()[-1] == last
    assert pin in first.summary["set"]
    assert first.summary["failures"] == []
    assert train(script, "off").out != train(script, "off").out
