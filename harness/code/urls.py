"""Addresses of repositories: which may be opened, how they are written down, what they mean."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from harness.errors import SourceUnavailable

_SCP = re.compile(r"(?:(?P<user>[\w.-]+)@)?(?P<host>[\w.\[\]:-]*[\w\]]):(?P<path>[^:].*)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NEXT = "use an https, ssh or file address of the repository"


def scheme(url: str) -> str:
    """Return `https`, `ssh`, `file` …; "" when git would read something else in it."""
    if url.startswith("-") or any(ord(c) < 32 or ord(c) == 127 for c in url):
        return ""
    if _SCHEME.match(url):
        host = urlsplit(url).hostname or ""
        return "" if host.startswith("-") else urlsplit(url).scheme.lower()
    if "::" in url:
        return ""
    if url.startswith(("/", "./", "../")) or url in (".", ".."):
        return "file"
    match = _SCP.fullmatch(url)
    return "ssh" if match and not match["host"].startswith("-") else ""


def checked(url: str, allowed: tuple[str, ...]) -> str:
    """Return the address unchanged when git may open it.

    Raises: SourceUnavailable for a helper (`ext::`), an option in disguise, another scheme.
    """
    if (kind := scheme(url)) not in allowed or not kind:
        shown = clean(url) if _SCHEME.match(url) else url
        message = f"repository address {shown!r} is not allowed (allowed: {', '.join(allowed)})"
        raise SourceUnavailable(message, hint=_NEXT)
    return url


def clean(url: str) -> str:
    """Return the address without a password, and without a user name where that is a credential."""
    if not _SCHEME.match(url):
        return url
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    keep = user.split(":")[0] + at if parts.scheme in ("ssh", "git+ssh") else ""
    return urlunsplit(parts._replace(netloc=keep + host, query="", fragment=""))


def local(url: str) -> Path | None:
    """Return the folder that an address means on this machine; None for a remote one."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    return Path(url) if url.startswith("/") else None


def absolute(url: str, base: Path) -> str:
    """Return a folder's address as `file://` with its whole path: a relative one means nothing."""
    if scheme(url) == "file" and not _SCHEME.match(url):
        return of_folder(Path(os.path.normpath(base / url)))
    return url


def of_folder(path: Path) -> str:
    """Return the `file://` address of a folder."""
    return path.absolute().as_uri()


def join(base: str, url: str) -> str:
    """Resolve a submodule's relative address against its parent's, as git does."""
    if not url.startswith(("./", "../")):
        return url
    if _SCHEME.match(base):
        parts = urlsplit(base)
        return urlunsplit(parts._replace(path=_climb(parts.path, url)))
    if match := _SCP.fullmatch(base):
        user = f"{match['user']}@" if match["user"] else ""
        return f"{user}{match['host']}:{_climb(match['path'], url)}"
    return _climb(base, url)


def _climb(path: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(path.rstrip("/"), relative))
