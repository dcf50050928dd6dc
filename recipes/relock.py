"""Write the lock of every recipe, or of those named: `python recipes/relock.py digits-torch`.

Needs `uv`. Where the CPU build of torch lies in a folder of wheels, `UV_FIND_LINKS` names it: it
is then locked for the interpreters that it fits, and PyPI's build for all others. A second lock,
`requirements-cuda.lock`, knows PyPI's build alone.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COMPILE = (
    *("uv", "pip", "compile", "--quiet", "--generate-hashes", "--universal", "--no-build"),
    *("--python-version", "3.11", "--no-header", "--no-annotate"),
    *("--no-emit-index-url", "--no-emit-find-links", "requirements.in"),
)


def relock(folder, name, **env):
    command = (*COMPILE, "--output-file", name)
    (folder / name).unlink(missing_ok=True)
    subprocess.run(
        command, cwd=folder, env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL
    )
    print(folder.name, name)


for found in sorted(HERE.glob("*/requirements.in")):
    if not sys.argv[1:] or found.parent.name in sys.argv[1:]:
        relock(found.parent, "requirements.lock")
        if "torch" in found.read_text():
            relock(found.parent, "requirements-cuda.lock", UV_FIND_LINKS="")
