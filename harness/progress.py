"""Progress as an object: what a line tells whoever watches; nobody, by default."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Somebody who watches a line at work."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def done(self, name: str, seconds: float, status: str) -> None:
        """A stage ended: `done`, `failed`, or `skipped`."""

    def log(self, line: str) -> None:
        """A line of a tool or of the training itself."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


class Quiet:
    """Nobody watches."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def done(self, name: str, seconds: float, status: str) -> None:
        """Say nothing."""

    def log(self, line: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


@contextmanager
def timed(progress: Progress, name: str) -> Iterator[None]:
    """Tell `progress` of a stage around a block."""
    progress.stage(name)
    begun, status = time.monotonic(), "failed"
    try:
        yield
        status = "done"
    finally:
        progress.done(name, round(time.monotonic() - begun, 3), status)
