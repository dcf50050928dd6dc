"""DVC remotes: which address one may mean, and objects looked for and read there."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit
from urllib.request import getproxies

from harness.data.store import copy
from harness.errors import SourceUnavailable

SCHEMES = ("", "file", "s3", "gs", "azure", "oss", "https", "webdavs", "ssh")
# What a committed configuration may say about a remote: where it is, never with whose
# credentials, through which files of this machine, or with which checks switched off.
_COMMITTED = {"region", "endpointurl", "user", "port", "projectname", "account_name"}
_COMMITTED |= {"allow_anonymous_login"}
_TIMEOUTS = {"connect_timeout": 10, "read_timeout": 60}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_MAX_CONFIG = 1 << 20
_DEFINE = "dvc remote add -d NAME URL, dvc push, and commit .dvc/config"
_NEXT = "permit it in harness.toml: [sources] with the remote's name or URL prefix = a URL"


@dataclass(frozen=True)
class Remote:
    """One place that holds objects; nothing is ever written there."""

    name: str
    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def shown(self) -> str:
        """Return name and address for a message, without credentials."""
        parts = urlsplit(self.url)
        clean = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
        return f"remote {self.name!r} ({clean})"

    def has(self, md5s: Iterable[str]) -> set[str]:
        """Return those of the objects that are there; reads no object.

        Raises: SourceUnavailable when the remote cannot be reached.
        """
        wanted = sorted(set(md5s))
        try:
            if self._folder is not None:
                self._check_folder(self._folder)
                return {m for m in wanted if any(Path(p).is_file() for p in self._places(m))}
            return self._ask(wanted)
        except Exception as error:
            raise self._unreachable(error) from error

    def read(self, md5: str, target: Path) -> bool:
        """Copy one object, unproven, into `target`; return whether it is there.

        A local folder is only ever read: DVC's own transfer deletes objects that it finds corrupt.

        Raises: SourceUnavailable when the remote cannot be reached.
        """
        try:
            found = any(self._copy(place, target) for place in self._places(md5))
            if not found and self._folder is not None:
                self._check_folder(self._folder)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._unreachable(error) from error
        return found

    @staticmethod
    def _check_folder(folder: Path) -> None:
        if not folder.is_dir():
            raise NotADirectoryError("no such folder")

    def _copy(self, place: str, target: Path) -> bool:
        try:
            if self._folder is not None:
                copy(Path(place), target)
            else:
                self._fs.fs.get_file(place, str(target))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    @cached_property
    def _folder(self) -> Path | None:
        if self.url.startswith("file://"):
            return Path(unquote(urlsplit(self.url).path))
        return None if urlsplit(self.url).scheme else Path(self.url)

    @cached_property
    def _fs(self) -> Any:
        with self._lock:  # many threads ask at once: it is opened once, and fails once
            if isinstance(found := self.__dict__.get("_opened"), Exception):
                raise found
            try:
                return found or self.__dict__.setdefault("_opened", self._open())
            except Exception as error:
                self.__dict__["_opened"] = error
                raise

    def _open(self) -> Any:
        from dvc.fs import get_cloud_fs

        options = dict(self.options)
        if urlsplit(self.url).scheme in ("s3", "http", "https"):
            options = {**_TIMEOUTS, **options}
            _knock(str(options.get("endpointurl") or self._usual_endpoint()))
        cls, config, _ = get_cloud_fs({}, url=self.url, **options)
        return cls(**config)

    def _usual_endpoint(self) -> str:
        if not self.url.startswith("s3:"):
            return self.url
        return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""

    @cached_property
    def _base(self) -> str:
        if self._folder is not None:
            return str(self._folder)
        return str(type(self._fs)._strip_protocol(self.url)).rstrip("/")

    def _places(self, md5: str) -> tuple[str, str]:
        """Return where DVC 3 keeps an object, and where DVC 2 did."""
        end = f"{md5[:2]}/{md5[2:]}"
        return f"{self._base}/files/md5/{end}", f"{self._base}/{end}"

    def _ask(self, wanted: list[str]) -> set[str]:
        if not wanted:
            return set()

        def there(md5: str) -> bool:
            return any(self._fs.exists(p) for p in self._places(md5))

        first = {wanted[0]} if there(wanted[0]) else set()  # fails alone when nobody answers
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(there, wanted[1:])
            return first | {m for m, yes in zip(wanted[1:], found, strict=True) if yes}

    def _unreachable(self, error: Exception) -> SourceUnavailable:
        if isinstance(error, ImportError) or type(error).__name__ == "RemoteMissingDepsError":
            kind = urlsplit(self.url).scheme
            message, hint = f"{self.shown} needs dvc-{kind}", f"pip install 'dvc[{kind}]'"
            return SourceUnavailable(message, hint=hint)
        said = f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
        return SourceUnavailable(
            f"{self.shown} cannot be reached: {said}", hint="check address, network and credentials"
        )


@dataclass(frozen=True)
class Rules:
    """The operator's word on where data may come from.

    `sources` maps a remote's name or the beginning of its URL to a permitted URL, whose query
    carries DVC's options (`s3://bucket/dvc?endpointurl=…&region=…`); it wins over the commit.
    Else a committed remote is used when its scheme is in `schemes`. A committed S3 endpoint is
    followed when its own scheme is allowed, or it is this machine: requests are signed with the
    operator's ambient credentials, which never travel, and an answer counts only by its digest.
    The operator's own DVC configuration (`dvc config --global`) adds its options, credentials
    included, to a remote of the same name.
    Plain http is allowed for this machine only. `origin` is the local repository that a relative
    folder in its configuration is relative to; the export of a commit lies elsewhere.
    """

    sources: Mapping[str, str]
    schemes: tuple[str, ...] = SCHEMES
    origin: Path | None = None

    def remote(self, checkout: Path, root: str, name: str) -> Remote:
        """Return the remote `name` of the DVC repository at `root` in the checkout.

        Raises: SourceUnavailable when it is not defined or not permitted.
        """
        committed = _section(configuration(checkout, root), name)
        mine = _section(operators(), name)
        url = str(committed.get("url", ""))
        if permitted := self._source(name, url):
            parts = urlsplit(permitted)
            bare = urlunsplit(parts._replace(query=""))
            return Remote(name, bare, mine | dict(parse_qsl(parts.query)))
        if "url" in mine:
            return Remote(name, str(mine["url"]), mine)
        if not url:
            raise SourceUnavailable(f"no DVC remote {name!r} is configured", hint=_DEFINE)
        if not self._allowed(url):
            raise SourceUnavailable(f"DVC remote {name!r}: {url!r} is not allowed", hint=_NEXT)
        options = {k: v for k, v in committed.items() if k in _COMMITTED}
        endpoint = str(options.get("endpointurl", ""))
        if endpoint and not self._allowed(endpoint):
            message = f"DVC remote {name!r}: endpoint {endpoint!r} is not allowed"
            raise SourceUnavailable(message, hint=_NEXT)
        return Remote(name, self._absolute(url, checkout, root, name), options | mine)

    def _source(self, name: str, url: str) -> str:
        if name in self.sources:
            return self.sources[name]
        prefixes = [p for p in self.sources if url and url.startswith(p)]
        longest = max(prefixes, key=len, default="")
        if not longest:
            return ""
        address, mark, options = self.sources[longest].partition("?")
        return address + url[len(longest) :] + mark + options

    def _allowed(self, url: str) -> bool:
        if re.search(r"[\x00-\x1f]", url) or "::" in url.split("/")[0]:
            return False
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname in _LOOPBACK:
            return True
        return parts.scheme in self.schemes

    def _absolute(self, url: str, checkout: Path, root: str, name: str) -> str:
        if urlsplit(url).scheme or Path(url).is_absolute():
            return url
        if url.startswith("~"):
            raise SourceUnavailable(f"DVC remote {name!r}: {url!r} is a home folder", hint=_NEXT)
        if self.origin is not None:
            inner = "" if root.startswith("..") else root
            return os.path.normpath(self.origin / inner / ".dvc" / url)
        top = os.path.normpath(checkout / root)
        folder = os.path.normpath(Path(top, ".dvc", url))
        if Path(folder).is_relative_to(top):
            return folder
        message = f"DVC remote {name!r}: folder {url!r} is relative to a repository elsewhere"
        raise SourceUnavailable(message, hint=_NEXT)


def _knock(endpoint: str) -> None:
    """Fail at once where nobody answers: botocore would ask for a quarter of a minute."""
    parts = urlsplit(endpoint)
    if parts.hostname and not getproxies():
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname, port), _TIMEOUTS["connect_timeout"]).close()


def default_remote(checkout: Path, root: str) -> str:
    """Return the name of the remote that the DVC repository at `root` uses.

    Raises: SourceUnavailable when it has none.
    """
    for config in (configuration(checkout, root), operators()):
        if name := str(config.get("core", {}).get("remote", "")):
            return name
    raise SourceUnavailable("the repository has no default DVC remote", hint=_DEFINE)


def operators() -> dict[str, Any]:
    """Return the configuration that DVC reads for this user and this machine; {} without one."""
    from dvc.config import Config

    merged: dict[str, Any] = {"core": {}, "remote": {}}
    for level in ("system", "global"):
        config = _read(Path(str(Config.get_dir(level)), "config"))
        merged["core"] |= config.get("core", {})
        merged["remote"] |= config.get("remote", {})
    return merged


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = config.get("remote", {}).get(name, {})
    return dict(found) if isinstance(found, Mapping) else {}


def configuration(checkout: Path, root: str) -> dict[str, Any]:
    """Return the committed configuration of the DVC repository at `root`; {} without one.

    Raises: SourceUnavailable when it cannot be read.
    """
    return _read(checkout / root / ".dvc" / "config")


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.is_symlink():
        return {}
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise ValueError(f"larger than {_MAX_CONFIG} bytes")
        from dvc.config import Config

        config = dict(Config.load_file(str(path)))
    except Exception as error:
        raise SourceUnavailable(f"{path.name} of DVC cannot be read: {str(error)[:200]}") from error
    core = config.get("core")
    return config | {"core": core if isinstance(core, dict) else {}}
