"""What supervision needs of a process and of whoever starts it. Exits are announced, never polled for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from agent_service.definition import AgentDefinition


@dataclass(frozen=True)
class ProcessLimits:
    """What the operating system enforces on one process; None is no limit."""

    cpu_seconds: int | None = None
    open_files: int | None = None


@dataclass(frozen=True)
class Launch:
    """All that it takes to start one instance. `environment` is the whole of it, secrets resolved.

    `public_port`: the agent's own port, which all its instances share and which its spawner binds and keeps; each
    instance listens at a port of its own besides. None where the agent has none, or binds it by itself. `user`: the
    system's user to run as, for a manager that is root. `sidecar_url`: where a sidecar will answer; None for adapters.
    `definition`: what an agent that is described by data is told of itself.
    """

    agent_id: str
    instance_id: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: Path
    log_file: Path
    public_port: int | None = None
    preload: Literal["light", "langgraph"] = "light"
    limits: ProcessLimits = ProcessLimits()
    user: str | None = None
    sidecar_url: str | None = None
    definition: AgentDefinition | None = None


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
    """Starts processes: by exec here, by fork server elsewhere.

    `shares_ports`: whether it honours `Launch.public_port`, so that several instances can share an agent's port.
    """

    @property
    def shares_ports(self) -> bool: ...

    async def spawn(self, launch: Launch) -> Process:
        """Start an instance. Raises `SpawnFailed` where the operating system refuses.

        `StartImpossible` is the one that trying again cannot help.
        """
        ...

    async def collect(self) -> dict[str, Exit]:
        """How instances ended while no manager was there to hear it, by instance id. Before any `adopt`."""
        ...

    def adopt(self, identity: ProcessIdentity, instance_id: str) -> Process:
        """Take back a process that an earlier manager started."""
        ...

    def strays(self) -> Mapping[str, tuple[str | None, ProcessIdentity]]:
        """After the last `adopt`: what lives and was not adopted, by instance id, with its agent's id if that is known.

        A manager that died between the start of an instance and its record leaves one behind.
        """
        ...

    def forget(self, instance_id: str) -> None:
        """The end of this instance has been dealt with; the next manager need not hear of it."""
        ...

    async def reclaim(self, agent_id: str, port: int, identity: ProcessIdentity) -> bool:
        """Whether successors can share the agent's public port with this adopted process, which may listen there.

        Where nobody but the process has the listener any more, it is taken over from it, if the system allows that.
        """
        ...

    async def release(self, agent_id: str) -> None:
        """Close the agent's public listener; connections that wait there are refused."""
        ...

    async def aclose(self, *, leave_running: bool) -> None:
        """Let go of everything, but for the processes that run."""
        ...


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
