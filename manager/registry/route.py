"""What supervision says of one agent: whether it takes requests, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Admission(Enum):
    """What becomes of a new request."""

    OPEN = "open"
    COMING_BACK = "coming back"
    """No instance is ready, one soon will be: the request may wait."""
    REFUSED = "refused"
    """Paused or stopping: 409."""
    DOWN = "down"
    """Nobody there and nobody coming: 503."""


@dataclass(frozen=True)
class RoutePolicy:
    """An agent's limits on the forward path. Times in seconds; `max_concurrency` is that of one instance."""

    execute_timeout_seconds: float
    queue_while_restarting_seconds: float
    max_body_bytes: int
    max_concurrency: int = 256
    max_queue: int = 1024


@dataclass(frozen=True)
class Route:
    """What supervision says of one agent; `detail` is the sentence for whom it turns away."""

    admission: Admission
    state: str
    detail: str
    policy: RoutePolicy
