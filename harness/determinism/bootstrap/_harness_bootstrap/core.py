"""The state of this process: its settings, its place among the processes, its findings."""

# pathlib alone would cost more than the start-up may
# ruff: noqa: PTH100, PTH109, PTH119, PTH120
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LEVELS = ("off", "seeds", "strict", "entropy")
_MOST = 64

level: str = os.environ.get("HARNESS_PIN_LEVEL", "off")
rank: int = LEVELS.index(level) if level in LEVELS else 0
seed: int = int(os.environ.get("HARNESS_PIN_SEED") or 0)
threads: int = int(os.environ.get("HARNESS_PIN_THREADS") or 0)
key: str = "0"
forked: bool = False

done: list[str] = []
failed: list[str] = []
unseeded: dict[str, dict[str, Any]] = {}
nondeterministic: dict[str, dict[str, Any]] = {}
children: dict[str, str] = {}
rekey: list[Callable[[], None]] = []
at_exit: list[Callable[[], None]] = []
changed: list[Callable[[], None]] = []

_SKIPPED = (
    os.path.dirname(os.path.abspath(__file__)),
    os.path.dirname(os.path.abspath(os.__file__)),
)


def pins(name: str) -> bool:
    """Return whether the level in force contains the level `name`."""
    return rank >= LEVELS.index(name)


def derive(tag: str, bits: int = 32) -> int:
    """Return a number that belongs to the seed, this process and `tag` alone."""
    import hashlib

    digest = hashlib.sha256(f"{seed}|{key}|{tag}".encode()).digest()
    return int.from_bytes(digest, "little") & ((1 << bits) - 1)


def global_seed() -> int:
    """Return the seed of the global generators: the profile's own in the first process."""
    return seed if key == "0" else derive("global")


class Stream:
    """Pseudo-random bytes of this process for `tag`; starts again under a new process key."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.start()
        rekey.append(self.start)

    def start(self) -> None:
        """Begin the stream that the current process key stands for."""
        self.key = derive(self.tag, 256).to_bytes(32, "little")
        self.count = 0

    def bytes(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        import hashlib

        if size < 0:
            raise ValueError("negative argument not allowed")
        out = bytearray()
        while len(out) < size:
            out += hashlib.sha256(self.key + self.count.to_bytes(8, "little")).digest()
            self.count += 1
        return bytes(out[:size])

    def bits(self, count: int) -> int:
        """Return the next number of `count` bits."""
        return int.from_bytes(self.bytes((count + 7) // 8), "little") >> (-count % 8)


def is_own(name: str) -> bool:
    """Return whether a code file is the training's own: no library's, no installed package's."""
    return not name.startswith(("<", *_SKIPPED)) and "site-packages" not in name


def caller() -> str:
    """Return `file:line` of the user's own code nearest to the caller, or ''."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if is_own(name):
            inside = name.startswith(os.getcwd() + os.sep)
            short = os.path.relpath(name) if inside else os.path.basename(name)
            return f"{short}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def note(table: dict[str, dict[str, Any]], name: str, **facts: Any) -> None:
    """Count one more use of `name`, keeping where the first one was."""
    entry = table.get(name)
    if entry is not None:
        entry["count"] += 1
    elif len(table) < _MOST:
        table[name] = {"count": 1, "where": caller(), **facts}
        for tell in changed:
            tell()


def attempt(what: str, action: Callable[[], Any]) -> None:
    """Do one pin; a failure is reported, never raised into the training."""
    try:
        action()
    except Exception as error:
        failed.append(f"{what}: {error!r}"[:300])
    else:
        if what not in done:
            done.append(what)


class Stand:
    """Stands in for a built-in function: kept in a class it must not become a method of it."""

    def __init__(self, home: str, name: str, act: Callable[..., Any]) -> None:
        self.__module__, self.__name__, self.__qualname__ = home, name, name
        self.act = act

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.act(*args, **kwargs)

    def __reduce__(self) -> str:
        """Pickle as the name that it stands under, as a built-in does."""
        return self.__name__


def forget() -> None:
    """Drop what the parent found: a forked child reports its own findings."""
    for table in (unseeded, nondeterministic, children):
        table.clear()
