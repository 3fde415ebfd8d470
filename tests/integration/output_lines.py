"""What a process prints, read as it comes, so that its pipe never fills up."""

from __future__ import annotations

import queue
import re
import threading
from typing import TextIO


class OutputLines:
    """`all` holds the lines so far."""

    def __init__(self, stream: TextIO) -> None:
        self.all: list[str] = []
        self._stream = stream
        self._unseen: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def find(self, pattern: str, *, seconds: float) -> str:
        """The first group of the next line that the pattern is found in; an AssertionError where the output ends first.

        Raises `queue.Empty` where no line comes for so many seconds.
        """
        while True:
            line = self._unseen.get(timeout=seconds)
            assert line is not None, f"it ended: {self.all}"
            if found := re.search(pattern, line):
                return found[1]

    def join(self, seconds: float) -> None:
        """Wait for the end of the output, which comes with that of the process."""
        self._reader.join(seconds)

    def close(self, seconds: float) -> None:
        """The same, and close the pipe."""
        self.join(seconds)
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            self.all.append(line.rstrip("\n"))
            self._unseen.put(line)
        self._unseen.put(None)
