"""Where this machine's uv settings look for packages, said in pip's words."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from platformdirs import site_config_path, user_config_path

from harness.errors import UsageError


def pip_flags(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return pip options for what only uv was told; pip reads its own configuration by itself.

    Environment variables win over uv's files, as they do in uv.
    """
    environ = os.environ if environ is None else environ
    from_files = list(_from_files(environ))
    flags = list(_from_environment(environ))
    kinds = {kind for kind, _ in flags}
    flags += [(kind, value) for kind, value in from_files if kind not in kinds]
    return [f"{kind}={value}" for kind, value in dict.fromkeys(flags)]


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    if default:
        yield "--index-url", _url(default)
    for key in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        for value in environ.get(key, "").split():
            yield "--extra-index-url", _url(value)
    for value in environ.get("UV_FIND_LINKS", "").replace(",", " ").split():
        yield "--find-links", value


def _from_files(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if environ.get("UV_NO_CONFIG"):
        return
    named = environ.get("UV_CONFIG_FILE")
    paths = [user_config_path("uv") / "uv.toml", site_config_path("uv") / "uv.toml",
             Path("/etc/uv/uv.toml")]  # fmt: skip
    for path in dict.fromkeys([Path(named)] if named else paths):
        if path.is_file():
            try:
                yield from _settings(tomllib.loads(path.read_text("utf-8")))
            except (tomllib.TOMLDecodeError, OSError) as error:
                raise UsageError(f"{path} cannot be read: {error}", "repair uv's file") from error


def _settings(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for part in (table, table.get("pip", {})):
        if url := part.get("index-url"):
            yield "--index-url", url
        for url in part.get("extra-index-url", ()):
            yield "--extra-index-url", url
        for link in part.get("find-links", ()):
            yield "--find-links", link
    for index in table.get("index", ()):
        flat = index.get("format") == "flat"
        kind = "--index-url" if index.get("default") else "--extra-index-url"
        yield "--find-links" if flat else kind, index["url"]


def _url(value: str) -> str:
    """Return an index without the name that uv allows before it (`name=https://…`)."""
    name, sign, rest = value.partition("=")
    return rest if sign and "/" not in name and ":" not in name else value
