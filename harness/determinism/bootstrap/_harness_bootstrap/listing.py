"""Level `strict`: folders are listed in the order of names, not in the file system's."""

from __future__ import annotations

import os

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any


class Entries:
    """What `os.scandir` returns, read at once and sorted; used as iterator and as context."""

    def __init__(self, found: list[Any]) -> None:
        self.rest = iter(found)

    def __iter__(self) -> Entries:
        return self

    def __next__(self) -> Any:
        return next(self.rest)

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Yield nothing from now on."""
        self.rest = iter([])


def install() -> None:
    """Sort what `os.listdir` and `os.scandir` find: `glob`, `os.walk` and `pathlib` use them.

    The order of another file system is the one difference between two runtimes that reaches
    a training unseen.
    """
    listdir, scandir = os.listdir, os.scandir

    def by_name(path: Any = None) -> list[Any]:
        return sorted(listdir() if path is None else listdir(path))

    def sorted_scandir(path: Any = None) -> Entries:
        with scandir() if path is None else scandir(path) as found:
            return Entries(sorted(found, key=lambda entry: entry.name))

    os.listdir = core.Stand("os", "listdir", by_name)
    os.scandir = core.Stand("os", "scandir", sorted_scandir)
    core.done.append("folders listed by name")
