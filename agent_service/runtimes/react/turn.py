"""What one call of the agent has done so far; handed through the graph as its context."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_service.runtimes.react.usage import Tally


@dataclass
class Turn:
    """`failed_attempts`: model calls of this turn that had no answer."""

    tally: Tally = field(default_factory=Tally)
    failed_attempts: int = 0
