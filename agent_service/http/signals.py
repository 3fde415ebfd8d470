"""SIGTERM and SIGINT: the first asks for a stop, the second ends the process at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)]


class StopSignals:
    """Calls `on_stop` for the first signal; it runs between two bytecodes of the main thread.

    From then on the signals have their default effect again, which ends the process even while the event
    loop is blocked.
    """

    def __init__(self, on_stop: Callable[[], object]) -> None:
        self.on_stop = on_stop

    def install(self) -> None:
        """Take the signals over. Main thread only."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self.on_stop()
