"""One process of ours: what was started, how far it has come, and how it is being stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from agent_service.definition import AgentDefinition
from manager.supervision.process import Process


@dataclass(frozen=True)
class StopOrder:
    """How instances that are to go end: drained for `seconds` (None: as the agent's config says), or `at_once`."""

    reason: str
    seconds: float | None = None
    at_once: bool = False


@dataclass(frozen=True)
class StopPlan:
    """Why an instance goes, until when its tasks may finish, and by when it is gone.

    `deadline` (SIGTERM) and `end` (SIGKILL) are monotonic seconds, `deadline_at` and `end_at` the same in wall time.
    `replaced`: a successor takes its place, so that new connections to the agent's port need not be turned away.
    """

    reason: str
    deadline: float
    deadline_at: datetime
    end: float
    end_at: datetime
    replaced: bool = False


@dataclass
class ManagedInstance:
    """Owned by its agent's supervisor. `started` is monotonic seconds, `generation` the restart it belongs to."""

    agent_id: str
    instance_id: str
    generation: int
    process: Process
    started_at: datetime
    started: float
    expected_since: float
    """Monotonic: since when this manager waits for it to register."""
    log_offset: int
    registered: bool = False
    """Has been heard of at least once."""
    ready: bool = False
    """Is heard of and takes work, or would if it were not paused."""
    silent_since: float | None = None
    stop: StopPlan | None = None
    control: asyncio.Task[None] | None = None
    """A pause, a resume, a new definition or the stop, on its way."""
    probing: asyncio.Task[str] | None = None
    pulse: asyncio.Task[None] | None = None
    """Asks it how it is, where it was adopted and its heartbeats come with another token."""
    holds_port: bool = False
    """It was adopted, listens at the agent's own port, and cannot share it with a successor."""
    failure: str | None = None
    """Why we ended it ourselves, where that counts as a crash."""
    sidecar_url: str | None = None
    """Where it answers if it is a sidecar, which does not speak the adapter API."""
    definition: AgentDefinition | None = None
    """What this manager last told it of itself, if it is described by data."""

    @property
    def is_busy(self) -> bool:
        """Whether it is being told something."""
        return self.control is not None and not self.control.done()

    @property
    def pid(self) -> int:
        return self.process.identity.pid
