"""The shared bare mirror of one repository: filled under a lock, never pruned of a commit."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path
from shlex import quote

from harness.code import urls
from harness.code.plumbing import Git, GitFailed
from harness.errors import SourceUnavailable

NETWORK_TIMEOUT = 1800.0
LOOK_TIMEOUT = 60.0
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class Mirror:
    """What we keep of the repository at `url`, and what that repository says now.

    `width` is the length of its commit ids: git keeps sha1 and sha256 apart.
    """

    def __init__(self, home: Path, url: str, allowed: tuple[str, ...], width: int = 40) -> None:
        self.url, self.allowed = url, allowed
        self._format = "sha256" if width == 64 else "sha1"
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        self.folder = home / "git" / (name + ("-sha256" if width == 64 else ""))
        self.git = Git(self.folder, allowed)

    def has(self, commit: str) -> bool:
        """Return whether the commit is in the mirror."""
        return self.folder.is_dir() and self.git.ok("cat-file", "-e", f"{commit}^{{commit}}")

    def heads(self) -> dict[str, str]:
        """Ask the repository for its branches, tags and HEAD: object id by name.

        Raises: SourceUnavailable when it cannot be reached.
        """
        self._create()
        try:
            text = self.git.text(
                "ls-remote", *self._transport(), "--end-of-options", self.url, timeout=LOOK_TIMEOUT
            )
        except GitFailed as error:
            raise self._gone(error) from error
        return {name: oid for oid, _, name in (row.partition("\t") for row in text.splitlines())}

    def bring(self, commit: str) -> None:
        """Have the commit in the mirror; the network is used only when it is not there yet.

        Raises: SourceUnavailable when the repository is gone or no longer has the commit.
        """
        with self._lock():
            if self.has(commit):
                return
            heads = self.heads()
            self._fetch(heads)
            if not self.has(commit):
                self._fetch_one(commit)
            self.git.bytes("update-ref", f"refs/harness/{commit}", commit)

    def reachable(self, commit: str) -> bool:
        """Return whether a branch, a tag or the HEAD of the repository still contains the commit.

        Raises: SourceUnavailable when the repository cannot be reached.
        """
        heads = self.heads()
        if commit in heads.values():
            return True
        with self._lock():
            self._fetch(heads)
        if not self.has(commit):
            return False
        refs = ("refs/heads", "refs/tags", "refs/remote-head")
        return bool(self.git.text("for-each-ref", "--count=1", f"--contains={commit}", *refs))

    def _fetch(self, heads: dict[str, str]) -> None:
        refs = [*_REFS, "+HEAD:refs/remote-head"] if "HEAD" in heads else [*_REFS]
        try:
            self._run_fetch("--prune", refs=refs)
        except GitFailed as error:
            raise self._gone(error) from error

    def _fetch_one(self, commit: str) -> None:
        # A server may still hand out a commit that no branch holds any more.
        try:
            self._run_fetch(refs=[commit])
        except GitFailed as error:
            raise SourceUnavailable(
                f"commit {commit} is no longer at {urls.clean(self.url)}",
                hint="it may have been force-pushed away: push it again, under a tag",
            ) from error

    def _run_fetch(self, *options: str, refs: list[str]) -> None:
        # We hold our own lock, so any of git's is what a killed process left behind.
        for folder in (self.folder.glob("*.lock"), (self.folder / "refs").rglob("*.lock")):
            for stale in folder:
                stale.unlink(missing_ok=True)
        self.git.bytes(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow"),
            *(*options, *self._transport(), "--end-of-options", self.url, *refs),
            timeout=NETWORK_TIMEOUT,
        )

    def _transport(self) -> tuple[str, ...]:
        """Let git serve a local repository of another user, that one and no other."""
        path = urls.local(self.url)
        if path is None:
            return ()
        safe = " ".join(f"-c safe.directory={quote(str(p))}" for p in (path, path / ".git"))
        return (f"--upload-pack=git {safe} upload-pack",)

    def _create(self) -> None:
        if not (self.folder / "HEAD").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.git.bytes("init", "--quiet", "--bare", f"--object-format={self._format}")
            # No branch is checked out here: git-lfs would obey the one that HEAD names.
            self.git.bytes("symbolic-ref", "HEAD", "refs/none")

    def _gone(self, error: GitFailed) -> SourceUnavailable:
        where = urls.clean(self.url)
        return SourceUnavailable(
            f"repository {where} cannot be read: {str(error)[:300]}",
            hint="if it moved, record its new address; else check network and credentials",
        )

    def _lock(self) -> AbstractContextManager[object]:
        from filelock import FileLock

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.folder}.lock")
