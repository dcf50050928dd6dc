"""DVC as a data source: the objects of a commit brought, proven, and never taken from a run."""

from __future__ import annotations

import errno
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from harness.data import dvcfiles
from harness.data.base import DataPlan
from harness.data.dvcfiles import Tracked
from harness.data.remotes import SCHEMES, Remote, Rules, default_remote
from harness.data.store import Store, place
from harness.data.tracking import Tracking, named
from harness.errors import InfrastructureError, SourceUnavailable
from harness.files import digest
from harness.model import DataObject, Gap

_PUSH = "dvc push, then try again"
_MAX_MANIFEST = 512 << 20
_WORKERS = 8
_ABOVE = 16
S = TypeVar("S")
T = TypeVar("T")


class DvcSource:
    """DVC 3 repositories, read from an exported commit that has no `.git`.

    DVC's own metadata is parsed here and its file systems do the transfer; DVC's cache logic,
    run-cache and repository class are not used: by default they verify nothing, and a
    repository's configuration would choose cache and credentials. `home/dvc` is the shared
    cache; `sources`, `allowed_schemes` and `origin` are explained in `remotes.Rules`.
    """

    def __init__(
        self,
        home: Path,
        sources: Mapping[str, str] | None = None,
        allowed_schemes: tuple[str, ...] = SCHEMES,
        origin: Path | None = None,
    ) -> None:
        self._store = Store(home / "dvc")
        self._rules = Rules(dict(sources or {}), allowed_schemes, origin)

    def plan(
        self,
        checkout: Path,
        targets: tuple[str, ...] | None,
        own: tuple[str, ...] | None = None,
    ) -> DataPlan:
        """Read what the commit tracks; `targets` None means every `.dvc` file; no network.

        `own` are the stages that the training runs (None: all of them): what they make is never
        an input. What other stages make is one when a target names it, or, with no targets
        given, when an own stage depends on it.
        """
        tracked = Tracking.of(checkout)
        chosen, gaps = tracked.choose(targets, own)
        objects = []
        for out in chosen:
            if gap := out.gap or self._imported(out):
                gaps.append(gap)
                continue
            try:
                remote = out.remote or default_remote(checkout, _root(checkout, out.file))
            except SourceUnavailable as error:
                gaps.append(Gap("data", f"{out.path}: {error.message}", error.hint))
                continue
            objects.append(DataObject(out.path, out.size, out.md5, None, out.file, remote))
        return DataPlan(tuple(objects), tracked.made(own), (*gaps, *tracked.disagreements()))

    def stage_commands(
        self, checkout: Path, stages: tuple[str, ...]
    ) -> tuple[tuple[str, ...], ...]:
        """Return the commands of the named stages, in the order given.

        A name is DVC's: `train`, `train@item`, `folder/dvc.yaml:train`; a foreach stage's bare
        name means all of its items. Commands start in the checkout's own top folder.

        Raises: UsageError for a stage that does not exist or could be two.
        """
        known = Tracking.of(checkout, strict=True).stages
        return tuple(argv for name in stages for s in named(known, name) for argv in s.argv)

    def missing(self, checkout: Path, plan: DataPlan) -> tuple[Gap, ...]:
        """Return a gap for every object that its remote no longer has.

        Only manifests of folders are read; every other object is merely asked for.
        """
        gaps: list[Gap] = []
        for remote, objects in self._by_remote(checkout, plan.objects, gaps):
            try:
                there = remote.has(o.md5 for o in objects)
                gaps += [_absent(o, remote) for o in objects if o.md5 not in there]
                whole = [o for o in objects if o.md5.endswith(".dir") and o.md5 in there]
                inner = [c for o in whole for c in self._children(remote, o)]
                there = remote.has(o.md5 for o in inner)
                gaps += [_absent(o, remote) for o in inner if o.md5 not in there]
            except SourceUnavailable as error:
                gaps.append(Gap("data", error.message, error.hint))
        return tuple(gaps)

    def fetch(self, checkout: Path, plan: DataPlan) -> tuple[DataObject, ...]:
        """Copy every object into the checkout, re-hashed once: md5 checked, sha256 filled in.

        Raises: SourceUnavailable naming each object that is missing or corrupt, and where;
        InfrastructureError when this machine's disk is full.
        """
        self._store.sweep()
        gaps: list[Gap] = []
        files: list[tuple[Remote, DataObject]] = []
        for remote, objects in self._by_remote(checkout, plan.objects, gaps):
            for group in _each(partial(self._expand, remote), objects, gaps):
                files += [(remote, o) for o in group]
        counted = Counter(o.path for _, o in files)
        gaps += [Gap("data path", f"{p} is tracked twice") for p, n in counted.items() if n > 1]
        brought = [] if gaps else _each(partial(self._bring, checkout), files, gaps)
        if gaps:
            reasons = tuple(dict.fromkeys(map(str, gaps)))
            more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            raise SourceUnavailable(reasons[0] + more, reasons, gaps[0].fix)
        return tuple(sorted(brought, key=lambda o: o.path))

    def _imported(self, out: Tracked) -> Gap | None:
        if not out.imported or self._store.path(out.md5).is_file():
            return None
        detail = f"{out.path} is imported from {out.imported!r}; DVC pushes no copy of it"
        return Gap("data import", detail, "track it with 'dvc add' in this repository, and push")

    def _by_remote(
        self, checkout: Path, objects: Iterable[DataObject], gaps: list[Gap]
    ) -> list[tuple[Remote, list[DataObject]]]:
        groups: dict[tuple[str, str], list[DataObject]] = {}
        for o in objects:
            groups.setdefault((_root(checkout, o.target), o.remote), []).append(o)
        result = []
        for (root, name), members in groups.items():
            try:
                result.append((self._rules.remote(checkout, root, name), members))
            except SourceUnavailable as error:
                gaps.append(Gap("data", f"{error.message}: {_some(members)}", error.hint))
        return result

    def _expand(self, remote: Remote, o: DataObject) -> tuple[DataObject, ...]:
        return self._children(remote, o) if o.md5.endswith(".dir") else (o,)

    def _children(self, remote: Remote, o: DataObject) -> tuple[DataObject, ...]:
        content = self._manifest(remote, o)
        rows = dvcfiles.manifest(content, o.path)
        return tuple(
            DataObject(posixpath.join(o.path, path), None, md5, None, o.target, o.remote)
            for path, md5 in rows
        )

    def _manifest(self, remote: Remote, o: DataObject) -> bytes:
        cached, wanted = self._store.path(o.md5), o.md5.removesuffix(".dir")
        if cached.is_file() and digest(cached, "md5")[0] == wanted:
            return cached.read_bytes()
        temporary = self._store.temporary()
        try:
            if not remote.read(o.md5, temporary):
                raise SourceUnavailable(str(_absent(o, remote)), hint=_PUSH)
            if temporary.stat().st_size > _MAX_MANIFEST:
                raise SourceUnavailable(f"the manifest of {o.path!r} is larger than 512 MiB")
            if (found := digest(temporary, "md5")[0]) != wanted:
                raise _corrupt(o, found, remote)
            content = temporary.read_bytes()
            self._store.keep(temporary, o.md5)
            return content
        finally:
            temporary.unlink(missing_ok=True)

    def _bring(self, checkout: Path, wanted: tuple[Remote, DataObject]) -> DataObject:
        remote, o = wanted
        cached = self._store.path(o.md5)
        if cached.is_file() and not cached.is_symlink():
            brought, _ = _land(cached, o, checkout)
            if brought:
                return brought
            cached.unlink(missing_ok=True)  # poisoned or damaged: once more, from its remote
        temporary = self._store.temporary()
        try:
            if not remote.read(o.md5, temporary):
                raise SourceUnavailable(str(_absent(o, remote)), hint=_PUSH)
            brought, found = _land(temporary, o, checkout)
            if brought is None:
                raise _corrupt(o, found, remote)
            self._store.keep(temporary, o.md5)
            return brought
        finally:
            temporary.unlink(missing_ok=True)


def _root(checkout: Path, file: str) -> str:
    """Return the folder of the DVC repository that a `.dvc` file belongs to.

    A recipe's folder may lie below the repository's top: then it is above the checkout (`../..`).
    """
    folder = posixpath.dirname(file)
    while folder and not (checkout / folder / ".dvc").is_dir():
        folder = posixpath.dirname(folder)
    if folder or (checkout / ".dvc").is_dir():
        return folder
    above = ("/".join([".."] * n) for n in range(1, min(_ABOVE, len(checkout.parts))))
    return next((up for up in above if (checkout / up / ".dvc/config").is_file()), "")


def _land(source: Path, o: DataObject, checkout: Path) -> tuple[DataObject | None, str]:
    temporary, md5, sha256 = place(source, checkout, o.path)
    if md5 != o.md5:
        temporary.unlink()
        return None, md5
    size = temporary.stat().st_size
    temporary.replace(checkout / o.path)
    return replace(o, size=size, sha256=sha256), md5


def _each(work: Callable[[S], T], items: Iterable[S], gaps: list[Gap]) -> list[T]:
    """Do the work for all items side by side; what cannot be had becomes a gap, by name."""
    results: list[T] = []
    pool = ThreadPoolExecutor(_WORKERS)
    try:
        for future in [pool.submit(work, i) for i in items]:
            try:
                results.append(future.result())
            except SourceUnavailable as error:
                gaps.append(Gap("data", error.message, error.hint))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = "the disk is full while data is brought in"
            raise InfrastructureError(message, "make room and try again") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for what runs, not for the queue
    return results


def _absent(o: DataObject, remote: Remote) -> Gap:
    return Gap("data object", f"{o.path} (md5 {o.md5}) is not at {remote.shown}", _PUSH)


def _corrupt(o: DataObject, found: str, remote: Remote) -> SourceUnavailable:
    return SourceUnavailable(
        f"data object {o.path} is corrupt at {remote.shown}: expected md5 {o.md5}, found {found}",
        hint="restore it in the remote from a good copy",
    )


def _some(objects: list[DataObject]) -> str:
    return ", ".join(o.path for o in objects[:5]) + (" …" if len(objects) > 5 else "")
