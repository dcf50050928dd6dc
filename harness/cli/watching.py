"""Progress on stderr: a live list of stages on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.progress import Progress, Quiet

TAIL = 6
WIDTH = 160


def printable(text: str) -> str:
    """Return one line without control characters: a training may print anything."""
    return "".join(c if c.isprintable() else " " for c in text)[:WIDTH]


@contextmanager
def watcher(quiet: bool) -> Iterator[Progress]:
    """Yield whoever watches this command."""
    if quiet:
        yield Quiet()
    elif sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        with Live() as live:
            yield live
    else:
        yield Plain()


class Plain:
    """One line per event."""

    def stage(self, name: str) -> None:
        """Say that a stage begins."""
        self._say(f"… {name}")

    def done(self, name: str, seconds: float, status: str) -> None:
        """Say how a stage ended."""
        self._say(f"{'✓' if status == 'done' else '✗'} {name} {seconds:.1f} s")

    def log(self, line: str) -> None:
        """Show a line of a tool or of the training."""
        self._say(f"  | {printable(line)}")

    def note(self, text: str) -> None:
        """Show a note."""
        self._say(f"note: {printable(text)}")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Live:
    """A list of stages with their times, and the tail of the training's log."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._console = Console(stderr=True)
        self._rows: list[tuple[str, str]] = []
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._live = RichLive(console=self._console, refresh_per_second=8, transient=False)

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tail.clear()
        self._draw()
        self._live.stop()

    def stage(self, name: str) -> None:
        """Add a stage at work."""
        self._rows.append((name, "…"))
        self._draw()

    def done(self, name: str, seconds: float, status: str) -> None:
        """Mark the stage as ended."""
        mark = "✓" if status == "done" else "✗"
        if self._rows and self._rows[-1][0] == name:
            self._rows[-1] = (name, f"{mark} {seconds:.1f} s")
        self._tail.clear()
        self._draw()

    def log(self, line: str) -> None:
        """Show a line in the tail."""
        self._tail.append(printable(line))
        self._draw()

    def note(self, text: str) -> None:
        """Print a note above the list."""
        self._console.print(f"note: {printable(text)}", markup=False, highlight=False)

    def _draw(self) -> None:
        self._live.update(self._table())

    def _table(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        stages = [Text(f"  {state:>10}  {name}") for name, state in self._rows]
        return Group(*stages, *(Text(f"    | {line}", style="dim") for line in self._tail))
