"""The inventory says what the facts say, and makes nothing up where they are silent or hostile."""

import json

import pytest

from harness.dossier import bom


def rendered(value):
    return json.loads(bom.render(value))


def parts(value, kind):
    return [p for p in rendered(value)["components"] if p["type"] == kind]


def changed(dossiers, **members):
    return dossiers.make(lineage={**dossiers.lineage(), **members})


def hashes(part):
    return {h["alg"]: h["content"] for h in part.get("hashes", [])}


def test_data_carries_both_digests(dossiers):
    (part,) = parts(dossiers.make(), "data")
    assert hashes(part) == {"SHA-256": dossiers.SHA["e"], "MD5": "23" * 16}


@pytest.mark.parametrize("digest", ["", None, "xyz", "23" * 16 + ".dir", "A" * 32])
def test_what_is_no_digest_is_no_hash(digest, dossiers):
    data = [{**dossiers.lineage()["data"][0], "md5": digest, "sha256": digest}]
    (part,) = parts(changed(dossiers, data=data), "data")
    assert hashes(part) == {}


def test_the_code_names_its_commit_and_its_repository(dossiers):
    (code,) = parts(dossiers.make(), "application")
    assert code["version"] == dossiers.lineage()["code"]["commit"]
    assert code["externalReferences"] == [{"type": "vcs", "url": "https://git.example/credit.git"}]


@pytest.mark.parametrize("url", ["/srv/git/credit", "javascript:alert(1)", "", "https://x/ y"])
def test_what_is_no_address_is_not_linked(url, dossiers):
    code = {**dossiers.lineage()["code"], "url": url}
    (part,) = parts(changed(dossiers, code=code), "application")
    assert "externalReferences" not in part


def test_a_package_is_listed_once_under_its_normal_name(dossiers):
    names = [("Flask_Login", "1.0"), ("flask-login", "1.0"), ("numpy", "2.0+local")]
    inventory = [{"name": n, "version": v} for n, v in names]
    found = changed(dossiers, environment=dossiers.environment(inventory=inventory))
    assert [p["purl"] for p in parts(found, "library")] == [
        "pkg:pypi/flask-login@1.0",
        "pkg:pypi/numpy@2.0%2Blocal",
    ]


def test_the_base_image_is_a_container_with_its_digest(dossiers):
    base = f"docker.io/library/python@sha256:{'4' * 64}"
    found = changed(dossiers, environment=dossiers.environment(runtime="docker", base=base))
    (image,) = parts(found, "container")
    assert (image["bom-ref"], hashes(image)) == ("base", {"SHA-256": "4" * 64})


def test_nothing_known_is_an_inventory_of_nothing(dossiers):
    found = rendered(dossiers.bare())
    assert found["components"] == found["formulation"][0]["workflows"] == []
    assert found["metadata"]["component"]["modelCard"]["quantitativeAnalysis"] == {
        "performanceMetrics": []
    }


def test_no_time_is_made_up(dossiers):
    found = rendered(dossiers.make(made_at="yesterday"))
    assert "timestamp" not in found["metadata"]


def test_the_serial_number_follows_from_the_lineage_alone(dossiers):
    one, later = dossiers.make(), dossiers.make(made_at="2027-01-01T00:00:00Z")
    other = dossiers.make(lineage_digest="0b" * 32)
    numbers = [rendered(v)["serialNumber"] for v in (one, later, other)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert bom.render(one) == bom.render(dossiers.make()) != bom.render(later)


def test_hostile_text_stays_on_one_printable_line(dossiers):
    evil = "a\nb\x1b[31m\u202e"
    poisoned = dossiers.poisoned(dossiers.lineage(), evil)
    assert all(
        p["name"].isprintable() for p in rendered(dossiers.make(lineage=poisoned))["components"]
    )
