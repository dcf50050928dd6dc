"""Files that a release wrote load for ever, and say for ever what they said."""

import json
from pathlib import Path

import pytest

from harness import offline, policyfile, recipe, settings
from harness.attestations import keys
from harness.dossier import archive
from harness.model import Stage
from harness.record import parse_record

RELEASES = sorted(p for p in Path(__file__).parent.iterdir() if (p / "dossier.zip").exists())


def test_there_is_a_release_to_hold():
    assert RELEASES


@pytest.fixture(params=RELEASES, ids=lambda p: p.name)
def release(request):
    return request.param


def test_its_dossier_verifies(release, tmp_path):
    found = offline.audit_verify(
        settings.load({"home": str(tmp_path)}),
        release / "dossier.zip",
        trust=release / "trust.toml",
    )
    assert (found["whole"], found["problems"]) == (True, [])
    assert (found["outcome"], found["grade"], found["exit_code"]) == ("REPRODUCED", "BITWISE", 0)


def test_its_dossier_is_refused_with_one_letter_changed(release, tmp_path):
    data = (release / "dossier.zip").read_bytes()
    changed = data.replace(b'"grade":"BITWISE"', b'"grade":"BITWISF"', 1)
    assert changed != data
    (tmp_path / "d.zip").write_bytes(changed)
    with pytest.raises(Exception, match="zip"):
        offline.audit_verify(
            settings.load({"home": str(tmp_path)}),
            tmp_path / "d.zip",
            trust=release / "trust.toml",
        )


def test_its_records_are_read(release):
    files = archive.read(release / "dossier.zip")
    records = [p for p in files if p.endswith("/record.json")]
    assert records
    for path in records:
        assert parse_record(files[path], path)["outcome"] == "REPRODUCED"
    assert json.loads(files["dossier.json"])["schema"] == 1


def test_its_policy_trust_and_recipe_are_read(release):
    rules = policyfile.parse((release / "policy.toml").read_text())
    assert rules.criteria("M", Stage.PRODUCTION).approvals == 1
    assert len(keys.read_trust(release / "trust.toml").keys) == 5
    assert recipe.parse((release / "recipe.toml").read_text()).name == "m"
