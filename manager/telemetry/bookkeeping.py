"""What is written down of requests, behind their backs: a moment after their answers, many at once.

The next request of the same client would else wait for it, and code that runs for many in a row takes half the time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Seconds until it is done, and how much may wait until then.
DELAY_SECONDS = 0.005
MAX_WAITING = 64

Later = Callable[..., None]
"""Takes a function and its arguments."""


def at_once(work: Callable[..., None], *arguments: Any) -> None:
    """The `Later` of who has no time to wait."""
    work(*arguments)


class Bookkeeping:
    """Does what it is told in the order in which it was told, soon; `catch_up` does it now."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def later(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do `work(*arguments)` soon."""
        self._waiting.append((work, arguments))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self.catch_up)
        elif len(self._waiting) >= MAX_WAITING:
            self.catch_up()

    def before(self, reading: Callable[P, T]) -> Callable[P, T]:
        """`reading`, which finds everything written down."""

        def read(*args: P.args, **kwargs: P.kwargs) -> T:
            self.catch_up()
            return reading(*args, **kwargs)

        return read

    def catch_up(self) -> None:
        """Do all that waits; whoever reads what is written down asks for this first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while self._waiting:
                work, arguments = self._waiting.popleft()
                work(*arguments)
        finally:
            # Where one has failed the others are not lost.
            if self._waiting:
                self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self.catch_up)
