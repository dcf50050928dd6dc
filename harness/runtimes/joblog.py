"""A job's output: whole lines to the sink as they come, a bounded head and tail on disk."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from harness.runtimes.base import Sink

HEAD, TAIL, LINE = 8 << 20, 1 << 20, 8192


class Log:
    """The job's output: lines to the sink as they come, head and tail of a bounded size on disk."""

    def __init__(self, path: Path, sink: Sink) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.sink = path, sink
        self._file = path.open("wb")
        self._written = self._dropped = 0
        self._tail, self._line = bytearray(), b""

    def write(self, data: bytes) -> None:
        """Take some output."""
        room = max(HEAD - self._written, 0)
        self._file.write(data[:room])
        self._file.flush()
        self._written += len(data[:room])
        self._tail += data[room:]
        if len(self._tail) > 2 * TAIL:
            self._dropped += len(self._tail) - TAIL
            del self._tail[:-TAIL]
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self.sink(line[:LINE].decode(errors="replace"))
        if len(self._line) > LINE:
            self._line = self._line[:LINE]

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the tail and close."""
        if self._line:
            self.sink(self._line.decode(errors="replace"))
        if self._dropped:
            self._file.write(b"\n[%d bytes left out]\n" % self._dropped)
        self._file.write(self._tail)
        self._file.close()
