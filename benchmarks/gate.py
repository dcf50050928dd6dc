"""What `harness gate` costs over the bare import of what it depends on, in one run.

    python benchmarks/gate.py [--rounds 7] [--size-mib 1]

Two processes take turns: the gate with good evidence, and one that only imports the modules that
the gate had imported by its end. The difference is the gate's own work: the registry's queries,
every signature, and, since the built-in policy asks for it, the registered file read again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = "import sys; from harness.cli import run; code = run({words!r}); {after}; sys.exit(code)"
LIST = "open({out!r}, 'w').write('\\n'.join(n for n in sys.modules if n != '__main__'))"
BARE = """
import importlib, warnings
warnings.simplefilter("ignore")
for name in open({names!r}).read().split("\\n"):
    try:
        importlib.import_module(name)
    except Exception:
        pass
"""


def timed(code: str, env: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size-mib", type=int, default=1)
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    from support.bank import Bank

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bank = Bank(root, f"sqlite:///{root / 'mlflow.db'}")
        version = bank.version(content=os.urandom(asked.size_mib << 20))
        bank.judged(version)
        env = {
            **os.environ,
            "HARNESS_HOME": str(root / "vera"),
            "HARNESS_REGISTRY": bank.uri,
            "HARNESS_TRUST": str(bank.trust_file),
        }
        words = ["gate", version.uri, "--to", "Staging", "--json", "--quiet"]
        names = str(root / "modules.txt")
        timed(RUN.format(words=words, after=LIST.format(out=names)), env)
        gate, bare = [], []
        for _ in range(asked.rounds):
            gate.append(timed(RUN.format(words=words, after="0"), env))
            bare.append(timed(BARE.format(names=names), env))
    a, b = statistics.median(gate), statistics.median(bare)
    print(f"gate {a:.2f} s, bare import {b:.2f} s, over it {a - b:.2f} s ({asked.rounds} rounds)")


if __name__ == "__main__":
    main()
