"""A forwarder before adapters that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from agent_service.http.client.answer import Answer, BrokenExchange, RawHeaders
from manager.events import EventBus
from manager.forwarding.forwarder import Forwarder
from manager.forwarding.request import ForwardRequest
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from manager.registry.routing import Admission, Route, RoutePolicy, Router
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.fakes.clock import FakeClock, run

OPEN = Route(Admission.OPEN, "running", "echo is running.", RoutePolicy(60, 10, 1024))
COMING_BACK = replace(OPEN, admission=Admission.COMING_BACK, state="starting", detail="echo is starting.")
REFUSED = replace(OPEN, admission=Admission.REFUSED, state="paused", detail="echo is paused; resume it.")
REQUEST = ForwardRequest(
    "echo",
    [(b"content-type", b"application/json")],
    [(b"x-request-id", b"r-1"), (b"traceparent", b"00-new")],
    b'{"parameters": {}}',
)
CHUNKED = [(b"transfer-encoding", b"chunked")]
CLOSED = BrokenExchange("it closed the connection before it answered")
UNTOUCHED = BrokenExchange("it closed the connection before it answered", untouched=True)


class Reading:
    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class PlayedConnection:
    """A connection whose adapter is `play`: it gets the connection and fills `answer`."""

    def __init__(self, play: Callable[[PlayedConnection], Awaitable[None]]) -> None:
        self._play = play
        self.url = ""
        self.head = b""
        self.body = b""
        self.is_ended = False
        self.is_reused = False
        self.is_finished = False
        self.takes_more = True

    def begin(self, head: bytes, body: bytes | None) -> Answer:
        self.head, self.body = head, body or b""
        self.is_finished = False
        self.answer = Answer(Reading())
        self.playing = asyncio.ensure_future(self._play(self))
        return self.answer

    async def send(self, data: bytes) -> None:
        self.body += data

    def end_body(self) -> None:
        self.is_ended = True

    def finish(self) -> bool:
        self.playing.cancel()
        self.is_finished = True
        return self.answer.is_complete

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.decode().split("\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines if line)]

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each == name]


Adapter = Callable[[PlayedConnection], Coroutine[Any, Any, None]]


class PlayedPool:
    """Connections to adapters that `adapter` plays; the first `refusals` of them are refused."""

    def __init__(self, adapter: Adapter, refusals: int | None = 0) -> None:
        self.adapter = adapter
        self.refusals = refusals
        self.tries = 0
        self.made: list[PlayedConnection] = []
        self.kept: list[PlayedConnection] = []

    def take(self, instance: RegisteredInstance) -> PlayedConnection | None:
        if not self.kept:
            return None
        self.kept[-1].is_reused = True
        return self.kept.pop()

    async def connect(self, instance: RegisteredInstance) -> PlayedConnection:
        self.tries += 1
        if self.refusals is None or self.tries <= self.refusals:
            raise ConnectionRefusedError
        self.made.append(PlayedConnection(self.adapter))
        self.made[-1].url = instance.service_url
        return self.made[-1]

    def give_back(self, instance: RegisteredInstance, connection: PlayedConnection) -> None:
        if connection.finish():
            self.kept.append(connection)


class Forwarding:
    """A forwarder before adapters that `adapter` plays; `requests` are the exchanges that reached them."""

    def __init__(
        self, adapter: Adapter, *, route: Route = OPEN, tokens: tuple[str, ...] = ("secret",), refusals: int | None = 0
    ) -> None:
        self.clock = FakeClock()
        self.registry = Registry(self.clock, EventBus(self.clock), interval_seconds=5, ttl_seconds=30)
        self.router = Router(self.registry, self.clock)
        self.router.set_route("echo", route)
        self.registry.register(registration())
        self.requests: list[PlayedConnection] = []
        self.pool = PlayedPool(self._record(adapter), refusals)
        self.forwarder = Forwarder(self.router, self.pool, self.clock, tokens=tokens)  # type: ignore[arg-type]

    def _record(self, adapter: Adapter) -> Adapter:
        async def recorded(connection: PlayedConnection) -> None:
            self.requests.append(connection)
            await adapter(connection)

        return recorded

    @property
    def instance(self) -> RegisteredInstance:
        found = self.registry.get("i-1")
        assert found is not None
        return found

    async def whole(self, request: ForwardRequest = REQUEST) -> tuple[int, RawHeaders, bytes]:
        async with self.forwarder.forward(request) as answer:
            return answer.status, answer.headers, b"".join([chunk async for chunk in answer.chunks])

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        run(scenario, self.clock)
        instance = self.registry.get("i-1")
        assert instance is None or instance.forwarding == 0


@dataclass
class Response:
    """What an adapter says; `error` breaks the body off, `hold` keeps it open."""

    status: int = 200
    headers: RawHeaders | None = None
    chunks: tuple[bytes, ...] = ()
    error: Exception | None = None
    hold: bool = False


def answers(status: int = 200, *chunks: bytes, headers: RawHeaders | None = None, **how: Any) -> Adapter:
    return in_turn(Response(status, headers, chunks, **how))


def in_turn(*outcomes: Response | BrokenExchange) -> Adapter:
    waiting = list(outcomes)

    async def adapter(connection: PlayedConnection) -> None:
        play(connection, waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return adapter


def play(connection: PlayedConnection, outcome: Response | BrokenExchange) -> None:
    answer = connection.answer
    if isinstance(outcome, BrokenExchange):
        answer.fail(outcome)
        return
    answer.take_head(outcome.status, outcome.headers or [])
    for chunk in outcome.chunks:
        answer.take_chunk(chunk)
    if outcome.error is not None:
        answer.fail(outcome.error)
    elif not outcome.hold:
        answer.complete()


def pieces(*parts: bytes) -> AsyncGenerator[bytes, None]:
    async def generate() -> AsyncGenerator[bytes, None]:
        for part in parts:
            yield part

    return generate()


async def after_upload(connection: PlayedConnection) -> None:
    """Answers 200 once the body has come as a whole."""
    while not connection.is_ended:
        await asyncio.sleep(0.01)
    play(connection, Response())
