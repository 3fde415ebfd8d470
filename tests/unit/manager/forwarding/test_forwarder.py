from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

import httpx
import pytest

from agent_service.contract import Unregistration
from manager.errors import AdapterDied, AdapterTimeout, NotReady, StateConflict, UnknownAgent
from manager.events import EventBus
from manager.forwarding.forwarder import ForwardedAnswer, Forwarder, ForwardRequest, make_client
from manager.forwarding.headers import RawHeaders
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from manager.registry.routing import Admission, Route, RoutePolicy, Router
from tests.unit.manager.fakes import FakeClock, registration, run

OPEN = Route(Admission.OPEN, "running", "echo is running.", RoutePolicy(60, 10, 1024))
COMING_BACK = replace(OPEN, admission=Admission.COMING_BACK, state="starting", detail="echo is starting.")
REFUSED = replace(OPEN, admission=Admission.REFUSED, state="paused", detail="echo is paused; resume it.")
REQUEST = ForwardRequest(
    "echo",
    [(b"content-type", b"application/json")],
    [(b"x-request-id", b"r-1"), (b"traceparent", b"00-new")],
    b'{"parameters": {}}',
)

Answer = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]


class Body(httpx.AsyncByteStream):
    """A body that comes chunk by chunk; `error` breaks it off, `hold` keeps it open."""

    def __init__(self, *chunks: bytes, error: Exception | None = None, hold: bool = False) -> None:
        self.chunks = chunks
        self.error = error
        self.hold = hold
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if self.error is not None:
            raise self.error
        if self.hold:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


class Forwarding:
    """A forwarder before adapters that `answer` plays; `requests` are those that reached them."""

    def __init__(self, answer: Answer, *, route: Route = OPEN, token: str | None = "secret") -> None:
        self.clock = FakeClock()
        self.registry = Registry(self.clock, EventBus(self.clock), interval_seconds=5, ttl_seconds=30)
        self.router = Router(self.registry, self.clock)
        self.router.set_route("echo", route)
        self.registry.register(registration())
        self.requests: list[httpx.Request] = []
        self._answer = answer
        client = make_client()
        client._transport = httpx.MockTransport(self._handle)
        self.forwarder = Forwarder(self.router, client, self.clock, token=token)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self._answer(request)

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


def response(status: int = 200, *, stream: Body | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
    """As it comes from a socket: the body is still to be read."""
    return httpx.Response(status, headers=headers, stream=stream or Body())


def answers(status: int = 200, **options: Any) -> Answer:
    async def answer(request: httpx.Request) -> httpx.Response:
        return response(status, **options)

    return answer


def in_turn(*outcomes: httpx.Response | type[httpx.HTTPError]) -> Answer:
    waiting = list(outcomes)

    async def answer(request: httpx.Request) -> httpx.Response:
        outcome = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(outcome, httpx.Response):
            return outcome
        raise outcome("as told", request=request)  # type: ignore[call-arg]

    return answer


@pytest.mark.parametrize("status", [200, 400, 409, 413, 429, 500, 503, 418, 302])
def test_status_headers_and_body_come_back_as_they_are(status: int) -> None:
    async def scenario() -> None:
        got_status, headers, body = await forwarding.whole()
        assert got_status == status
        assert (b"retry-after", b"7") in headers
        assert (b"content-type", b"application/problem+json") in headers
        assert not [name for name, _ in headers if name in (b"server", b"date")]
        assert body == b"\x00whatever\xff"

    forwarding = Forwarding(
        answers(
            status,
            headers={"Retry-After": "7", "Content-Type": "application/problem+json", "Server": "theirs"},
            stream=Body(b"\x00what", b"ever\xff"),
        )
    )
    forwarding.run(scenario())


def test_the_request_goes_to_execute_with_its_body_its_trace_and_the_token() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=[*REQUEST.headers, (b"traceparent", b"00-old")]))
        (request,) = forwarding.requests
        assert (request.method, str(request.url)) == ("POST", "http://127.0.0.1:8100/execute")
        assert request.content == REQUEST.body
        assert request.headers["content-length"] == str(len(REQUEST.body))
        assert request.headers["host"] == "127.0.0.1:8100"
        assert request.headers["x-manager-token"] == "secret"
        assert request.headers.get_list("x-request-id") == ["r-1"]
        assert request.headers.get_list("traceparent") == ["00-new"]

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_without_tokens_none_is_sent_not_even_the_client_s() -> None:
    async def scenario() -> None:
        await forwarding.whole(replace(REQUEST, headers=[(b"X-Manager-Token", b"guess")]))
        assert "x-manager-token" not in forwarding.requests[0].headers

    forwarding = Forwarding(answers(), token=None)
    forwarding.run(scenario())


@pytest.mark.parametrize("name", ["accept-encoding", "accept", "user-agent"])
def test_the_adapter_is_asked_for_nothing_that_the_client_did_not_ask_for(name: str) -> None:
    """An adapter that compresses would else send the client a coding that it never said it reads."""

    async def scenario() -> None:
        await forwarding.whole()
        assert name not in forwarding.requests[0].headers

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_what_the_client_accepts_reaches_the_adapter_and_its_coding_comes_back_untouched() -> None:
    async def scenario() -> None:
        _, headers, body = await forwarding.whole(replace(REQUEST, headers=[(b"accept-encoding", b"gzip")]))
        assert forwarding.requests[0].headers["accept-encoding"] == "gzip"
        assert (b"content-encoding", b"gzip") in headers
        assert body == b"\x1f\x8bnot really"

    forwarding = Forwarding(answers(headers={"content-encoding": "gzip"}, stream=Body(b"\x1f\x8bnot really")))
    forwarding.run(scenario())


def test_chunks_pass_one_by_one_while_the_adapter_still_works() -> None:
    async def scenario() -> None:
        async with forwarding.forwarder.forward(REQUEST) as answer:
            assert await anext(answer.chunks) == b"first"
            assert await anext(answer.chunks) == b"second"
            assert forwarding.instance.forwarding == 1
        assert body.closed

    body = Body(b"first", b"second", hold=True)
    forwarding = Forwarding(answers(stream=body))
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


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
def test_a_refused_connection_is_tried_again_until_one_is_taken(error: type[httpx.HTTPError]) -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 200
        assert len(forwarding.requests) == 3

    forwarding = Forwarding(in_turn(error, error, response()))
    forwarding.run(scenario())


def test_connections_that_stay_refused_become_not_ready_after_the_agent_s_patience() -> None:
    async def scenario() -> None:
        before = forwarding.clock.monotonic()
        with pytest.raises(NotReady, match="try again") as gave_up:
            await forwarding.whole()
        assert forwarding.clock.monotonic() - before == pytest.approx(10, abs=0.1)
        assert gave_up.value.agent_id == "echo"

    forwarding = Forwarding(in_turn(httpx.ConnectError))
    forwarding.run(scenario())


def test_without_patience_a_refused_connection_is_final() -> None:
    async def scenario() -> None:
        with pytest.raises(NotReady):
            await forwarding.whole()
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(in_turn(httpx.ConnectError), route=replace(OPEN, policy=RoutePolicy(60, 0, 1024)))
    forwarding.run(scenario())


@pytest.mark.parametrize(
    "error", [httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError, httpx.ReadTimeout, httpx.LocalProtocolError]
)
def test_a_connection_that_breaks_before_the_answer_is_not_tried_again(error: type[httpx.HTTPError]) -> None:
    async def scenario() -> None:
        with pytest.raises(
            AdapterDied, match=r"broke the connection .* look at its log before you send it again"
        ) as died:
            await forwarding.whole()
        assert died.value.agent_id == "echo"
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(in_turn(error))
    forwarding.run(scenario())


def test_a_break_without_words_of_its_own_is_told_by_its_kind() -> None:
    async def reset(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("", request=request)

    async def scenario() -> None:
        with pytest.raises(AdapterDied, match=r"\(ReadError\)"):
            await forwarding.whole()

    forwarding = Forwarding(reset)
    forwarding.run(scenario())


def test_a_connection_that_breaks_during_the_answer_tells_so_after_what_came() -> None:
    async def scenario() -> None:
        got: list[bytes] = []
        with pytest.raises(AdapterDied):
            async with forwarding.forwarder.forward(REQUEST) as answer:
                async for chunk in answer.chunks:
                    got.append(chunk)
        assert got == [b"half"]
        assert body.closed

    body = Body(b"half", error=httpx.ReadError("reset"))
    forwarding = Forwarding(answers(stream=body))
    forwarding.run(scenario())


def test_a_refusal_during_a_restart_is_taken_to_the_successor() -> None:
    """Routed a moment before the restart began: the adapter said 409 unexecuted."""

    async def answer(request: httpx.Request) -> httpx.Response:
        if len(forwarding.requests) == 1:
            forwarding.router.set_route("echo", COMING_BACK)
            return response(409, stream=refusal)
        return response(stream=Body(b'{"result":1}'))

    async def scenario() -> None:
        waiting = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(3)
        assert not waiting.done()
        assert forwarding.instance.forwarding == 0
        forwarding.router.set_route("echo", OPEN)
        status, _, body = await waiting
        assert (status, body) == (200, b'{"result":1}')
        assert refusal.closed

    refusal = Body(b"{}")
    forwarding = Forwarding(answer)
    forwarding.run(scenario())


def test_a_refusal_of_an_agent_that_stays_is_passed_on() -> None:
    async def scenario() -> None:
        assert (await forwarding.whole())[0] == 409
        assert len(forwarding.requests) == 1

    forwarding = Forwarding(answers(409))
    forwarding.run(scenario())


def test_a_refusal_of_an_agent_that_has_gone_meanwhile_is_passed_on() -> None:
    """An agent from elsewhere that stops says 409 and unregisters before the manager has looked at the answer."""

    async def answer(request: httpx.Request) -> httpx.Response:
        forwarding.registry.unregister(Unregistration(id="echo", instance_id="i-1"))
        forwarding.router.set_route("echo", None)
        return response(409, stream=refusal)

    async def scenario() -> None:
        status, _, body = await forwarding.whole()
        assert (status, body) == (409, b"stopping")
        assert refusal.closed

    refusal = Body(b"stopping")
    forwarding = Forwarding(answer)
    forwarding.run(scenario())


def test_a_restart_that_never_ends_becomes_not_ready() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        forwarding.router.set_route("echo", COMING_BACK)
        return response(409)

    async def scenario() -> None:
        with pytest.raises(NotReady):
            await forwarding.whole()

    forwarding = Forwarding(answer)
    forwarding.run(scenario())


def test_a_task_over_its_time_is_hung_up_on_and_named() -> None:
    async def scenario() -> None:
        before = forwarding.clock.monotonic()
        with pytest.raises(AdapterTimeout, match=r"executeTimeoutSeconds \(60 s\)") as timeout:
            await forwarding.whole()
        assert forwarding.clock.monotonic() - before == pytest.approx(60, abs=0.1)
        assert timeout.value.agent_id == "echo"

    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    forwarding = Forwarding(never)
    forwarding.run(scenario())


def test_the_time_limit_holds_for_the_body_too() -> None:
    async def scenario() -> None:
        with pytest.raises(AdapterTimeout):
            await forwarding.whole()
        assert body.closed

    body = Body(b"begun", hold=True)
    forwarding = Forwarding(answers(stream=body))
    forwarding.run(scenario())


@pytest.mark.parametrize("seconds", [0.001, 1.0])
def test_a_client_that_hangs_up_hangs_up_on_the_adapter(seconds: float) -> None:
    """Before the answer's head and during its body alike."""

    async def slowly(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.5)
        return response(200, stream=body)

    async def scenario() -> None:
        forwarded = asyncio.create_task(forwarding.whole())
        await asyncio.sleep(seconds)
        assert forwarding.instance.forwarding == 1
        forwarded.cancel()
        await asyncio.wait({forwarded})
        assert forwarded.cancelled()
        assert body.closed == (seconds > 0.5)

    body = Body(b"begun", hold=True)
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
    async def slowly(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1)
        return response()

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

    forwarding = Forwarding(answers(stream=Body(b"x")))
    forwarding.run(scenario())


def test_an_instance_whose_host_cannot_be_asked_is_not_left_counting_the_request() -> None:
    async def scenario() -> None:
        forwarding.instance.service_url = "http://\u2603:80"
        with pytest.raises((AdapterDied, NotReady)):
            await forwarding.whole()

    forwarding = Forwarding(answers())
    forwarding.run(scenario())


def test_the_client_keeps_no_connection_open_and_has_no_limit_of_its_own() -> None:
    client = make_client()
    pool = client._transport._pool  # type: ignore[attr-defined]
    assert pool._max_keepalive_connections == 0
    assert pool._max_connections > 1_000_000
    assert client.timeout.read is None
    assert client.timeout.connect == 5.0
    assert not client.trust_env
