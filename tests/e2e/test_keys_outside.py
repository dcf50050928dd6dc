"""No key reaches the training: neither the file, nor the variable, nor the folder of the keys."""

import json
import subprocess
import sys
from pathlib import Path

from harness.attestations import keys

# Looks wherever a thief would; ends with 1 when it finds a key.
THIEF = """
import json, os, sys
from pathlib import Path
found = [n for n, v in os.environ.items() if "PRIVATE KEY" in v or "KEY_FILE" in n]
places = [Path(p) for p in {places!r}] + [Path.home()]
for process in Path("/proc").glob("[0-9]*"):
    try:
        found += [str(process)] if b"PRIVATE KEY" in (process / "environ").read_bytes() else []
    except OSError:
        pass
for place in places:
    for path in [place, *place.rglob("*.pem")]:
        try:
            found += [str(path)] if b"PRIVATE KEY" in path.read_bytes() else []
        except OSError:
            pass
open("model.json", "w").write(json.dumps({{"weights": [0.5, 1.5]}}))
open("metrics.json", "w").write(json.dumps({{"loss": 0.5}}))
print("found", found)
sys.exit(1 if found else 0)
"""


def test_no_key_is_within_reach_of_the_training(
    project, cli, recorded, home, tmp_path, monkeypatch
):
    named = tmp_path / "elsewhere" / "named.pem"
    keys.create(named)
    keys.local(home)
    signer = keys.create(tmp_path / "signer.pem")
    keys.add(home / "trust.toml", signer.signer.public_key, "CI", ("recorder", "verifier"))
    places = [str(p) for p in (home / "keys", home / "keys" / "local.pem", named, tmp_path)]
    script = THIEF.format(places=places)
    monkeypatch.setenv("HARNESS_KEY_FILE", str(named))
    monkeypatch.setenv(keys.ENVIRONMENT, (tmp_path / "signer.pem").read_text())
    caught = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert caught.returncode == 1, "the thief finds a key where there is no sandbox"
    for name in ("named.pem", "local.pem", "HARNESS_KEY_FILE", keys.ENVIRONMENT):
        assert name in caught.stdout.decode()
    first = recorded(project(script))
    assert first["sandbox"] == "bubblewrap"
    code, answer, err = cli("verify", "models:/M/1", "--json")
    assert (code, answer["outcome"]) == (0, "REPRODUCED"), err
    assert answer["record"]["verifier"]["keyid"] == signer.keyid
    assert "found []" in answer["record"]["runs"][0]["log_tail"]
    # What is published holds no part of a private key either.
    secret = (tmp_path / "signer.pem").read_text().splitlines()[1]
    assert secret not in json.dumps(answer)
    for path in Path(home / "records").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
