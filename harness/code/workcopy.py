"""A git working copy at record time: its reference, and everything that a replay would miss."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.code import urls
from harness.code.base import CodeState
from harness.code.plumbing import Git, GitFailed
from harness.errors import UsageError
from harness.model import CodeRef, Gap


@dataclass(frozen=True)
class WorkingCopy:
    """One working copy; every method only reads."""

    root: Path
    git: Git
    allowed: tuple[str, ...]

    @classmethod
    def around(cls, path: Path, allowed: tuple[str, ...]) -> WorkingCopy:
        """Find the working copy that `path` (a file or a folder) lies in.

        Its folder counts as safe even when another user owns it, as in a CI container.
        """
        folder = _folder(path)
        root = next((p for p in (folder, *folder.parents) if (p / ".git").exists()), None)
        if root is None:
            raise UsageError(f"{path} is not in a git working copy", "run 'git init' and commit")
        git = Git(root, allowed, safe=root)
        try:
            git.bytes("rev-parse", "--git-dir")
        except GitFailed as error:
            raise UsageError(f"{root} is not a readable git working copy: {error}") from error
        return cls(root, git, allowed)

    def state(self, path: Path) -> CodeState:
        """Return reference, dirty files and gaps."""
        try:
            head = self.git.text("log", "-1", "--no-show-signature", "--format=%H%n%T%n%an <%ae>")
        except GitFailed as error:
            raise UsageError(f"{self.root} has no commit yet", "commit your work") from error
        commit, tree, author = head.split("\n", 2)
        url, gaps = self._address(commit)
        folder = _folder(path).relative_to(self.root).as_posix()
        ref = CodeRef(url, commit, tree, folder)
        gaps = (*gaps, *self._lfs(), *self._links(), *self._submodules(url))
        return CodeState(ref, self.root, self._dirty(), gaps, author)

    def _dirty(self) -> tuple[str, ...]:
        rows = self.git.bytes(
            *("status", "--porcelain=v1", "-z", "--untracked-files=all"),
            *("--no-renames", "--ignore-submodules=none"),
        ).split(b"\0")
        changed = {os.fsdecode(row[3:]) for row in rows if row}
        # `git status` keeps silent about files that were marked as not to be looked at.
        for row in self.git.bytes("ls-files", "-v", "-z").split(b"\0"):
            name = os.fsdecode(row[2:])
            hidden = row[:1].islower() or row[:1] == b"S"
            if hidden and os.path.lexists(self.root / name):
                changed.add(name)
        return tuple(sorted(changed))

    def _address(self, commit: str) -> tuple[str, tuple[Gap, ...]]:
        remotes = self.git.text("remote").split()
        if not remotes:
            return urls.of_folder(self.root), ()
        holding = self.git.text(
            "for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/remotes"
        )
        having = {ref.split("/")[2] for ref in holding.splitlines()}
        remote = self._preferred([r for r in remotes if r in having] or remotes)
        try:
            raw = self.git.text("config", "--get", f"remote.{remote}.url")
        except GitFailed:
            gap = Gap("remote", f"remote {remote!r} has no address", "git remote set-url")
            return urls.of_folder(self.root), (gap,)
        url = urls.absolute(raw, self.root)
        gaps = []
        if not having:
            fix = f"git push -u {remote} HEAD"
            gaps.append(Gap("unpushed commit", f"{commit} is on no branch of a remote", fix))
        if urls.scheme(url) not in self.allowed:
            fix = "use an https, ssh or file address"
            gaps.append(Gap("remote", f"{urls.clean(url)!r} is not an allowed address", fix))
        return urls.clean(url), tuple(gaps)

    def _preferred(self, remotes: list[str]) -> str:
        upstream = ""
        if self.git.ok("symbolic-ref", "-q", "HEAD"):
            branch = self.git.text("symbolic-ref", "--short", "HEAD")
            if self.git.ok("config", "--get", f"branch.{branch}.remote"):
                upstream = self.git.text("config", "--get", f"branch.{branch}.remote")
        return next((r for r in (upstream, "origin") if r in remotes), remotes[0])

    def _lfs(self) -> tuple[Gap, ...]:
        if shutil.which("git-lfs"):
            return ()
        pattern = "^version https://git-lfs.github.com/spec/v1$"
        try:
            found = self.git.bytes("grep", "-l", "-z", "-e", pattern, "HEAD", "--").split(b"\0")
        except GitFailed:
            return ()
        names = [os.fsdecode(n).removeprefix("HEAD:") for n in found if n]
        return tuple(Gap("git-lfs file", n, "install git-lfs") for n in names)

    def _links(self) -> tuple[Gap, ...]:
        rows = self.git.bytes("ls-files", "-s", "-z").split(b"\0")
        links = [os.fsdecode(r.split(b"\t", 1)[1]) for r in rows if r.startswith(b"120000")]
        top = os.path.realpath(self.root)
        return tuple(
            Gap("symbolic link", f"{name} leads out of the repository", "commit the file itself")
            for name in links
            if not Path(os.path.realpath(self.root / name)).is_relative_to(top)
        )

    def _submodules(self, base: str) -> tuple[Gap, ...]:
        if not (self.root / ".gitmodules").is_file():
            return ()
        options = ("config", "--file=.gitmodules", "--get-regexp", r"^submodule\..*\.url$")
        try:
            rows = self.git.text(*options).splitlines()
        except GitFailed:
            return ()
        addresses = [
            (key, urls.join(base, url)) for key, _, url in (r.partition(" ") for r in rows)
        ]
        return tuple(
            Gap("submodule", f"{key}: {url!r} is not an allowed address", "use an https address")
            for key, url in addresses
            if urls.scheme(url) not in self.allowed
        )


def _folder(path: Path) -> Path:
    resolved = path.resolve()
    return resolved if resolved.is_dir() else resolved.parent
