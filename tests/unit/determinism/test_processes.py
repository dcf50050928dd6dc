"""Workers of every kind: no two share a stream, and all of them repeat."""

from __future__ import annotations

import pytest

POOL = """
import multiprocessing as mp, sys

def draw(i):
    import random
    import numpy as np
    return random.random(), np.random.rand(), np.random.default_rng().random()

if __name__ == "__main__":
    import random
    import numpy  # forked children start with a copy of its state
    context = mp.get_context(sys.argv[1])
    queue = []
    for i in range(2):
        with context.Pool(1) as pool:
            queue += pool.map(draw, [i])
    for values in (*queue, draw(0)):
        print(*values, sep="\\n")
"""
PROGRAMS = """
import os, subprocess, sys
code = "import random; print(random.random(), flush=True)"
python = [sys.executable, "-c", code]
subprocess.run(python)
subprocess.run(python, env={**os.environ, "EXTRA": "1"})
os.system(f"{sys.executable} -c '{code}'; {sys.executable} -c '{code}'")
os.waitpid(os.posix_spawn(sys.executable, python, os.environ), 0)
if not os.fork():
    import random
    print(random.random(), flush=True)
    os._exit(0)
os.wait()
"""
SEEDED = """
import os
import numpy as np
np.random.seed(1)
expected = np.random.RandomState(1).rand()
if not os.fork():
    assert np.random.rand() == expected
    os._exit(0)
assert os.wait()[1] == 0
"""
LOADER = """
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

class Noise(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return np.array([np.random.default_rng().random(), np.random.rand(), torch.rand(1).item()])

if __name__ == "__main__":
    for epoch in range(2):
        for batch in DataLoader(Noise(), batch_size=2, num_workers=2):
            print(*batch.flatten().tolist(), sep="\\n")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pool_workers_repeat_and_never_share(train, method):
    first, second = train(POOL, "strict", method), train(POOL, "strict", method)
    assert first.out == second.out
    values = first.out.split()
    assert len(set(values)) == len(values) == 9
    assert first.summary["processes"] >= 3
    assert first.summary["pinned"] is True


def test_pool_workers_differ_at_off(train):
    assert train(POOL, "off", "spawn").out != train(POOL, "off", "spawn").out


def test_programs_repeat_and_never_share(train):
    first, second = train(PROGRAMS), train(PROGRAMS)
    assert first.out == second.out
    values = first.out.split()
    assert len(set(values)) == len(values) == 6
    assert first.summary["processes"] == 7


def test_a_forked_child_keeps_the_seed_that_the_script_chose(train):
    assert train(SEEDED).summary["pinned"] is True


def test_data_loader_workers_repeat_and_never_share(train):
    first, second = train(LOADER), train(LOADER)
    assert first.out == second.out
    values = first.out.split()
    assert len(set(values)) == len(values) == 48
    assert first.summary["processes"] == 5
    assert first.summary["unfinished"] == 0
