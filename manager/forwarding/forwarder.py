"""Passes an execute on to a ready instance and its answer back, as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from agent_service.contract import TOKEN_HEADER
from manager.clock import Clock
from manager.errors import AdapterDied, AdapterTimeout, NotReady
from manager.forwarding.headers import RawHeaders, towards_adapter, towards_client
from manager.registry.instance import RegisteredInstance
from manager.registry.routing import Admission, Router

_RECONNECT_SECONDS = 0.05
_CONNECT_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class ForwardRequest:
    """What goes to the adapter. `trace_headers` replace the client's own."""

    agent_id: str
    headers: RawHeaders
    trace_headers: RawHeaders
    body: bytes


@dataclass(frozen=True)
class ForwardedAnswer:
    """The adapter's answer, its body still to come. `chunks` raises `AdapterDied` where it breaks off."""

    status: int
    headers: RawHeaders
    chunks: AsyncIterator[bytes]


def make_client() -> httpx.AsyncClient:
    """The client for forwarding: a connection for each request.

    On a connection that was kept open, an adapter's restart between two requests cannot be told from its death
    during the second; on a fresh one, a refused connect proves that nothing was sent.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT_SECONDS)
    return httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)


class Forwarder:
    """Chooses the instance through the router; never looks at processes."""

    def __init__(self, router: Router, client: httpx.AsyncClient, clock: Clock, *, token: str | None) -> None:
        self._router = router
        self._client = client
        self._clock = clock
        self._token_headers: RawHeaders = [(TOKEN_HEADER.lower().encode(), token.encode())] if token else []

    @asynccontextmanager
    async def forward(self, request: ForwardRequest) -> AsyncIterator[ForwardedAnswer]:
        """The answer, while the scope lasts; leaving it early hangs up on the adapter, which cancels the task.

        Raises `UnknownAgent`, `StateConflict`, `NotReady`, `AdapterDied`, or `AdapterTimeout` after the agent's
        `executeTimeoutSeconds`.
        """
        limit = self._router.route(request.agent_id).policy.execute_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                instance, response = await self._send(request)
                try:
                    headers = towards_client(response.headers.raw)
                    yield ForwardedAnswer(response.status_code, headers, _chunks(response, request.agent_id))
                finally:
                    instance.forwarding -= 1
                    await response.aclose()
        except TimeoutError as error:
            raise AdapterTimeout(
                f"{request.agent_id} did not finish within its executeTimeoutSeconds ({limit:g} s), and the manager "
                "hung up on it; give it less to do, or raise the limit.",
                agent_id=request.agent_id,
            ) from error

    async def _send(self, request: ForwardRequest) -> tuple[RegisteredInstance, httpx.Response]:
        """Try ready instances until one has taken the request, as long as it is certain that none began it."""
        give_up = self._clock.monotonic() + self._router.route(request.agent_id).policy.queue_while_restarting_seconds
        while True:
            instance = await self._router.acquire(request.agent_id)
            response = await self._try(instance, request)
            if response is not None and not self._is_just_restarting(request.agent_id, response):
                return instance, response
            instance.forwarding -= 1
            if response is not None:
                await response.aclose()
            if self._clock.monotonic() >= give_up:
                raise NotReady(
                    f"{request.agent_id} does not accept connections; try again in a moment.",
                    agent_id=request.agent_id,
                )
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _try(self, instance: RegisteredInstance, request: ForwardRequest) -> httpx.Response | None:
        """The response's head, or None where the connection was refused. Counts the request as in flight."""
        # Not by the client's `build_request`, which would add headers of its own.
        headers = [*towards_adapter(request.headers), *request.trace_headers, *self._token_headers]
        instance.forwarding += 1
        try:
            url = f"{instance.service_url}/execute"
            outgoing = httpx.Request("POST", url, headers=headers, content=request.body)
            return await self._client.send(outgoing, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            instance.forwarding -= 1
            raise _died(request.agent_id, error) from error
        except BaseException:
            instance.forwarding -= 1
            raise

    def _is_just_restarting(self, agent_id: str, response: httpx.Response) -> bool:
        # Routed a moment before the restart began: the adapter refused it unexecuted, and its successor is coming.
        return response.status_code == 409 and self._router.admission(agent_id) is Admission.COMING_BACK


async def _chunks(response: httpx.Response, agent_id: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.HTTPError as error:
        raise _died(agent_id, error) from error


def _died(agent_id: str, error: Exception) -> AdapterDied:
    return AdapterDied(
        f"{agent_id} broke the connection before its answer was complete ({str(error) or type(error).__name__}). "
        "Whether the task was done is not known: look at its log before you send it again.",
        agent_id=agent_id,
    )
