"""One process of ours: what was started, how far it has come, and how it is being stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from manager.supervision.process import Process


@dataclass(frozen=True)
class StopPlan:
    """Why an instance goes, and until when its tasks may finish. `deadline` is monotonic seconds.

    `replaced`: a successor takes its place, so that new connections to the agent's port need not be turned away.
    """

    reason: str
    deadline: float
    deadline_at: datetime
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
    """A pause, a resume or the stop, on its way."""
    failure: str | None = None
    """Why we ended it ourselves, where that counts as a crash."""

    @property
    def pid(self) -> int:
        return self.process.identity.pid
