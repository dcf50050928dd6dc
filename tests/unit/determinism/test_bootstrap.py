"""The bootstrap in real interpreters: Python's and numpy's generators, chaining, honesty."""

from __future__ import annotations

import subprocess
import sys
import time

PLAIN = """
import random, sys
import numpy as np
from numpy.random import default_rng
print(random.random(), np.random.rand(), default_rng().random(), np.random.RandomState().rand())
print(hash("a"), np.random.SeedSequence().entropy)
"""
OS_ENTROPY = """
import os, random, secrets, tempfile, uuid
print(os.urandom(8).hex(), uuid.uuid4(), secrets.token_hex(4), random.Random().random())
print(tempfile.mktemp(), random.SystemRandom().random())
"""


def names(table, key="generator"):
    return {entry[key] for entry in table}


def test_unseeded_generators_repeat_at_seeds_and_differ_at_off(train):
    assert train(PLAIN, "seeds").out == train(PLAIN, "seeds").out
    assert train(PLAIN, "seeds").out != train(PLAIN, "seeds", seed=8).out
    assert train(PLAIN, "off").out != train(PLAIN, "off").out


def test_the_report_names_what_the_script_left_unseeded_and_where(train):
    for level, pinned in (("off", False), ("strict", True)):
        found = {e["generator"]: e for e in train(PLAIN, level).summary["unseeded"]}
        assert {"random", "numpy.random", "numpy.random generator"} <= set(found)
        generator = found["numpy.random generator"]
        assert (generator["count"], generator["where"]) == (3, "script.py:5")
        assert generator["pinned"] is pinned


def test_a_seeded_script_leaves_nothing_to_report_and_keeps_its_seed(train):
    script = """
import random, numpy as np
random.seed(3); np.random.seed(4)
print(random.random(), np.random.rand(), np.random.default_rng(5).random())
"""
    pinned, bare = train(script, "strict"), train(script, "off")
    assert pinned.out == bare.out
    assert pinned.summary["unseeded"] == []
    assert pinned.summary["pinned"] is True


def test_a_late_seed_does_not_hide_an_earlier_draw(train):
    script = """
import random
import numpy as np
random.random(); random.seed(1)
np.random.seed(1); np.random.rand()
"""
    assert names(train(script).summary["unseeded"]) == {"random"}


def test_asking_for_fresh_entropy_repeats_and_is_reported(train):
    script = """
import random
import numpy as np
import os; os.environ.clear()
random.seed(); np.random.seed(None)
print(random.random(), np.random.rand())
if not os.fork():
    print(random.random(), flush=True); os._exit(0)
os.wait()
"""
    first = train(script, "seeds")
    assert first.out == train(script, "seeds").out
    assert len(set(first.out.split())) == 3
    assert {"random.seed()", "numpy.random.seed()"} <= names(first.summary["unseeded"])
    assert train(script, "off").out != train(script, "off").out


def test_a_librarys_own_generator_is_named_as_such(train):
    script = """
import random, tempfile
import sympy
tempfile.mkdtemp()
random.Random()
"""
    found = {e["generator"]: e["where"] for e in train(script).summary["unseeded"]}
    assert found == {"random.Random() of sympy": "script.py:3", "random.Random()": "script.py:5"}


def test_off_pins_nothing_and_says_so(train):
    summary = train(PLAIN, "off").summary
    assert summary["pinned"] is False
    assert summary["why"].startswith("not pinned")
    assert summary["set"] == []


def test_entropy_repeats_what_strict_leaves_random(train):
    assert train(OS_ENTROPY, "entropy").out == train(OS_ENTROPY, "entropy").out
    first, second = (train(OS_ENTROPY, "strict").out.split() for _ in range(2))
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_an_isolated_interpreter_is_not_pinned(train):
    summary = train("print(1)", "strict", flags=("-I",)).summary
    assert summary == {
        "pinned": False,
        "why": "not pinned: no process wrote a report",
        "processes": 0,
    }


def test_an_isolated_child_is_noticed_by_its_parent(train):
    script = "import subprocess, sys; subprocess.run([sys.executable, '-I', '-c', 'pass'])"
    summary = train(script, "strict").summary
    assert summary["pinned"] is False
    assert "-I -c pass" in summary["unreported"][0]


def test_a_hidden_sitecustomize_still_runs(train, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import os; os.environ['SHADOWED'] = 'ran'\n")
    shown = train("import os; print(os.environ.get('SHADOWED'))", "strict", path=(other,))
    assert shown.out == "ran\n"
    assert shown.summary["pinned"] is True


def test_warnings_and_loaders_look_untouched(train):
    script = """
import random, importlib.resources, inspect, pickle
import numpy.random
assert type(numpy.random.__spec__.loader).__name__ == "SourceFileLoader"
assert "exec_module" not in vars(numpy.random.__spec__.loader)
assert inspect.getsource(random).startswith('\"\"\"Random')
assert pickle.loads(pickle.dumps(random.Random(3))).random() == random.Random(3).random()
print("fine")
"""
    assert train(script).out == "fine\n"


def test_folders_are_listed_by_name(train):
    script = """
import glob, os, pathlib, pickle
names = [f"{n * 7919 % 500:03d}" for n in range(500)]
os.mkdir("many")
for name in names:
    open(f"many/{name}", "w").close()
with os.scandir(b"many") as entries:
    first = next(entries)
    assert first.is_file() and isinstance(first.name, bytes)
found = [os.listdir("many"), [e.name for e in os.scandir(os.open("many", os.O_RDONLY))]]
found += [f for *_, f in os.walk("many")]
found += [[os.path.basename(p) for p in glob.glob("many/*")]]
found += [[p.name for p in pathlib.Path("many").glob("*")]]
print(*(names == sorted(names) for names in found))
class Kept:
    listing = os.listdir
assert Kept().listing("many") and pickle.loads(pickle.dumps(os.listdir)) is os.listdir
"""
    assert train(script).out.split() == ["True"] * 5
    assert "False" in train(script, "seeds").out


def test_a_report_survives_an_exit_without_farewell(train):
    script = "import os, numpy as np; np.random.default_rng(); os._exit(0)"
    summary = train(script).summary
    assert summary["unfinished"] == 0
    assert names(summary["unseeded"]) == {"numpy.random generator"}


def test_start_up_costs_at_most_ten_milliseconds(train, tmp_path):
    from harness import determinism
    from harness.model import Profile

    (tmp_path / "reports").mkdir()
    block = determinism.environment(Profile(), str(tmp_path / "reports"))
    pinned = {**block, "PYTHONPATH": str(determinism.bootstrap_path())}

    def once(env):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], env=env, check=True)
        return time.perf_counter() - begun

    pairs = [(once(pinned), once({})) for _ in range(15)]
    # 10 ms where a bare start takes 12; in proportion, so that a loaded machine does not lie.
    fastest, bare = min(a for a, _ in pairs), min(b for _, b in pairs)
    assert fastest < bare * (1 + 10 / 12), (fastest, bare)
