"""What a training with Hugging Face leaves behind: run twice, resharded, and changed."""

import json
import subprocess
import sys

import pytest

from harness.comparators import family
from harness.model import Status

TRAIN = """
import os, sys, time
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch
from transformers import BertConfig, BertForSequenceClassification
from transformers.trainer_callback import TrainerState
torch.manual_seed(0)
sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
config = BertConfig(vocab_size=50, intermediate_size=32, max_position_embeddings=32, **sizes)
model = BertForSequenceClassification(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
os.chdir(sys.argv[1])
start, state = time.perf_counter(), TrainerState(max_steps=4, global_step=4)
for step in range(4):
    inputs = torch.tensor([[1, 2, 3, n] for n in range(step, step + 4)])
    loss = model(input_ids=inputs, labels=torch.tensor([0, 1, 0, 1])).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    state.log_history.append({"loss": loss.item(), "step": step})
took = time.perf_counter() - start
state.log_history.append({"train_runtime": took, "train_steps_per_second": 4 / took, "step": 4})
os.mkdir("out")
state.save_to_json("out/trainer_state.json")
model.save_pretrained("one")
model.save_pretrained("shards", max_shard_size="10KB")
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    places = [tmp_path_factory.mktemp("run") for _ in range(2)]
    for place in places:
        command = [sys.executable, "-c", TRAIN, place]
        done = subprocess.run(command, capture_output=True, text=True)
        assert not done.returncode, done.stderr[-2000:]
    return places


def test_a_training_that_is_run_again_differs_in_its_speed_only(runs):
    found = family.compare(*runs, "m")
    assert found.status == Status.EXACT, found
    aside = {c.name: [part.what for part in c.set_aside] for c in found.children if c.set_aside}
    assert aside == {"out/trainer_state.json": ["speed"]}
    assert {"one/model.safetensors", "one/config.json"} < {c.name for c in found.children}


def test_a_loss_in_its_history_is_compared(runs, tmp_path):
    path = runs[0] / "out/trainer_state.json"
    changed = tmp_path / path.name
    state = json.loads(path.read_text())
    state["log_history"][0]["loss"] += 1e-6
    changed.write_text(json.dumps(state))
    found = family.compare(path, changed, "m")
    assert (found.status, found.comparator) == (Status.DIFFERENT, "huggingface@1")
    assert found.reason == "first difference: log_history.0.loss"


def test_the_library_itself_writes_shards_that_are_the_same_model(runs):
    found = family.compare(runs[0] / "one", runs[1] / "shards", "m")
    assert found.status == Status.EXACT, found
    (model,) = (c for c in found.children if c.name == "model.safetensors")
    assert [part.what for part in model.set_aside] == ["sharding"]


@pytest.mark.parametrize("name", ["train_results.json", "all_results.json"])
def test_results_are_compared_but_for_speed(name, tmp_path):
    paths = [tmp_path / n / name for n in "abc"]
    for n, path in enumerate(paths):
        path.parent.mkdir()
        loss = 0.5 + (n == 2)
        path.write_text(json.dumps({"train_loss": loss, "train_runtime": n, "epoch": 1.0}))
    assert family.compare(paths[0], paths[1], "m").status == Status.EXACT
    found = family.compare(paths[0], paths[2], "m")
    assert (found.status, found.reason) == (Status.DIFFERENT, "first difference: train_loss")


def test_a_configuration_of_another_program_is_plain_json(tmp_path):
    paths = [tmp_path / n / "config.json" for n in "ab"]
    for n, path in enumerate(paths):
        path.parent.mkdir()
        path.write_text(json.dumps({"version": n, "runtime": n}))
    found = family.compare(*paths, "m")
    assert (found.status, found.comparator) == (Status.DIFFERENT, "json@1")
