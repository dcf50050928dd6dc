"""Run git itself: one environment and one set of options that no repository can talk out of.

The program and not GitPython: its guards do not cover raw commands, it cannot take a variable
out of the environment, and nothing of its object model is needed to copy a tree.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.errors import InfrastructureError, UsageError

# Set in a hook's environment, these would silently point every command at another repository.
_REDIRECTS = (
    *("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "NAMESPACE", "CEILING_DIRECTORIES"),
    *("ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR", "PREFIX", "CONFIG_PARAMETERS"),
)
_OPTIONS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "core.quotePath": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "advice.detachedHead": "false",
}


class GitFailed(Exception):
    """Git ended with an error; `args[0]` is the last thing it said."""


def environment(protocols: tuple[str, ...], safe: Path | None = None) -> dict[str, str]:
    """Return the process environment for git.

    The operator's own configuration stays in force (credential helpers, proxy, CA bundle,
    `insteadOf`): it is the operator's, and without it a private repository cannot be read.
    What a repository could use (hooks, templates, file monitor, prompts) is switched off.
    `safe` is the one repository that may belong to another user.
    """
    env = {k: v for k, v in os.environ.items() if k not in {f"GIT_{r}" for r in _REDIRECTS}}
    options = dict(_OPTIONS) | ({"safe.directory": str(safe)} if safe else {})
    said = env.get("GIT_CONFIG_COUNT", "")
    first = int(said) if said.isdecimal() else 0
    env["GIT_CONFIG_COUNT"] = str(first + len(options))
    for i, (key, value) in enumerate(options.items(), first):  # the last word is ours
        env[f"GIT_CONFIG_KEY_{i}"], env[f"GIT_CONFIG_VALUE_{i}"] = key, value
    return env | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_TEMPLATE_DIR": "",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }


class Git:
    """One repository on disk, spoken to through the git program."""

    def __init__(
        self, folder: Path, protocols: tuple[str, ...] = (), *, safe: Path | None = None
    ) -> None:
        self.folder = folder
        self._env = environment(protocols, safe)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start git with pipes on all three streams."""
        try:
            return subprocess.Popen(
                ["git", "-C", str(self.folder), *arguments],
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise UsageError("git is not installed", "install git 2.35 or newer") from error

    def bytes(self, *arguments: str, timeout: float | None = None) -> bytes:
        """Return what git printed.

        Raises: GitFailed with git's own last words; InfrastructureError when it takes too long.
        """
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException as error:
            process.kill()
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"git {arguments[0]} took longer than {timeout:.0f} s"
                raise InfrastructureError(message, "check the network and try again") from error
            raise
        if process.returncode < 0 or b"No space left on device" in err:
            message = f"git {arguments[0]} was killed or ran out of disk (in {self.folder})"
            raise InfrastructureError(message, "make room and try again")
        if process.returncode:
            words = err.decode(errors="replace").strip().splitlines()
            raise GitFailed(words[-1] if words else f"git {arguments[0]}: {process.returncode}")
        return out

    def text(self, *arguments: str, timeout: float | None = None) -> str:
        """Return what git printed, as text without the newline at its end."""
        return os.fsdecode(self.bytes(*arguments, timeout=timeout)).rstrip("\n")

    def ok(self, *arguments: str) -> bool:
        """Return whether git succeeded."""
        try:
            self.bytes(*arguments)
        except GitFailed:
            return False
        return True
