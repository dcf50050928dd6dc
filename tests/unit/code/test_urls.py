"""Addresses of repositories mean what git makes of them, and nothing is hidden in one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.code import urls
from harness.errors import SourceUnavailable

ALLOWED = ("https", "ssh", "file")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.org/a.git", "https"),
        ("HTTPS://example.org/a.git", "https"),
        ("git@example.org:team/a.git", "ssh"),
        ("example.org:a", "ssh"),
        ("ssh://git@example.org:22/a", "ssh"),
        ("/srv/a.git", "file"),
        ("../a", "file"),
        ("file:///srv/a", "file"),
        ("git://example.org/a", "git"),
        ("ext::sh -c id", ""),
        ("ext::https://example.org", ""),
        ("-u:x", ""),
        ("--upload-pack=x", ""),
        ("ssh://-oProxyCommand=id/x", ""),
        ("ssh://u@-oProxyCommand=id/x", ""),
        ("u@-oProxyCommand=id:x", ""),
        ("https://example.org/\nx", ""),
        ("plain", ""),
        ("", ""),
    ],
)
def test_kind(url, kind):
    assert urls.scheme(url) == kind


@given(st.text(max_size=40))
def test_no_text_crashes_or_smuggles(url):
    try:
        assert urls.checked(url, ALLOWED) == url
    except SourceUnavailable:
        return
    assert not url.startswith("-")
    assert "ext::" not in url.lower().split("/")[0]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bob:secret@example.org:8443/a", "https://example.org:8443/a"),
        ("https://token@example.org/a?key=1#x", "https://example.org/a"),
        ("ssh://git:secret@example.org/a", "ssh://git@example.org/a"),
        ("git@example.org:a", "git@example.org:a"),
        ("/srv/a", "/srv/a"),
    ],
)
def test_credentials_are_taken_out(url, shown):
    assert urls.clean(url) == shown


@pytest.mark.parametrize(
    ("base", "relative", "joined"),
    [
        ("https://example.org/team/a.git", "../b.git", "https://example.org/team/b.git"),
        ("https://example.org/team/a", "./b", "https://example.org/team/a/b"),
        ("git@example.org:team/a.git", "../b.git", "git@example.org:team/b.git"),
        ("/srv/team/a", "../b", "/srv/team/b"),
        ("file:///srv/team/a/", "../b", "file:///srv/team/b"),
        ("https://example.org/a", "https://other.org/b", "https://other.org/b"),
    ],
)
def test_relative_addresses(base, relative, joined):
    assert urls.join(base, relative) == joined


def test_a_folder_there_and_back(tmp_path):
    folder = tmp_path / "a b%20ü#?"
    assert urls.local(urls.of_folder(folder)) == folder
    assert urls.local("https://example.org/a") is None
    assert urls.local("/srv/a") == Path("/srv/a")
