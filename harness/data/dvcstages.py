"""The stages of `dvc.yaml`, resolved by DVC's own templating: commands, dependencies, outputs."""

from __future__ import annotations

import itertools
import math
import os
import posixpath
import shlex
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.data.dvcfiles import inside, read_yaml
from harness.errors import SourceUnavailable

_MAX_STAGES = 10_000
_BROKEN = (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError, AssertionError)
_OUTPUTS = ("outs", "metrics", "plots")


@dataclass(frozen=True)
class Stage:
    """One stage; paths relative to the checkout. `outside` are outputs that lead out of it."""

    name: str
    file: str
    wdir: str
    commands: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    outside: tuple[str, ...]

    @property
    def argv(self) -> tuple[tuple[str, ...], ...]:
        """Return the commands as argument vectors for a job that starts in the checkout."""
        where = posixpath.normpath(posixpath.join(posixpath.dirname(self.file), self.wdir))
        start = "" if where == "." else f"cd {shlex.quote(where)} || exit\n"
        return tuple(("/bin/sh", "-c", start + command) for command in self.commands)


def stages(checkout: Path, file: str) -> tuple[Stage, ...]:
    """Return the stages of one `dvc.yaml`, templates filled in, in the file's order.

    Raises: SourceUnavailable naming the file and what DVC says is wrong with it.
    """
    content = read_yaml(checkout, file)
    if not content.get("stages"):
        return ()
    _check_variables(checkout, file, content)
    from dvc.exceptions import DvcException
    from dvc.fs import LocalFileSystem
    from dvc.parsing import DataResolver, MatrixDefinition

    folder = checkout / posixpath.dirname(file)
    try:
        repository = SimpleNamespace(fs=LocalFileSystem(), config={})
        resolver = DataResolver(repository, str(folder.absolute()), content)
        for definition in resolver.definitions.values():
            if isinstance(definition, MatrixDefinition):
                _count(math.prod(len(v) for v in definition.resolved_iterable.values()))
        names = list(itertools.islice(resolver.get_keys.__wrapped__(resolver), _MAX_STAGES + 1))
        _count(len(names))
        return tuple(_stage(file, name, resolver.resolve_one(name)[name]) for name in names)
    except (DvcException, *_BROKEN) as error:
        reason = " ".join(str(error).split())[:400]
        raise SourceUnavailable(f"{file} cannot be resolved: {reason}") from error


def _count(stages: int) -> None:
    if stages > _MAX_STAGES:
        raise ValueError(f"more than {_MAX_STAGES} stages")


def _stage(file: str, name: str, body: dict[str, Any]) -> Stage:
    wdir = str(body.get("wdir") or ".")
    folder = posixpath.dirname(file)
    if wdir != "." and inside(folder, wdir, "x") is None:
        raise ValueError(f"stage {name!r} works outside of the repository")
    raw = body.get("cmd") or ()
    commands = (raw,) if isinstance(raw, str) else tuple(map(str, raw))
    outs = [p for key in _OUTPUTS for p in _paths(body.get(key))]
    placed = [(p, inside(folder, wdir, p)) for p in outs]
    deps = (inside(folder, wdir, p) for p in _paths(body.get("deps")))
    return Stage(
        name,
        file,
        wdir,
        commands,
        tuple(d for d in deps if d),
        tuple(dict.fromkeys(p for _, p in placed if p)),
        tuple(raw for raw, p in placed if not p),
    )


def _paths(rows: Any) -> list[str]:
    found: list[str] = []
    for row in rows if isinstance(rows, list) else []:
        found += [str(k) for k in row] if isinstance(row, dict) else [str(row)]
    return found


def _check_variables(checkout: Path, file: str, content: dict[str, Any]) -> None:
    """Refuse variable files outside of the repository, or unbounded: DVC would read them."""
    bodies = content["stages"].values() if isinstance(content["stages"], dict) else ()
    named = [*(content.get("vars") or [])]
    for body in bodies:
        named += (body.get("vars") or []) if isinstance(body, dict) else []
    top = os.path.realpath(checkout)
    for name in [*(n.split(":")[0] for n in named if isinstance(n, str)), "params.yaml"]:
        path = checkout / posixpath.dirname(file) / name
        if not Path(os.path.realpath(path)).is_relative_to(top):
            raise SourceUnavailable(f"{file}: variables file {name!r} is outside the repository")
        if path.suffix in (".yaml", ".yml") and path.is_file():
            read_yaml(checkout, posixpath.join(posixpath.dirname(file), name))
