"""What a verification costs over bare retraining, in one run, the same bootstrap in both arms."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.projects import project

from harness import determinism
from harness.model import Profile

HARNESS = str(Path(sys.executable).with_name("harness"))
SCRIPT = """
import json, random, time
end = time.perf_counter() + {seconds}
n = 0
while time.perf_counter() < end:
    n += 1
open("model.json", "w").write(json.dumps([random.random() for _ in range(1000)]))
"""


def timed(*command, **options):
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, **options)
    return time.perf_counter() - begun, done.stdout


def bare(made, folder):
    env = determinism.environment(Profile(seed=7), str(folder))
    env["PYTHONPATH"] = str(determinism.bootstrap_path())
    return timed(sys.executable, "train.py", cwd=made.root, env={**env, "PATH": os.environ["PATH"]})


def rounds(made, folder, count):
    for _ in range(count):
        alone, _ = bare(made, folder)
        command = (HARNESS, "verify", "models:/bench/1", "--runtime", "venv", "-q", "--json")
        whole, out = timed(*command)
        answer = json.loads(out)
        assert answer["grade"] == "BITWISE", answer
        yield alone, whole, {s["name"]: s["seconds"] for s in answer["record"]["stages"]}


def help_cost():
    def best(*command):
        return min(timed(*command)[0] for _ in range(9))

    plain = best(sys.executable, "-c", "pass")
    return [(w, best(HARNESS, *w.split()) - plain) for w in ("--help", "verify --help")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default=str(Path(__file__).with_name("overhead.md")))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HARNESS_HOME"] = str(folder / "home")
        extra = '[[output]]\npath = "model.json"\n'
        script = SCRIPT.format(seconds=args.seconds)
        made = project(folder / "p", script, extra=extra, timeout="1h")
        timed(HARNESS, "record", "--model", "bench", str(made.root), "--runtime", "venv", "-q")
        timed(HARNESS, "verify", "models:/bench/1", "--runtime", "venv", "-q")
        found = list(rounds(made, folder, args.rounds))
    lines = [
        "# Overhead of `harness verify` over bare retraining",
        "",
        f"`python benchmarks/overhead.py --seconds {args.seconds:g} --rounds {args.rounds}`, "
        f"{os.cpu_count()} cores, warm caches, venv runtime. Ratios carry over; seconds do not.",
        "",
        "| round | bare s | verify s | ratio | fixed s | stages |",
        "|---|---|---|---|---|---|",
    ]
    for n, (alone, whole, stages) in enumerate(found, 1):
        parts = ", ".join(f"{k} {v:.2f}" for k, v in stages.items() if k != "retrain")
        lines.append(
            f"| {n} | {alone:.2f} | {whole:.2f} | {whole / alone:.3f} | {whole - alone:.2f} "
            f"| {parts} |"
        )
    ratio = statistics.median(w / a for a, w, _ in found)
    fixed = statistics.median(w - a for a, w, _ in found)
    lines += ["", f"Median ratio {ratio:.3f}, median fixed cost {fixed:.2f} s."]
    for words, cost in help_cost():
        lines.append(f"`harness {words}` costs {cost * 1000:.0f} ms over `python -c pass`.")
    Path(args.output).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
