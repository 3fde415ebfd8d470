"""Tells adapters what to trace of what comes to them directly."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from agent_service.definition import Tracing
from manager.adapter_client import AdapterClient
from manager.errors import AdapterDied, AdapterTimeout

log = structlog.get_logger(__name__)


class TracingTeller:
    """`override_of`: what a person has set of an agent. Without an endpoint nobody traces, and nobody is told."""

    def __init__(
        self, adapters: AdapterClient, override_of: Callable[[str], Tracing | None], *, is_exporting: bool
    ) -> None:
        self._adapters = adapters
        self._override_of = override_of
        self._is_exporting = is_exporting

    async def tell(self, agent_id: str, service_url: str) -> None:
        """What is set now, or that nothing is."""
        if not self._is_exporting:
            return
        try:
            await self._adapters.set_tracing(service_url, self._override_of(agent_id))
        except (AdapterDied, AdapterTimeout) as error:
            # A program of another kind, or one on its way out: for what is forwarded to it the manager's word holds.
            log.info("Tracing could not be told", agent_id=agent_id, error=error.detail)
