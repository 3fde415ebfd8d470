"""One process of ours: what was started, and how it is being stopped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from manager.supervision.process import Process


@dataclass(frozen=True)
class StopPlan:
    """Why an instance goes, and until when its tasks may finish. `deadline` is monotonic seconds."""

    reason: str
    deadline: float
    deadline_at: datetime


@dataclass
class ManagedInstance:
    """Owned by its agent's supervisor. `started` is monotonic seconds, `generation` the restart it belongs to."""

    agent_id: str
    instance_id: str
    generation: int
    process: Process
    started_at: datetime
    started: float
    log_offset: int
    registered: bool = False
    stop: StopPlan | None = None
    control: asyncio.Task[None] | None = None
    """A pause, a resume or the stop, on its way."""
    failure: str | None = None
    """Why we ended it ourselves, where that counts as a crash."""

    @property
    def pid(self) -> int:
        return self.process.identity.pid
