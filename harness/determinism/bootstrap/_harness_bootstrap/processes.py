"""Give every process a place that repeats: the n-th child of its parent, never its pid.

The environment always names the place of the *next* child, so that one started by any means
finds its own; every means of starting one moves the name on.
"""

# pathlib alone would cost more than the start-up may
# ruff: noqa: PTH119
from __future__ import annotations

import _thread
import os
import sys

from . import core, report

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NEXT = "HARNESS_PIN_PROCESS"
_count = 0
_offered = ""
_lock = _thread.RLock()


def take_place() -> None:
    """Take the place that the parent left in the environment, or the next free one beside it."""
    core.key = report.claim(os.environ.get(NEXT, "0"))
    _offer()


def _offer() -> None:
    global _count, _offered
    _count += 1
    _offered = f"{core.key}.{_count}"
    os.environ[NEXT] = _offered


def _in_child() -> None:
    global _count
    try:
        core.key, _count, core.forked = _offered, 0, True
        core.forget()
        core.attempt("", _claim)
        _offer()
        for start in core.rekey:
            core.attempt("worker streams", start)
        report.write()
    finally:
        _lock.release()


def _claim() -> None:
    core.key = report.claim(core.key)


def _in_parent() -> None:
    _offer()
    _lock.release()


def _expect(argv: Any) -> None:
    """Remember a child that is a Python of its own, so that its missing report is noticed."""
    words = [os.fsdecode(w) for w in list(argv)[:8]]
    is_python = bool(words) and os.path.basename(words[0]).startswith("python")
    if is_python and len(core.children) < 256:
        core.children[_offered] = " ".join(words)[:200]
        report.write()


def _wrap_fork_exec(real: Callable[..., Any]) -> Callable[..., Any]:
    # subprocess, multiprocessing and loky all start programs through this one function; its
    # sixth argument is the environment, None for the current one.
    def fork_exec(*args: Any, **kwargs: Any) -> Any:
        with _lock:
            parts = list(args)
            if len(parts) > 5 and parts[5] is not None:
                start = f"{NEXT}=".encode()
                own = f"{NEXT}={_offered}".encode()
                parts[5] = [own if e.startswith(start) else e for e in parts[5]]
            if parts:
                core.attempt("", lambda: _expect(parts[0]))
            try:
                return real(*parts, **kwargs)
            finally:
                _offer()

    return fork_exec


def _moving_on(real: Callable[..., Any]) -> Callable[..., Any]:
    def start(*args: Any, **kwargs: Any) -> Any:
        with _lock:
            try:
                return real(*args, **kwargs)
            finally:
                _offer()

    return core.Stand("os", real.__name__, start)


def install() -> None:
    """Follow every way to start a process."""
    os.register_at_fork(before=_lock.acquire, after_in_parent=_in_parent, after_in_child=_in_child)
    try:
        import _posixsubprocess
    except ImportError:
        return
    wrapped = _wrap_fork_exec(_posixsubprocess.fork_exec)
    _posixsubprocess.fork_exec = wrapped
    started: Any = sys.modules.get("subprocess")
    if started is not None and hasattr(started, "_fork_exec"):
        started._fork_exec = wrapped
    for name in ("system", "posix_spawn", "posix_spawnp"):
        setattr(os, name, _moving_on(getattr(os, name)))
