"""Everything that DVC tracks in one checkout: which of it is an input, which a stage makes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.data import dvcfiles
from harness.data.dvcfiles import Tracked
from harness.data.dvcstages import Stage, stages
from harness.errors import SourceUnavailable, UsageError
from harness.model import Gap


@dataclass(frozen=True)
class Tracking:
    """What the DVC files of one checkout say, and (`gaps`) which of them could not be read."""

    outs: tuple[Tracked, ...] = ()
    stages: tuple[Stage, ...] = ()
    locked: Mapping[str, Mapping[str, list[Tracked]]] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()

    @classmethod
    def of(cls, checkout: Path, *, strict: bool = False) -> Tracking:
        """Read all of a checkout's DVC files.

        Raises: UsageError for one that cannot be read, when `strict`; else that is a gap.
        """
        outs: list[Tracked] = []
        found: list[Stage] = []
        locked: dict[str, Mapping[str, list[Tracked]]] = {}
        gaps: list[Gap] = []
        for file in dvcfiles.files(checkout):
            try:
                if file.endswith(".dvc"):
                    outs += dvcfiles.dvc_file(checkout, file)
                    continue
                here = stages(checkout, file)
                found += here
                wdirs = {s.name: s.wdir for s in here}
                for name, body in dvcfiles.lock(checkout, file, wdirs).items():
                    locked[f"{file}:{name}"] = body
            except SourceUnavailable as error:
                if strict:
                    raise UsageError(error.message, "fix the file and commit it") from error
                gaps.append(Gap("DVC file", error.message, "fix the file and commit it"))
        return cls(tuple(outs), tuple(found), locked, tuple(gaps))

    def own(self, names: tuple[str, ...] | None) -> tuple[Stage, ...]:
        """Return the stages that these names mean; all of them for None."""
        if names is None:
            return self.stages
        return tuple(s for name in names for s in named(self.stages, name))

    def made(self, names: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return every path that these stages make, cached or not."""
        mine = self.own(names)
        paths = [p for s in mine for p in s.outs]
        paths += [o.path for s in mine for o in self._lock(s)["outs"]]
        paths += [o.path for o in self.outs if o.made]
        if names is None:
            paths += [o.path for body in self.locked.values() for o in body["outs"]]
        return tuple(sorted(set(paths)))

    def choose(
        self, targets: tuple[str, ...] | None, names: tuple[str, ...] | None
    ) -> tuple[list[Tracked], list[Gap]]:
        """Return what to bring for these targets, and what of them cannot be."""
        mine, made = self.own(names), set(self.made(names))
        gaps = [*self.gaps]
        gaps += [
            Gap("stage output", f"stage {s.name!r} writes {p!r}, outside of the repository")
            for s in mine
            for p in s.outside
        ]
        inputs = [o for o in self.outs if o.path not in made and not o.made]
        upstream = [
            o
            for s in self.stages
            for o in self._lock(s)["outs"]
            if o.path not in made and not o.gap
        ]
        if targets is None:
            needed = {d for s in mine for d in s.deps}
            return inputs + [o for o in upstream if o.path in needed], gaps
        chosen: dict[str, Tracked] = {}
        for target in targets:
            found = _matching(inputs + upstream, posixpath.normpath(target))
            if not found:
                gaps.append(_untracked(target, made))
            chosen |= {o.path: o for o in found}
        return list(chosen.values()), gaps

    def disagreements(self) -> list[Gap]:
        """Return where `dvc.lock` was made with other data than the `.dvc` files name."""
        current = {o.path: o for o in self.outs if not o.gap}
        return [
            Gap(
                "dvc.lock",
                f"{name} was run with {dep.path} {dep.md5}, but {now.file} says {now.md5}",
                "run dvc repro and commit dvc.lock",
            )
            for name, body in self.locked.items()
            for dep in body["deps"]
            if (now := current.get(dep.path)) and dep.md5 and dep.md5 != now.md5
        ]

    def _lock(self, stage: Stage) -> Mapping[str, list[Tracked]]:
        return self.locked.get(f"{stage.file}:{stage.name}", {"deps": [], "outs": []})


def _matching(outs: list[Tracked], target: str) -> list[Tracked]:
    """Return the outputs that a target means: its `.dvc` file, its path, or a folder of either."""
    return [
        o
        for o in outs
        if target in (o.path, o.file, ".")
        or o.path.startswith(target + "/")
        or target.startswith(o.path + "/")
    ]


def _untracked(target: str, made: set[str]) -> Gap:
    if posixpath.normpath(target) in made:
        detail = f"{target} is made by a stage of the training, and so never brought in"
        fix = "remove it from [data] dvc; if an earlier stage makes it, name [train] stages instead"
        return Gap("data target", detail, fix)
    return Gap("data target", f"{target} is not tracked by DVC", "dvc add it, push, and commit")


def named(known: tuple[Stage, ...], name: str) -> list[Stage]:
    """Return the stages that a name means: one, or all items of a foreach stage.

    Raises: UsageError when it means none, or stages of two files.
    """
    file, _, bare = name.rpartition(":")
    found = [s for s in known if s.name == bare or s.name.split("@")[0] == bare]
    found = [s for s in found if not file or s.file == posixpath.normpath(file)]
    if not file and len({s.file for s in found}) > 1:
        found = [s for s in found if s.file == "dvc.yaml"] or found
    files = {s.file for s in found}
    if not found:
        names = ", ".join(s.name for s in known[:20]) or "none"
        raise UsageError(f"no stage {name!r} in any dvc.yaml", f"stages: {names}")
    if len(files) > 1:
        raise UsageError(f"stage {name!r} is in {', '.join(sorted(files))}", "write FILE:STAGE")
    return found
