"""Git as a code source: what a working copy lacks, and the recorded commit brought and proven."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from harness.code import lfs, urls
from harness.code.base import CodeState
from harness.code.export import SUBMODULE, Entry, Objects, entries, tree_of, write
from harness.code.mirror import Mirror
from harness.code.plumbing import GitFailed
from harness.code.workcopy import WorkingCopy
from harness.errors import SourceUnavailable, UsageError
from harness.model import CodeRef, Gap

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NESTING = 8


class GitSource:
    """Repositories through the git program, for commits that a person recorded elsewhere.

    `home` holds the shared mirrors (`home/git`); `allowed` the kinds of address git may open.
    """

    def __init__(self, home: Path, allowed: tuple[str, ...] = ("https", "ssh", "file")) -> None:
        self._home = home
        self._allowed = allowed

    def find(self, path: Path) -> bool:
        """Return whether `path` lies in a git working copy."""
        try:
            WorkingCopy.around(path, self._allowed)
        except UsageError:
            return False
        return True

    def describe(self, path: Path) -> CodeState:
        """Read the state of the working copy around `path`; change nothing.

        A repository without any remote is addressed by its own folder (`file://…`), which is
        as good as a remote for as long as the folder stays: no gap.
        """
        return WorkingCopy.around(path, self._allowed).state(path)

    def missing(self, ref: CodeRef) -> tuple[Gap, ...]:
        """Return why the commit cannot be had; no checkout.

        A commit that only our mirror still has is a gap too: nobody else could repeat the proof.
        """
        try:
            mirror = self._mirror(ref)
            if mirror.reachable(ref.commit):
                return ()
        except SourceUnavailable as error:
            return (Gap("code", error.message, error.hint),)
        where, fix = urls.clean(ref.url), "push it again, under a tag"
        if mirror.has(ref.commit):
            detail = (
                f"commit {ref.commit} is on no branch or tag of {where}: only our mirror has it"
            )
            return (Gap("commit", detail, fix),)
        return (Gap("commit", f"commit {ref.commit} is no longer at {where}", fix),)

    def checkout(self, ref: CodeRef, destination: Path) -> CodeRef:
        """Export the commit to `destination` (empty or absent); return it with its tree id.

        Bytes are the committed ones: no filter, no line-end conversion, no `export-subst`.
        Submodules and git-lfs files are brought the same way. Nothing is left behind on failure.
        An address that is a plain folder comes back as `file://…`.
        """
        if destination.exists() and any(destination.iterdir()):
            raise UsageError(f"{destination} is not empty", "check out into an empty folder")
        try:
            mirror = self._mirror(ref)
            tree = self._export(mirror, ref.commit, destination, 0)
            if ref.tree and ref.tree != tree:
                message = f"commit {ref.commit} has tree {tree}, not the recorded {ref.tree}"
                raise SourceUnavailable(message)
        except BaseException:
            shutil.rmtree(destination, ignore_errors=True)
            raise
        return CodeRef(mirror.url, ref.commit, tree, ref.folder)

    def _mirror(self, ref: CodeRef) -> Mirror:
        if not _COMMIT.fullmatch(ref.commit):
            message = f"{ref.commit[:80]!r} is not a full commit id"
            raise SourceUnavailable(message, hint="record 40 (or 64) hexadecimal digits")
        url = urls.absolute(urls.checked(ref.url, self._allowed), Path.cwd())
        return Mirror(self._home, url, self._allowed, len(ref.commit))

    def _export(self, mirror: Mirror, commit: str, destination: Path, depth: int) -> str:
        mirror.bring(commit)
        with Objects(mirror.git) as objects:
            tree = tree_of(objects, commit)
            rows = list(entries(objects, tree))
            write(objects, rows, destination)
        lfs.resolve(mirror, commit, destination, rows)
        for entry in rows:
            if entry.kind == SUBMODULE:
                self._submodule(mirror, commit, entry, destination, depth)
        return tree

    def _submodule(
        self, parent: Mirror, commit: str, entry: Entry, destination: Path, depth: int
    ) -> None:
        named = f"submodule {entry.path!r}"
        if depth >= _NESTING:
            raise SourceUnavailable(f"{named} is nested deeper than {_NESTING} levels")
        try:
            url = urls.join(parent.url, _submodule_url(parent, commit, entry.path))
            if urls.scheme(url) == "file" and urls.scheme(parent.url) != "file":
                message = f"a repository elsewhere names the folder {url!r} of this machine"
                raise SourceUnavailable(message, hint="give the submodule an https address")
            mirror = self._mirror(CodeRef(url, entry.oid))
            self._export(mirror, entry.oid, destination / entry.path, depth + 1)
        except SourceUnavailable as error:
            message = f"{named} cannot be had: {error.message}"
            raise SourceUnavailable(message, hint=error.hint) from error


def _submodule_url(mirror: Mirror, commit: str, path: str) -> str:
    blob = f"--blob={commit}:.gitmodules"
    try:
        text = mirror.git.bytes("config", blob, "--null", "--get-regexp", r"^submodule\..*")
    except GitFailed:
        text = b""
    values: dict[str, str] = {}
    for row in text.split(b"\0"):
        key, _, value = os.fsdecode(row).partition("\n")
        values[key] = value
    names = (
        k.removesuffix(".path") for k, v in values.items() if k.endswith(".path") and v == path
    )
    for name in names:
        if url := values.get(f"{name}.url"):
            return url
    raise SourceUnavailable("it has no address in .gitmodules", hint="commit .gitmodules")
