"""torch's files as torch writes them: views, metadata, optimizers; nothing in them ever runs."""

import copy
import os
import zipfile

import numpy as np
import pytest
import torch

from harness.comparators import family
from harness.model import Status

BASE = torch.arange(12.0).reshape(3, 4)
COMPLEX = torch.tensor([1 + 2j, 3 - 1j])


def saved(folder, one, two, **how):
    paths = folder / "one.pt", folder / "two.pt"
    for path, content in zip(paths, (one, two), strict=True):
        torch.save(content, path, **how)
    return family.compare(*paths, "model")


def aside(found):
    return {item.what for item in found.set_aside}


def cnn():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2)
    return torch.nn.Sequential(*layers)


def test_one_ulp_in_one_weight_of_a_network_is_found_where_it_is(tmp_path):
    one = cnn().state_dict()
    two = copy.deepcopy(one)
    two["0.weight"][1, 2, 0, 1] = torch.nextafter(two["0.weight"][1, 2, 0, 1], torch.tensor(9.0))
    found = saved(tmp_path, one, two)
    assert found.status == Status.DIFFERENT
    assert "0.weight at index [1, 2, 0, 1]" in found.reason
    (child,) = [c for c in found.children if c.name == "0.weight"]
    assert (child.distances.differing, child.distances.ulp_max) == (1, 1)


def test_a_checkpoint_is_compared_down_to_its_optimizer(tmp_path):
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters())
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    one = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    two = copy.deepcopy(one)
    assert saved(tmp_path, one, two).status == Status.EXACT
    two["optimizer"]["state"][0]["exp_avg"][2, 1, 0, 0] += 1
    found = saved(tmp_path, one, two)
    assert found.status == Status.DIFFERENT
    assert "exp_avg at index [2, 1, 0, 0]" in found.reason


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (BASE.t(), BASE.t().contiguous()),
        (BASE[1:, ::2], BASE[1:, ::2].clone()),
        (torch.zeros(3).expand(4, 3), torch.zeros(4, 3)),
        ([BASE, BASE[1]], [BASE.clone(), BASE[1].clone()]),
    ],
    ids=["transposed", "strided", "expanded", "shared"],
)
def test_how_a_tensor_lies_in_its_storage_is_set_aside_and_said(tmp_path, one, two):
    found = saved(tmp_path, {"w": one}, {"w": two})
    assert found.status == Status.EXACT
    assert "data.pkl: layout" in aside(found)


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize(
    ("one", "two"),
    [
        (COMPLEX, COMPLEX.conj()),
        (COMPLEX.imag.clone(), COMPLEX.conj().imag),
        (BASE.half(), BASE.bfloat16()),
        (BASE.int(), BASE.int().bool()),
        (torch.zeros(0, 2), torch.zeros(0, 3)),
        (torch.tensor(1.0), torch.tensor(1.5)),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (BASE.to(torch.float8_e4m3fn), (BASE + 1).to(torch.float8_e4m3fn)),
    ],
    ids=["conjugate", "negative", "dtype", "bool", "empty", "scalar", "zero", "fp8"],
)
def test_what_a_tensor_means_is_never_set_aside(tmp_path, one, two, how):
    assert saved(tmp_path, {"w": one}, {"w": two}, **how).status == Status.DIFFERENT


def test_a_frozen_parameter_is_said(tmp_path):
    one, two = (torch.nn.Parameter(BASE, requires_grad=r) for r in (True, False))
    found = saved(tmp_path, {"w": one}, {"w": two})
    assert found.status == Status.EXACT
    assert "data.pkl: requires_grad" in aside(found)


def test_attributes_of_a_parameter_count(tmp_path):
    one, two = torch.nn.Parameter(BASE), torch.nn.Parameter(BASE)
    one.scale, two.scale = 1.0, 2.0
    assert saved(tmp_path, {"w": one}, {"w": two}).status == Status.DIFFERENT


class Evil:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_malicious_pickle_is_named_and_never_runs(tmp_path, how):
    evil = Evil(tmp_path / "owned")
    found = saved(tmp_path, {"w": BASE, "e": evil}, {"w": BASE + 1, "e": evil}, **how)
    assert found.status == Status.DIFFERENT
    assert "mkdir" in found.reason
    assert not (tmp_path / "owned").exists()


def test_a_storage_that_is_shorter_than_its_tensor_is_refused(tmp_path):
    saved(tmp_path, {"w": BASE}, {"w": BASE})
    with zipfile.ZipFile(tmp_path / "two.pt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "two.pt", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data[:-4] if name.endswith("data/0") else data)
    found = family.compare(tmp_path / "one.pt", tmp_path / "two.pt", "m")
    assert found.status == Status.UNCOMPARABLE
    assert "reaches element 11 of a storage of 11" in found.reason


def test_a_legacy_file_of_a_big_endian_machine_is_refused(tmp_path):
    saved(tmp_path, {"w": BASE}, {"w": BASE}, _use_new_zipfile_serialization=False)
    data = (tmp_path / "one.pt").read_bytes()
    key = b"little_endian"
    at = data.index(key) + len(key)
    at = data.index(b"\x88", at)  # True
    (tmp_path / "two.pt").write_bytes(data[:at] + b"\x89" + data[at + 1 :])
    found = family.compare(tmp_path / "one.pt", tmp_path / "two.pt", "m")
    assert found.status == Status.UNCOMPARABLE
    assert "big-endian" in found.reason


def test_values_are_those_of_torch(tmp_path):
    rng = np.random.default_rng(0)
    one = torch.from_numpy(rng.standard_normal((8, 9), dtype=np.float32))
    two = one * 1.001
    found = saved(tmp_path, {"w": one.t()[2:, 1::3]}, {"w": two.t()[2:, 1::3]})
    (child,) = found.children
    gap = (one - two).abs().t()[2:, 1::3]
    assert child.distances.max_abs == float(gap.max())
    assert child.values == gap.numel()
