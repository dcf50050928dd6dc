"""What `.dvc` files and `dvc.lock` say, read as hostile text without DVC's help."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from harness.errors import SourceUnavailable
from harness.model import Gap

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
_LIMIT = 32 << 20
_NODES = 2_000_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Tracked:
    """One output of a `.dvc` file or one path of a `dvc.lock`, relative to the checkout.

    `made` says that a command of the file makes it; `gap` why it cannot be brought; `imported`
    is the address of the other repository that holds its data.
    """

    path: str
    md5: str
    size: int | None
    file: str
    remote: str = ""
    made: bool = False
    gap: Gap | None = None
    imported: str = ""


def files(checkout: Path) -> Iterator[str]:
    """Yield every `*.dvc` and `dvc.yaml` below the checkout, sorted, no link followed."""
    found = []
    for folder, names, members in os.walk(checkout, followlinks=False):
        names[:] = [n for n in names if n not in (".git", ".dvc")]
        for name in members:
            path = Path(folder, name)
            if (name.endswith(".dvc") or name == "dvc.yaml") and not path.is_symlink():
                found.append(path.relative_to(checkout).as_posix())
    yield from sorted(found)


def read_yaml(checkout: Path, file: str) -> dict[str, Any]:
    """Parse one bounded YAML file to a mapping, {} when empty.

    Raises: SourceUnavailable naming the file when it is not one.
    """
    path = checkout / file
    try:
        if path.is_symlink() or path.stat().st_size > _LIMIT:
            raise ValueError(f"it is a link or larger than {_LIMIT} bytes")
        content = yaml.load(path.read_bytes(), Loader=_LOADER)
        _bounded(content)
    except (ValueError, OSError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SourceUnavailable(f"{file} cannot be read: {reason}") from error
    if not isinstance(content or {}, dict):
        raise SourceUnavailable(f"{file} is not a mapping")
    return content or {}


def _bounded(content: Any) -> None:
    """Refuse what grows beyond measure once its aliases are written out, or contains itself."""
    left, stack = _NODES, [content]
    while stack:
        node = stack.pop()
        inner = list(node.values()) if isinstance(node, dict) else node
        if isinstance(inner, list):
            left -= len(inner) + 1
            stack += inner
        if left < 0:
            raise ValueError(f"more than {_NODES} values")


def inside(folder: str, wdir: str, path: str) -> str | None:
    """Return a path of a DVC file relative to the checkout; None when it leads out of it."""
    whole = posixpath.normpath(posixpath.join(folder, wdir, path))
    out = whole.startswith(("../", "/")) or whole in ("..", ".")
    unsafe = out or "\0" in whole or ".git" in whole.lower().split("/")
    return None if unsafe else whole


def dvc_file(checkout: Path, file: str) -> tuple[Tracked, ...]:
    """Return the outputs of one `.dvc` file."""
    content = read_yaml(checkout, file)
    folder, wdir = posixpath.dirname(file), str(content.get("wdir", "."))
    made = "cmd" in content
    others = [d["repo"] for d in _rows(content, "deps") if isinstance(d.get("repo"), dict)]
    imported = str(others[0].get("url", "another repository")) if others else ""
    outs = (_tracked(r, folder, wdir, file, made=made) for r in _rows(content, "outs"))
    return tuple(replace(out, imported=imported) for out in outs)


def lock(checkout: Path, file: str, wdirs: dict[str, str]) -> dict[str, dict[str, list[Tracked]]]:
    """Return dependencies and outputs by stage as the `dvc.lock` beside a `dvc.yaml` has them."""
    folder = posixpath.dirname(file)
    name = posixpath.join(folder, "dvc.lock")
    if not (checkout / name).exists():
        return {}
    content = read_yaml(checkout, name)
    stages = content.get("stages", {}) if "schema" in content else content
    result: dict[str, dict[str, list[Tracked]]] = {}
    for stage, body in (stages if isinstance(stages, dict) else {}).items():
        wdir = wdirs.get(str(stage), ".")
        body = body if isinstance(body, dict) else {}
        result[str(stage)] = {
            kind: [_tracked(r, folder, wdir, name) for r in _rows(body, kind)]
            for kind in ("deps", "outs")
        }
    return result


def manifest(content: bytes, folder: str) -> tuple[tuple[str, str], ...]:
    """Return (path below the folder, md5) of a `.dir` object.

    Raises: SourceUnavailable for anything but a list of plain relative files.
    """
    try:
        rows = [(str(r["relpath"]), str(r["md5"])) for r in json.loads(content)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceUnavailable(f"the manifest of {folder!r} cannot be read") from error
    for path, md5 in rows:
        plain = inside("", ".", path) == path and "\\" not in path
        if not plain or not MD5.fullmatch(md5) or md5.endswith(".dir"):
            message = f"the manifest of {folder!r} lists the unsafe path {path[:200]!r}"
            raise SourceUnavailable(message)
    if len({path for path, _ in rows}) != len(rows):
        raise SourceUnavailable(f"the manifest of {folder!r} lists a path twice")
    return tuple(rows)


def _rows(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = content.get(key) or []
    return [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []


def _tracked(
    row: dict[str, Any], folder: str, wdir: str, file: str, *, made: bool = False
) -> Tracked:
    raw = str(row.get("path", ""))
    path = inside(folder, wdir, raw)
    md5 = str(row.get("md5") or "")
    size = row.get("size")
    gap = None
    if path is None:
        gap = Gap("data path", f"{file}: {raw!r} leads out of the repository", "track it inside")
    elif not MD5.fullmatch(md5):
        detail = f"{file}: {raw!r} has no md5 (a cloud-versioned or partial entry)"
        gap = Gap("data object", detail, "dvc add it again and push")
    known = size if isinstance(size, int) and size >= 0 else None
    remote = str(row.get("remote") or "")
    return Tracked(path or raw, md5, known, file, remote, made, gap)
