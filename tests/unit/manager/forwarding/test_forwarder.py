from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agent_service.contract import Unregistration
from agent_service.http.client.answer import Answer, BrokenExchange, RawHeaders
from manager.errors import AdapterDied, AdapterTimeout, NotReady, StateConflict, UnknownAgent
from manager.events import EventBus
from manager.forwarding.forwarder import ForwardedAnswer, Forwarder
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


@pytest.mark.parametrize("status", [200, 400, 409, 413, 429, 500, 503, 418, 302])
def test_status_headers_and_body_come_back_as_they_are(status: int) -> None:
    async def scenario() -> None:
        got_status, headers, body = await forwarding.whole()
        assert got_status == status
        assert (b"retry-after", b"7") in headers
        assert (b"content-type", b"application/problem+json") in headers
        assert not [name for name, _ in headers if name in (b"server", b"date")]
        assert body == b"\x00whatever\xff"

    said: RawHeaders = [(b"retry-after", b"7"), (b"content-type", b"application/problem+json"), (b"server", b"theirs")]
    forwarding = Forwarding(answers(status, b"\x00what", b"ever\xff", headers=said))
    forwarding.run(scenario())


def test_the_request_goes_to_execute_with_its_body_its_trace_and_the_token() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=[*REQUEST.headers, (b"traceparent", b"00-old")]))
        (request,) = forwarding.requests
        assert request.head.startswith(b"POST /execute HTTP/1.1\r\n")
        assert request.head.endswith(b"\r\n\r\n")
        assert request.body == REQUEST.body
        assert request.values("content-length") == [str(len(REQUEST.body))]
        assert request.values("host") == ["127.0.0.1:8100"]
        assert request.values("x-manager-token") == ["secret"]
        assert request.values("x-request-id") == ["r-1"]
        assert request.values("traceparent") == ["00-new"]

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_without_tokens_none_is_sent_not_even_the_client_s() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=[(b"x-manager-token", b"guess")]))
        assert forwarding.requests[0].values("x-manager-token") == []

    forwarding = Forwarding(answers(), tokens=())
    forwarding.run(scenario())


async def takes_only_the_old_token(connection: PlayedConnection) -> None:
    play(connection, Response(200 if connection.values("x-manager-token") == ["old"] else 401))


def test_an_adapter_that_holds_only_the_previous_token_is_given_that() -> None:
    async def scenario() -> None:
        for _ in range(3):
            assert (await forwarding.whole())[0] == 200
        assert tried == [["new"], ["old"], ["old"], ["old"]]

    async def adapter(connection: PlayedConnection) -> None:
        tried.append(connection.values("x-manager-token"))
        await takes_only_the_old_token(connection)

    tried: list[list[str]] = []
    forwarding = Forwarding(adapter, tokens=("new", "old"))
    forwarding.run(scenario())


def test_a_body_that_comes_once_goes_with_the_token_that_was_found_before() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        if connection.head.startswith(b"GET "):
            await takes_only_the_old_token(connection)
        else:
            await after_upload(connection)

    async def scenario() -> None:
        for _ in range(2):
            await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"abc")))
        starts = [request.head.split(b" HTTP")[0] for request in forwarding.requests]
        assert starts == [b"GET /answers/token", b"GET /answers/token", b"POST /execute", b"POST /execute"]
        assert forwarding.requests[2].values("x-manager-token") == ["old"]
        assert forwarding.requests[2].body == b"3\r\nabc\r\n0\r\n\r\n"

    forwarding = Forwarding(adapter, tokens=("new", "old"))
    forwarding.run(scenario())


def test_an_adapter_that_takes_no_token_says_so_to_the_client() -> None:
    async def scenario() -> None:
        for _ in range(2):
            assert (await forwarding.whole())[0] == 401
        assert len(forwarding.requests) == 3

    forwarding = Forwarding(answers(401), tokens=("new", "old"))
    forwarding.run(scenario())


@pytest.mark.parametrize("name", ["accept-encoding", "accept", "user-agent"])
def test_the_adapter_is_asked_for_nothing_that_the_client_did_not_ask_for(name: str) -> None:
    """An adapter that compresses would else send the client a coding that it never said it reads."""

    async def scenario() -> None:
        await forwarding.whole()
        assert forwarding.requests[0].values(name) == []

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_what_the_client_accepts_reaches_the_adapter_and_its_coding_comes_back_untouched() -> None:
    async def scenario() -> None:
        _, headers, body = await forwarding.whole(replace(REQUEST, headers=[(b"accept-encoding", b"gzip")]))
        assert forwarding.requests[0].values("accept-encoding") == ["gzip"]
        assert (b"content-encoding", b"gzip") in headers
        assert body == b"\x1f\x8bnot really"

    forwarding = Forwarding(answers(200, b"\x1f\x8bnot really", headers=[(b"content-encoding", b"gzip")]))
    forwarding.run(scenario())


def test_pieces_of_a_body_of_known_length_go_as_they_are() -> None:
    async def scenario() -> None:
        headers = [(b"content-length", b"6")]
        await forwarding.whole(replace(REQUEST, headers=headers, body=pieces(b"abc", b"def")))
        (request,) = forwarding.requests
        assert request.values("content-length") == ["6"]
        assert request.values("transfer-encoding") == []
        assert request.body == b"abcdef"
        assert request.is_ended

    forwarding = Forwarding(after_upload)
    forwarding.run(scenario())


def test_a_body_of_unknown_length_goes_in_chunks() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"abc", b"x" * 16)))
        (request,) = forwarding.requests
        assert request.values("content-length") == []
        assert request.values("transfer-encoding") == ["chunked"]
        assert request.body == b"3\r\nabc\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"

    forwarding = Forwarding(after_upload)
    forwarding.run(scenario())


def test_a_whole_body_that_came_in_chunks_goes_in_a_chunk() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=b"whole"))
        (request,) = forwarding.requests
        assert (request.values("content-length"), request.values("transfer-encoding")) == ([], ["chunked"])
        assert request.body == b"5\r\nwhole\r\n0\r\n\r\n"

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_an_answer_that_comes_before_the_body_has_gone_is_passed_on() -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x"
            await asyncio.sleep(1)

    async def scenario() -> None:
        status, _, _ = await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=endless()))
        assert status == 413
        assert not forwarding.pool.kept or not forwarding.requests[0].is_ended

    forwarding = Forwarding(answers(413))
    forwarding.run(scenario())


def test_what_the_body_raises_is_what_the_caller_gets() -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"x"
        raise LookupError("the client has gone")

    async def never(connection: PlayedConnection) -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        with pytest.raises(LookupError):
            await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=broken()))

    forwarding = Forwarding(never)
    forwarding.run(scenario())


@pytest.mark.parametrize(("said", "sent"), [("continue", b"1\r\nx\r\n0\r\n\r\n"), ("417", b"")])
def test_a_body_that_was_asked_about_goes_only_where_it_is_wanted(said: str, sent: bytes) -> None:
    async def adapter(connection: PlayedConnection) -> None:
        assert connection.values("expect") == ["100-continue"]
        await asyncio.sleep(0.5)
        assert connection.body == b""
        if said == "417":
            play(connection, Response(417))
            return
        connection.answer.take_continue()
        await after_upload(connection)

    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"x"), asks_first=True))
        assert forwarding.requests[0].body == sent

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_a_body_that_was_asked_about_in_vain_goes_after_a_second() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"x"), asks_first=True))
        assert forwarding.clock.monotonic() >= 1001

    forwarding = Forwarding(after_upload)
    forwarding.run(scenario())


def test_a_connection_is_used_again_for_what_can_be_sent_again_only() -> None:
    async def scenario() -> None:
        await forwarding.whole()
        await forwarding.whole()
        assert len(forwarding.pool.made) == 1
        await forwarding.whole(replace(REQUEST, headers=CHUNKED, body=pieces(b"x")))
        assert len(forwarding.pool.made) == 2

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_chunks_pass_one_by_one_while_the_adapter_still_works() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        play(connection, Response(chunks=(b"first",), hold=True))
        await asyncio.sleep(1)
        connection.answer.take_chunk(b"second")
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with forwarding.forwarder.forward(REQUEST) as answer:
            assert await anext(answer.chunks) == b"first"
            assert await anext(answer.chunks) == b"second"
            assert forwarding.instance.forwarding == 1
        assert forwarding.requests[0].is_finished
        assert forwarding.pool.kept == []

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_an_unknown_agent_is_told() -> None:
    async def scenario() -> None:
        with pytest.raises(UnknownAgent):
            await forwarding.whole(replace(REQUEST, agent_id="nobody"))

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_a_paused_agent_gets_no_request() -> None:
    async def scenario() -> None:
        with pytest.raises(StateConflict, match="resume it"):
            await forwarding.whole()
        assert forwarding.requests == []

    forwarding = Forwarding(answers(), route=REFUSED)
    forwarding.run(scenario())


def test_a_refused_connection_is_tried_again_until_one_is_taken() -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 200
        assert forwarding.pool.tries == 3

    forwarding = Forwarding(answers(), refusals=2)
    forwarding.run(scenario())


def test_connections_that_stay_refused_become_not_ready_after_the_agent_s_patience() -> None:
    async def scenario() -> None:
        before = forwarding.clock.monotonic()
        with pytest.raises(NotReady, match="try again") as gave_up:
            await forwarding.whole()
        assert forwarding.clock.monotonic() - before == pytest.approx(10, abs=0.1)
        assert gave_up.value.agent_id == "echo"

    forwarding = Forwarding(answers(), refusals=None)
    forwarding.run(scenario())


def test_without_patience_a_refused_connection_is_final() -> None:
    async def scenario() -> None:
        with pytest.raises(NotReady):
            await forwarding.whole()
        assert forwarding.pool.tries == 1

    forwarding = Forwarding(answers(), refusals=None, route=replace(OPEN, policy=RoutePolicy(60, 0, 1024)))
    forwarding.run(scenario())


def test_a_connection_that_breaks_before_the_answer_is_not_tried_again() -> None:
    async def scenario() -> None:
        with pytest.raises(AdapterDied, match=r"closed the connection .* look at its log before you send it") as died:
            await forwarding.whole()
        assert died.value.agent_id == "echo"
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(in_turn(CLOSED))
    forwarding.run(scenario())


def test_a_connection_that_breaks_before_one_byte_was_taken_is_tried_again() -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 200
        assert len(forwarding.requests) == 2

    forwarding = Forwarding(in_turn(UNTOUCHED, Response()))
    forwarding.run(scenario())


def test_a_body_that_comes_once_is_never_sent_again() -> None:
    async def scenario() -> None:
        with pytest.raises(AdapterDied):
            await forwarding.whole(replace(REQUEST, body=pieces(b"x"), headers=CHUNKED))
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(in_turn(UNTOUCHED, Response()))
    forwarding.run(scenario())


def test_a_connection_that_breaks_during_the_answer_tells_so_after_what_came() -> None:
    async def scenario() -> None:
        got: list[bytes] = []
        with pytest.raises(AdapterDied):
            async with forwarding.forwarder.forward(REQUEST) as answer:
                async for chunk in answer.chunks:
                    got.append(chunk)
        assert got == [b"half"]
        assert forwarding.requests[0].is_finished

    forwarding = Forwarding(answers(200, b"half", error=CLOSED))
    forwarding.run(scenario())


def test_a_refusal_during_a_restart_is_taken_to_the_successor() -> None:
    """Routed a moment before the restart began: the adapter said 409 unexecuted."""

    async def adapter(connection: PlayedConnection) -> None:
        if len(forwarding.requests) == 1:
            forwarding.router.set_route("echo", COMING_BACK)
            play(connection, Response(409))
        else:
            play(connection, Response(chunks=(b'{"result":1}',)))

    async def scenario() -> None:
        waiting = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(3)
        assert not waiting.done()
        assert forwarding.instance.forwarding == 0
        forwarding.router.set_route("echo", OPEN)
        status, _, body = await waiting
        assert (status, body) == (200, b'{"result":1}')

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_a_refusal_of_an_agent_that_stays_is_passed_on() -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 409
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(answers(409))
    forwarding.run(scenario())


def test_a_refusal_of_an_agent_that_has_gone_meanwhile_is_passed_on() -> None:
    """An agent from elsewhere that stops says 409 and unregisters before the manager has looked at the answer."""

    async def adapter(connection: PlayedConnection) -> None:
        forwarding.registry.unregister(Unregistration(id="echo", instance_id="i-1"))
        forwarding.router.set_route("echo", None)
        play(connection, Response(409, chunks=(b"stopping",)))

    async def scenario() -> None:
        status, _, body = await forwarding.whole()
        assert (status, body) == (409, b"stopping")

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_a_restart_that_never_ends_becomes_not_ready() -> None:
    async def adapter(connection: PlayedConnection) -> None:
        forwarding.router.set_route("echo", COMING_BACK)
        play(connection, Response(409))

    async def scenario() -> None:
        with pytest.raises(NotReady):
            await forwarding.whole()

    forwarding = Forwarding(adapter)
    forwarding.run(scenario())


def test_a_task_over_its_time_is_hung_up_on_and_named() -> None:
    async def scenario() -> None:
        before = forwarding.clock.monotonic()
        with pytest.raises(AdapterTimeout, match=r"executeTimeoutSeconds \(60 s\)") as timeout:
            await forwarding.whole()
        assert forwarding.clock.monotonic() - before == pytest.approx(60, abs=0.1)
        assert timeout.value.agent_id == "echo"

    async def never(connection: PlayedConnection) -> None:
        await asyncio.Event().wait()

    forwarding = Forwarding(never)
    forwarding.run(scenario())


def test_the_time_limit_holds_for_the_body_too() -> None:
    async def scenario() -> None:
        with pytest.raises(AdapterTimeout):
            await forwarding.whole()
        assert forwarding.requests[0].is_finished

    forwarding = Forwarding(answers(200, b"begun", hold=True))
    forwarding.run(scenario())


@pytest.mark.parametrize("seconds", [0.001, 1.0])
def test_a_client_that_hangs_up_hangs_up_on_the_adapter(seconds: float) -> None:
    """Before the answer's head and during its body alike."""

    async def slowly(connection: PlayedConnection) -> None:
        await asyncio.sleep(0.5)
        play(connection, Response(chunks=(b"begun",), hold=True))

    async def scenario() -> None:
        forwarded = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(seconds)
        assert forwarding.instance.forwarding == 1
        forwarded.cancel()
        await asyncio.wait({forwarded})
        assert forwarded.cancelled()
        assert forwarding.requests[0].is_finished

    forwarding = Forwarding(slowly)
    forwarding.run(scenario())


def test_a_client_that_hangs_up_while_it_waits_for_the_agent_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        forwarded = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(1)
        forwarded.cancel()
        await asyncio.wait({forwarded})
        assert forwarding.requests == []

    forwarding = Forwarding(answers(), route=COMING_BACK)
    forwarding.run(scenario())


def test_many_requests_at_once_are_counted_and_spread_over_the_instances() -> None:
    async def slowly(connection: PlayedConnection) -> None:
        await asyncio.sleep(1)
        play(connection, Response())

    async def scenario() -> None:
        forwarding.registry.register(registration("i-2", port=8101))
        forwarded = [asyncio.create_task(forwarding.whole()) for _ in range(50)]
        await asyncio.sleep(0.5)
        assert [instance.forwarding for instance in forwarding.registry.of("echo")] == [25, 25]
        await asyncio.gather(*forwarded)
        assert [instance.forwarding for instance in forwarding.registry.of("echo")] == [0, 0]

    forwarding = Forwarding(slowly)
    forwarding.run(scenario())


def test_an_instance_that_registers_again_during_a_request_is_not_left_counting_it() -> None:
    async def scenario() -> None:
        async with forwarding.forwarder.forward(REQUEST) as answer:
            assert isinstance(answer, ForwardedAnswer)
            forwarding.registry.register(registration())
            assert forwarding.instance.forwarding == 1
        assert forwarding.instance.forwarding == 0

    forwarding = Forwarding(answers(200, b"x"))
    forwarding.run(scenario())


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


def test_who_chose_is_told_before_a_byte_goes_out() -> None:
    async def chosen(instance_id: str) -> None:
        assert forwarding.requests == []
        told.append(instance_id)

    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, chosen=chosen))
        assert told == ["i-1"]

    told: list[str] = []
    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_the_times_of_a_request_are_noted() -> None:
    async def slowly(connection: PlayedConnection) -> None:
        await asyncio.sleep(2)
        play(connection, Response())

    async def scenario() -> None:
        await forwarding.whole(request)
        assert request.timing.queued == 0
        assert request.timing.connected == 0
        assert request.timing.agent == pytest.approx(2, abs=0.1)

    request = ForwardRequest("echo", [], [], b"{}")
    forwarding = Forwarding(slowly)
    forwarding.run(scenario())
