"""What supervision needs of a process and of whoever starts it. Exits are announced, never polled for."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Launch:
    """All that it takes to start one instance. `environment` is the whole of it, secrets resolved."""

    agent_id: str
    instance_id: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: Path
    log_file: Path


@dataclass(frozen=True)
class Exit:
    """How a process ended. Both None: it ended while nobody could collect its status."""

    code: int | None = None
    signal: int | None = None

    @classmethod
    def from_returncode(cls, returncode: int) -> Exit:
        """From Python's convention: a negative number is a signal."""
        return cls(signal=-returncode) if returncode < 0 else cls(code=returncode)

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by signal {self.signal} ({_signal_name(self.signal)})"
        if self.code is not None:
            return f"exited with status {self.code}"
        return "ended, exit status unknown"


@dataclass(frozen=True)
class ProcessIdentity:
    """What tells a process from a stranger that was later given the same pid."""

    pid: int
    created_at: str
    boot_id: str


class Process(Protocol):
    """A started process. `exited` is set in the moment it ends and is never cancelled by its waiters."""

    @property
    def identity(self) -> ProcessIdentity: ...

    @property
    def exited(self) -> asyncio.Future[Exit]: ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM). Harmless after its end."""
        ...

    def kill(self) -> None:
        """End it and all that it started in its process group, at once."""
        ...


class Spawner(Protocol):
    """Starts processes: by exec here, by fork server elsewhere."""

    async def spawn(self, launch: Launch) -> Process:
        """Start an instance. Raises `SpawnFailed` where the operating system refuses."""
        ...


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
