"""Which address a DVC remote may mean."""

import pytest

from harness.data.remotes import Remote, Rules
from harness.errors import SourceUnavailable


@pytest.fixture(autouse=True)
def nobodys_configuration(monkeypatch):
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", "/not/there")
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", "/not/there")


def made(tmp_path, *lines, rules=None):
    (tmp_path / ".dvc").mkdir()
    text = "\n".join(["['remote \"store\"']", *lines])
    (tmp_path / ".dvc/config").write_text(text)
    return (rules or Rules({})).remote(tmp_path, "", "store")


def test_a_committed_remote_keeps_its_place_and_loses_its_credentials(tmp_path):
    remote = made(
        tmp_path,
        "url = s3://bucket/dvc",
        "region = eu-west-1",
        "access_key_id = planted",
        "credentialpath = /home/x/.aws/credentials",
        "configpath = x",
        "profile = admin",
        "ssl_verify = false",
    )
    assert remote == Remote("store", "s3://bucket/dvc", {"region": "eu-west-1"})


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "gdrive://x", "remote://other/x", "ext::sh", "hdfs://h/x"]
)
def test_other_schemes_are_refused_with_the_way_out(tmp_path, url):
    with pytest.raises(SourceUnavailable, match="not allowed") as error:
        made(tmp_path, f"url = {url}")
    assert "[sources]" in error.value.hint


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/x", "http://localhost/x"])
def test_plain_http_is_for_this_machine(tmp_path, url):
    assert made(tmp_path, f"url = {url}").url == url


def test_the_operators_name_wins_over_the_commit(tmp_path):
    rules = Rules({"store": "s3://mine/dvc?region=eu-west-1&profile=reader", "s3://": "s3://no"})
    remote = made(tmp_path, "url = s3://theirs/dvc", "endpointurl = http://evil/", rules=rules)
    assert remote == Remote("store", "s3://mine/dvc", {"region": "eu-west-1", "profile": "reader"})


def test_the_longest_prefix_wins_and_the_rest_of_the_address_stays(tmp_path):
    rules = Rules({"s3://a": "s3://no", "s3://a/b": "s3://mirror?region=x"})
    remote = made(tmp_path, "url = s3://a/b/c", rules=rules)
    assert (remote.url, dict(remote.options)) == ("s3://mirror/c", {"region": "x"})


def test_a_message_never_shows_credentials():
    remote = Remote("store", "https://bob:secret@example.org/x?token=1")
    assert remote.shown == "remote 'store' (https://example.org/x)"


def test_a_folder_inside_the_checkout_needs_no_origin(tmp_path):
    assert made(tmp_path, "url = ../store").url == str(tmp_path / "store")
