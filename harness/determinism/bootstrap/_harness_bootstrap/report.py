"""One JSON file per process in the report folder: claimed at start, completed at exit."""

# pathlib alone would cost more than the start-up may
# ruff: noqa: PTH105, PTH118, PTH123
from __future__ import annotations

import os
import sys

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
_folder = os.environ.get("HARNESS_PIN_REPORTS", "")
_path = ""


def claim(wanted: str) -> str:
    """Take the report file of `wanted`, or of the next free name beside it.

    Two processes that one shell started see the same offer; they must not share a stream.
    """
    global _path
    name, beside = wanted[-120:], 0
    while True:
        _path = os.path.join(_folder, f"process-{name}.json")
        try:
            os.close(os.open(_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            return name
        except FileExistsError:
            beside += 1
            if beside > 10_000:
                raise
            name = f"{wanted[-120:]}+{beside}"


def write(complete: bool = False) -> None:
    """Replace this process's report; a reader never sees half of one."""
    body = _encode(_content(complete))
    partial = _path + ".partial"
    try:
        with open(partial, "w", encoding="utf-8") as sink:
            sink.write(body)
        os.replace(partial, _path)
    except OSError as error:
        print(f"[harness] no report: {error}", file=sys.stderr)


def finish() -> None:
    """Complete the report with what only the end of the process can tell."""
    for step in core.at_exit:
        core.attempt("", step)
    write(complete=True)


def _argv() -> list[str]:
    words = getattr(sys, "orig_argv", None)
    if words is None:
        try:
            with open("/proc/self/cmdline", "rb") as source:
                words = source.read(20_000).decode("utf-8", "replace").rstrip("\0").split("\0")
        except OSError:
            words = []
    return [w[:300] for w in words[:32]]


def _content(complete: bool) -> dict[str, Any]:
    content = {
        "schema": SCHEMA,
        "process": core.key,
        "pid": os.getpid(),
        "argv": _argv(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "level": core.level,
        "seed": core.seed,
        "complete": complete,
        "set": [d for d in core.done if d],
        "failed": core.failed[:64],
        "unseeded": core.unseeded,
        "nondeterministic": core.nondeterministic,
        "children": core.children,
        "hash_seed": os.environ.get("PYTHONHASHSEED", ""),
    }
    if complete:
        from . import observe

        content.update(observe.machine())
    return content


def _encode(value: Any) -> str:
    """Return JSON; the `json` package alone would cost half of the start-up budget."""
    from _json import encode_basestring_ascii as quote

    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(str(k))}:{_encode(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_encode, value)) + "]"
    return str(quote(str(value)))
