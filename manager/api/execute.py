"""`POST /api/agent-services/{id}/execute`: the adapter's status, headers and body come back as they are."""

from __future__ import annotations

import asyncio

import structlog
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE, ExecuteAnswer, ExecuteRequest
from agent_service.http.body import read_body
from agent_service.http.disconnect import disconnected
from agent_service.http.event_stream import event
from agent_service.http.request_context import context_of
from manager.api.operation import Operation
from manager.api.problem import problem_of
from manager.errors import AdapterDied, AdapterTimeout
from manager.forwarding.forwarder import ForwardedAnswer, Forwarder, ForwardRequest
from manager.forwarding.headers import RawHeaders
from manager.registry.routing import Router

log = structlog.get_logger(__name__)


class Execute:
    """The endpoint. A client that hangs up hangs up on the adapter too."""

    def __init__(self, forwarder: Forwarder, router: Router) -> None:
        self._forwarder = forwarder
        self._router = router

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation(
                "POST",
                "/api/agent-services/{agent_id}/execute",
                "Execute a task; with Accept: text/event-stream its chunks come as they are made",
                self.execute,
                ExecuteAnswer,
                body=ExecuteRequest,
                problems=(400, 404, 409, 413, 429, 500, 502, 503, 504),
                streams_events=True,
                guarded=True,
            )
        ]

    async def execute(self, request: Request) -> ForwardResponse:
        """Read the request and hand it over."""
        agent_id = request.path_params["agent_id"]
        limit = self._router.route(agent_id).policy.max_body_bytes
        body = await read_body(request, limit)
        trace = context_of(request.scope)
        return ForwardResponse(self._forwarder, ForwardRequest(agent_id, request.headers.raw, trace.headers(), body))


class ForwardResponse:
    """ASGI response: the adapter's answer, for as long as the client is there."""

    def __init__(self, forwarder: Forwarder, request: ForwardRequest) -> None:
        self._forwarder = forwarder
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.create_task(self._answer(send), name=f"forward to {self._request.agent_id}")
        watching = asyncio.create_task(disconnected(receive), name=f"client of {self._request.agent_id}")
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            if not answering.done():
                answering.cancel()
        if answering.done():
            answering.result()
        else:
            await asyncio.wait({answering})

    async def _answer(self, send: Send) -> None:
        started: ForwardedAnswer | None = None
        try:
            async with self._forwarder.forward(self._request) as answer:
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                started = answer
                async for chunk in answer.chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (AdapterDied, AdapterTimeout) as error:
            if started is None:
                raise
            await self._break_off(started.headers, error, send)

    async def _break_off(self, headers: RawHeaders, error: AdapterDied | AdapterTimeout, send: Send) -> None:
        log.warning("Answer broke off", agent_id=self._request.agent_id, error=error.detail)
        if not _is_event_stream(headers):
            # Returning without the end of the body makes the server cut the connection: the client sees it too.
            return
        data = problem_of(error).model_dump_json(exclude_none=True).encode()
        await send({"type": "http.response.body", "body": b"\n\n" + event("error", data)})


def _is_event_stream(headers: RawHeaders) -> bool:
    return any(
        name == b"content-type" and value.startswith(EVENT_STREAM_MEDIA_TYPE.encode()) for name, value in headers
    )
