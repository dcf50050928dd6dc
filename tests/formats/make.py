"""Write one file of every format that a release writes: python tests/formats/make.py 0.1.0rc1.

Run once when a format is released; what it wrote is never changed, and loads for ever.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
POLICY = """schema = 1
minimum_grade = "TOLERANCE"
caps = { rtol = 1e-3, atol = 1e-3 }
[[rule]]
models = ["M*"]
stages = ["Production"]
max_age = "30d"
approvals = 1
waivable = ["stale"]
"""


def main(release: str) -> None:
    sys.path.insert(0, str(HERE.parent))
    from support.bank import RECIPE, Bank

    from harness import facts
    from harness.cli import run

    # Named as the release, which later ones do not expect to write the same pages.
    facts.TOOL = f"repro-harness {release}"
    target = HERE / release
    target.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        # Relative addresses: no file of ours may name the machine that it was made on.
        bank = Bank(Path(), "sqlite:///mlflow.db")
        bank.policy(POLICY)
        version = bank.version()
        bank.judged(version)

        def call(person: str, *words: str) -> None:
            os.environ.update(
                HARNESS_HOME=person,
                HARNESS_REGISTRY=bank.uri,
                HARNESS_TRUST="trust.toml",
                HARNESS_POLICY="policy.toml",
            )
            assert run([*words, "--quiet"]) == 0

        call("vera", "promote", version.uri, "--to", "Staging")
        call("ada", "approve", version.uri, "--to", "Production", "--reason", "read")
        call("vera", "promote", version.uri, "--to", "Production")
        call("vera", "audit", version.uri, "-o", "dossier.zip")
        for name in ("trust.toml", "policy.toml", "dossier.zip"):
            shutil.copy(name, target / name)
        (target / "recipe.toml").write_text(RECIPE)


if __name__ == "__main__":
    main(sys.argv[1])
