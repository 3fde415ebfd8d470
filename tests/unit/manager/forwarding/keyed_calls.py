"""Calls with a key, before an agent that counts what it runs and a disk that outlives the manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from manager.errors import AdapterDied, AdapterTimeout, ManagerError, NotReady, StoreUnavailable
from manager.events import EventBus
from manager.forwarding.forwarder import ForwardedAnswer
from manager.forwarding.idempotency import REPLAYED, Idempotency, KeyLimits
from manager.forwarding.request import ForwardRequest
from manager.registry.registry import Registry
from manager.store.keyed_answers import KeyedCall
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.fakes.clock import FakeClock, run

LIMITS = KeyLimits(retention_seconds=3600, max_answer_bytes=100, max_stored_bytes=1000)


@dataclass
class Recall:
    """What an instance says that is asked for an earlier call: `says` is its name (None), another word, or nothing."""

    status: int = 200
    pieces: tuple[bytes, ...] = (b"one", b"two")
    says: str | None = None


@dataclass
class Disk:
    """What survives the manager."""

    calls: dict[str, KeyedCall] = field(default_factory=dict)
    is_full: bool = False

    async def get(self, _agent_id: str, key: str, *, since: datetime) -> KeyedCall | None:
        await asyncio.sleep(0.01)
        return self.calls.get(key)

    async def put(self, call: KeyedCall) -> None:
        await asyncio.sleep(0.01)
        if self.is_full:
            raise StoreUnavailable("The disk is full.")
        self.calls[call.key] = call

    async def remove(self, _agent_id: str, key: str) -> None:
        self.calls.pop(key, None)


class Agent:
    """Stands for forwarder and adapter: counts what it runs. `outcomes`: one for each run, the last for all others."""

    def __init__(self, registry: Registry, *outcomes: ManagerError | list[bytes], status: int = 200) -> None:
        self.registry = registry
        self.outcomes = list(outcomes)
        self.status = status
        self.headers = [(b"content-type", b"text/plain")]
        self.runs: list[str] = []
        self.recalls: list[Recall | ManagerError] = []
        self.interim: list[int] = []
        self.has_asked_for_trailers = False
        self.asked: list[tuple[str | None, str]] = []
        self.names: list[str] = []

    @asynccontextmanager
    async def forward(self, request: ForwardRequest) -> AsyncIterator[ForwardedAnswer]:
        if request.asked is not None:
            self.asked.append((request.asked, request.call))
            await asyncio.sleep(1)
            yield self.recalled(request)
            return
        self.names.append(request.call)
        self.has_asked_for_trailers |= request.takes_trailers
        instance = f"i{len(self.runs) + 1}"
        self.registry.register(registration(instance))
        if request.chosen is not None:
            await request.chosen(instance)
        self.runs.append(instance)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        for status in self.interim:
            assert request.tell_interim is not None
            await request.tell_interim(status, [])
        await asyncio.sleep(1)
        if isinstance(outcome, ManagerError):
            self.crash(instance, outcome)
            raise outcome
        yield ForwardedAnswer(self.status, self.headers, self.chunks(outcome))

    def recalled(self, request: ForwardRequest) -> ForwardedAnswer:
        assert request.body == b""
        outcome = self.recalls.pop(0) if len(self.recalls) > 1 else self.recalls[0]
        if isinstance(outcome, ManagerError):
            self.crash(request.asked or "", outcome)
            raise outcome
        said = [(b"x-manager-call", (outcome.says or request.call).encode())] if outcome.says != "" else []
        return ForwardedAnswer(outcome.status, [*self.headers, *said], self.chunks(list(outcome.pieces)))

    def crash(self, instance: str, error: ManagerError) -> None:
        if isinstance(error, AdapterDied) and "process" in error.detail:
            self.registry.forget(instance)

    async def chunks(self, pieces: list[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            if piece == b"!":
                self.registry.forget(self.runs[-1])
                raise DIED
            yield piece
            await asyncio.sleep(1)


DIED = AdapterDied("The process died.")
BROKE = AdapterDied("The connection broke.")
UNREACHABLE = NotReady("It does not accept connections.")
BUSY = AdapterTimeout("It did not finish.")
ANSWER = [b"one", b"two"]


class Keyed:
    def __init__(self, *outcomes: ManagerError | list[bytes], status: int = 200, limits: KeyLimits = LIMITS) -> None:
        self.clock = FakeClock()
        self.registry = Registry(self.clock, EventBus(self.clock), interval_seconds=5, ttl_seconds=30)
        self.disk = Disk()
        self.limits = limits
        self.agent = Agent(self.registry, *outcomes, status=status)
        self.restart_manager()

    def restart_manager(self) -> None:
        self.idempotency = Idempotency(self.agent, self.registry, self.disk, self.clock, self.limits)  # type: ignore[arg-type]

    async def send(self, body: bytes = b"{}", key: bytes = b"k", accept: bytes = b"*/*") -> tuple[bytes, bool]:
        """The body of the answer, and whether it is said to be a replay."""
        request = ForwardRequest("echo", [(b"idempotency-key", key), (b"accept", accept)], [], body)
        async with self.idempotency.forward(request) as answer:
            return b"".join([chunk async for chunk in answer.chunks]), REPLAYED in answer.headers

    async def failure(self) -> ManagerError:
        with pytest.raises(ManagerError) as failed:
            await self.send()
        return failed.value

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        run(scenario, self.clock)
