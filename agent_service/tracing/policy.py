"""Whether an agent's tasks are traced, and what share of them: as it is defined, or as a person has set it since."""

from __future__ import annotations

from collections.abc import Callable

from agent_service.definition import Tracing


class Policy:
    """`defined`: what the agent's definition says now; None for one without. `fleet_rate` is the share of the fleet.

    A definition takes its share of the fleet's; what a person sets holds as it is.
    """

    def __init__(self, defined: Callable[[], Tracing | None], fleet_rate: float) -> None:
        self._defined = defined
        self._fleet_rate = fleet_rate
        self.override: Tracing | None = None

    def now(self) -> Tracing:
        """What holds."""
        if self.override is not None:
            return self.override
        defined = self._defined()
        if defined is None:
            return Tracing(sample_rate=self._fleet_rate)
        return Tracing(enabled=defined.enabled, sample_rate=defined.sample_rate * self._fleet_rate)
