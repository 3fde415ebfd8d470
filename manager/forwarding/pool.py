"""Connections to adapters, kept open between requests: for each instance its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agent_service.http.client.connection import Connection
from agent_service.http.client.connector import Connector
from manager.clock import Clock
from manager.registry.instance import RegisteredInstance

# Shorter than what servers grant an idle connection (Node.js and uvicorn 5 s), so that ours is the side that closes.
IDLE_SECONDS = 4.0
SWEEP_SECONDS = 1.0
MAX_IDLE_PER_INSTANCE = 256


@dataclass(frozen=True)
class _Idle:
    connection: Connection
    since: float


class Pool:
    """Idle connections by instance: a successor at the same address never gets its predecessor's."""

    def __init__(self, clock: Clock, connector: Connector) -> None:
        self._connector = connector
        self._clock = clock
        self._idle: dict[str, list[_Idle]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def take(self, instance: RegisteredInstance) -> Connection | None:
        """The connection that was used last and still stands, if there is any."""
        idle = self._idle.get(instance.instance_id)
        while idle:
            connection = idle.pop().connection
            if connection.is_usable():
                return connection
            connection.abort()
        return None

    async def connect(self, instance: RegisteredInstance) -> Connection:
        """A new connection. Raises OSError, of which `TimeoutError` is one, where nobody takes it."""
        return await self._connector.connect(instance.service_url)

    def give_back(self, instance: RegisteredInstance, connection: Connection) -> None:
        """End the connection's exchange and keep it for the next one, where both sides can."""
        if not connection.finish():
            return
        idle = self._idle.setdefault(instance.instance_id, [])
        if instance.draining or len(idle) >= MAX_IDLE_PER_INSTANCE:
            connection.abort()
            return
        idle.append(_Idle(connection, self._clock.monotonic()))
        if self._sweeping is None:
            self._sweep_later()

    def close(self) -> None:
        """Close all of them."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for idle in self._idle.values():
            for each in idle:
                each.connection.abort()
        self._idle.clear()

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        oldest = self._clock.monotonic() - IDLE_SECONDS
        for instance_id, idle in list(self._idle.items()):
            for each in idle:
                if each.since <= oldest:
                    each.connection.abort()
            left = [each for each in idle if not each.connection.is_closed]
            if left:
                self._idle[instance_id] = left
            else:
                del self._idle[instance_id]
        if self._idle:
            self._sweep_later()
