"""`POST /api/agent-services/{id}/execute`: the adapter's status, headers and body come back as they are."""

from __future__ import annotations

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE, ExecuteAnswer, ExecuteRequest
from agent_service.errors import Refusal
from agent_service.http.client.answer import RawHeaders
from agent_service.http.event_stream import event
from agent_service.http.extensions import TRAILERS
from agent_service.http.request_context import context_of
from manager.api.course import Course, Outcome
from manager.api.operation import Operation
from manager.api.problem import Problems, error_response, problem_of
from manager.clock import Clock
from manager.errors import AdapterDied, AdapterTimeout, ManagerError
from manager.forwarding.alarms import Alarms
from manager.forwarding.client import Client
from manager.forwarding.forwarder import ForwardedAnswer, Forwarder
from manager.forwarding.headers import declared_length
from manager.forwarding.idempotency import Idempotency
from manager.forwarding.request import ForwardRequest
from manager.registry.routing import Router
from manager.telemetry.bookkeeping import Later, at_once
from manager.telemetry.forward_metrics import ForwardMetrics
from manager.telemetry.request_metrics import describe_request
from manager.telemetry.tracing.port import ForwardTracing

log = structlog.get_logger(__name__)


class Execute:
    """The endpoint, as plain ASGI: it streams both ways. A client that hangs up hangs up on the adapter too."""

    def __init__(
        self,
        forwarder: Forwarder | Idempotency,
        router: Router,
        problems: Problems,
        metrics: ForwardMetrics,
        clock: Clock,
        tracing: ForwardTracing | None = None,
        later: Later = at_once,
    ) -> None:
        self._forwarder = forwarder
        self._router = router
        self._problems = problems
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing
        self._later = later
        self._alarms = Alarms()

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation(
                "POST",
                "/api/agent-services/{agent_id}/execute",
                "Execute a task; with Accept: text/event-stream its chunks come as they are made",
                self,
                ExecuteAnswer,
                body=ExecuteRequest,
                problems=(400, 404, 409, 413, 422, 429, 500, 502, 503, 504),
                streams_events=True,
                guarded=True,
            )
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        agent_id = scope["path_params"]["agent_id"]
        try:
            policy = self._router.route(agent_id).policy
        except ManagerError as error:
            # Of an agent that nobody has no series are begun.
            await error_response(error)(scope, receive, send)
            return
        course = Course(agent_id, self._clock)
        if self._tracing is not None:
            course.trace = self._tracing.begin(scope, agent_id)
            structlog.contextvars.bind_contextvars(span_id=course.trace.span_id)
        try:
            await self._forward(scope, receive, send, course, policy.max_body_bytes)
        except ManagerError as error:
            await course.answer(error_response(error), scope, receive, send)
        except Refusal as error:
            await course.answer(self._problems.response(error), scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            self._tell(scope, course)
            self._later(self._note, scope, course, course.seconds)

    async def _forward(self, scope: Scope, receive: Receive, send: Send, course: Course, max_body_bytes: int) -> None:
        """Raises what is to be answered instead, while nothing has been answered yet."""
        client = Client(scope, receive, send, max_body_bytes, self._alarms)
        body = await client.body()
        request = ForwardRequest(
            course.agent_id,
            scope["headers"],
            context_of(scope).headers if course.trace is None else course.trace.headers,
            body,
            asks_first=client.asks_first,
            client=_address(scope),
            timing=course.timing,
            takes_trailers=client.takes_trailers,
            tell_interim=client.tell_interim,
        )
        async with client:
            await self._answer(request, send, course)

    async def _answer(self, request: ForwardRequest, send: Send, course: Course) -> None:
        started: ForwardedAnswer | None = None
        try:
            async with self._forwarder.forward(request) as answer:
                headers = [*answer.headers, course.server_timing()]
                start = {"type": "http.response.start", "status": answer.status, "headers": headers}
                if answer.trailers is not None:
                    start["trailers"] = True
                await send(start)
                started, course.status = answer, answer.status
                left = declared_length(headers)
                more_body = True
                async for chunk in answer.chunks:
                    if left is not None:
                        # The end goes along with the last piece where the length tells which that is.
                        left -= len(chunk)
                        more_body = left > 0
                    await send({"type": "http.response.body", "body": chunk, "more_body": more_body})
                    if not more_body:
                        break
            course.outcome = course.status_class
            if more_body:
                await _end(send, b"", None if answer.trailers is None else answer.trailers())
        except (AdapterDied, AdapterTimeout) as error:
            if started is None:
                raise
            course.outcome = Outcome.BROKEN_OFF
            await self._break_off(started, error, request.agent_id, send)

    def _tell(self, scope: Scope, course: Course) -> None:
        if course.trace is not None:
            course.trace.end(status=course.status, outcome=course.outcome, milliseconds=course.timing.milliseconds())
            describe_request(scope, span_id=course.trace.span_id)

    def _note(self, scope: Scope, course: Course, seconds: float) -> None:
        timing = course.timing
        self._metrics.observe(
            course.agent_id,
            course.outcome,
            queued=timing.queued,
            connected=timing.connected,
            agent=timing.agent,
            total=seconds,
        )
        describe_request(scope, agent_id=course.agent_id, outcome=course.outcome, **timing.milliseconds())

    async def _break_off(
        self, answer: ForwardedAnswer, error: AdapterDied | AdapterTimeout, agent_id: str, send: Send
    ) -> None:
        log.warning("Answer broke off", agent_id=agent_id, error=error.detail)
        if not _is_event_stream(answer.headers):
            # Returning without the end of the body makes the server cut the connection: the client sees it too.
            return
        data = problem_of(error).model_dump_json(exclude_none=True).encode()
        await _end(send, b"\n\n" + event("error", data), None if answer.trailers is None else [])


async def _end(send: Send, body: bytes, trailers: RawHeaders | None) -> None:
    """The last of the body, and of an answer that can have trailers these."""
    await send({"type": "http.response.body", "body": body})
    if trailers is not None:
        await send({"type": TRAILERS, "headers": trailers})


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


def _is_event_stream(headers: RawHeaders) -> bool:
    return any(
        name == b"content-type" and value.startswith(EVENT_STREAM_MEDIA_TYPE.encode()) for name, value in headers
    )
