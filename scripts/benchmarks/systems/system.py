"""What is measured: something that starts adapters and looks after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from scripts.benchmarks.fleet import Agent

CONTROL_SECONDS = 60.0
CONTROL_EVERY = 0.05


class System(Protocol):
    """One that runs."""

    pid: int

    async def start(self, agents: Sequence[Agent]) -> None:
        """Ask for the start of these; returns when that has been accepted. Raises `CannotMeasure`."""


# Runs a system with its agents, in an empty directory, while inside; it takes orders once it is entered.
Opener = Callable[[Path, Sequence[Agent]], AbstractAsyncContextManager[System]]
