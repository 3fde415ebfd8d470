"""Asks a sidecar whether it is well, and speaks for it in the registry: it does not register by itself."""

from __future__ import annotations

import asyncio

from agent_service.contract import Registration
from manager.errors import AdapterDied, AdapterTimeout
from manager.specs.probe import ProbeSettings
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.tools import Tools

# Until it is up, however rarely it is to be asked afterwards.
_STARTING_INTERVAL_SECONDS = 0.2


class Probe:
    """Of one process at `sidecar_url`. `missed`: how many questions in a row it has left without a good answer."""

    def __init__(self, instance: ManagedInstance, sidecar_url: str, settings: ProbeSettings, tools: Tools) -> None:
        self._instance = instance
        self._sidecar_url = sidecar_url
        self._settings = settings
        self._tools = tools
        self._is_up = False
        self.missed = 0

    async def watch(self) -> str:
        """Ask again and again; returns when it has to be ended, with the reason. One that starts is given time."""
        await self._ask()
        while not (self._is_up and self.missed >= 2 * self._settings.failures):
            await asyncio.sleep(self._pause())
            await self._ask()
        return f"did not answer its probe ({self._address}) {self.missed} times in a row and was killed"

    async def _ask(self) -> None:
        try:
            await self._tools.adapters.probe(self._address, timeout_seconds=self._settings.timeout_seconds)
        except (AdapterDied, AdapterTimeout) as error:
            self.missed += 1
            if self._is_up and self.missed == self._settings.failures:
                self._tools.registry.silence(self._instance.instance_id, error.detail)
        else:
            self._vouch()
            self._is_up, self.missed = True, 0

    def _vouch(self) -> None:
        self._tools.registry.vouch(
            Registration(
                id=self._instance.agent_id, service_url=self._sidecar_url, instance_id=self._instance.instance_id
            )
        )

    def _pause(self) -> float:
        interval = self._settings.interval_seconds
        return interval if self._is_up else min(interval, _STARTING_INTERVAL_SECONDS)

    @property
    def _address(self) -> str:
        return self._settings.url(self._sidecar_url)
