"""Write the lock of every recipe, or of those named: `python recipes/relock.py digits-torch`.

Needs `uv`. Where the CPU build of torch lies in a folder of wheels, `UV_FIND_LINKS` names it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COMPILE = (
    *("uv", "pip", "compile", "--quiet", "--generate-hashes", "--universal", "--no-build"),
    *("--python-version", "3.11", "--no-header", "--no-annotate"),
    *("--no-emit-index-url", "--no-emit-find-links", "requirements.in"),
)
# What PyPI's Linux build of torch needs and the CPU build does not.
GPU_ONLY = re.compile(r"^(nvidia|cuda|triton)")


def blocks(folder, **env):
    """Return the lock as one text per package."""
    text = subprocess.run(
        COMPILE, cwd=folder, env={**os.environ, **env}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return re.split(r"\n(?=\S)", text.strip())


def hashes(block):
    return re.findall(r"--hash=(\S+)", block)


def both_builds(locks):
    """Return one pin of torch that either build's wheels satisfy."""
    found = sorted({h for lock in locks for b in lock if b.startswith("torch==") for h in hashes(b)})
    version = next(b for b in locks[0] if b.startswith("torch=="))[7:].split()[0].split("+")[0]
    return " \\\n    ".join([f"torch=={version}", *(f"--hash={h}" for h in found)])


def write(path, parts):
    path.write_text("\n".join(sorted(parts)) + "\n")
    print(path.relative_to(HERE), len(parts), "pins")


def relock(folder):
    lock = blocks(folder)
    if not any(b.startswith("torch==") for b in lock):
        write(folder / "requirements.lock", lock)
        return
    from_pypi = blocks(folder, UV_FIND_LINKS="")
    rest = [b for b in lock if not b.startswith("torch==") and not GPU_ONLY.match(b)]
    write(folder / "requirements.lock", [*rest, both_builds([from_pypi, lock])])
    write(folder / "requirements-cuda.lock", from_pypi)


for found in sorted(HERE.glob("*/requirements.in")):
    if not sys.argv[1:] or found.parent.name in sys.argv[1:]:
        relock(found.parent)
