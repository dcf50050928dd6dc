"""Begin: take this process's place, write its first report, and wait for imports."""

from __future__ import annotations

import atexit
import os

from . import core, imports, processes, report


def begin() -> None:
    """Install every hook; frameworks are touched only when the script imports them."""
    processes.take_place()
    processes.install()
    if core.pins("entropy"):
        from . import entropy

        entropy.install()
    if core.pins("strict"):
        from . import listing

        listing.install()
    imports.install()
    report.write()
    core.changed.append(report.write)
    atexit.register(report.finish)
    leave = os._exit

    def _exit(status: int) -> None:
        report.finish()
        leave(status)

    os._exit = core.Stand("os", "_exit", _exit)
