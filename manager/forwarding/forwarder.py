"""Passes an execute on to a ready instance and its answer back, as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple

from agent_service.contract import CALL_HEADER, TOKEN_HEADER
from agent_service.http.client.answer import Answer, BrokenExchange, RawHeaders
from agent_service.http.client.connection import Connection
from manager.clock import Clock
from manager.errors import AdapterDied, AdapterTimeout, NotReady
from manager.forwarding.alarms import Alarms
from manager.forwarding.exchange import Exchange
from manager.forwarding.headers import towards_client
from manager.forwarding.pool import Pool
from manager.forwarding.request import ForwardRequest
from manager.forwarding.time_limit import TimeLimit
from manager.forwarding.trailers import announced_trailers, trailers_towards_client
from manager.registry.instance import RegisteredInstance
from manager.registry.routing import Admission, Lease, Router

_RECONNECT_SECONDS = 0.05
_TOKEN_NAME = TOKEN_HEADER.lower().encode()
_CALL_NAME = CALL_HEADER.lower().encode()


class ForwardedAnswer(NamedTuple):
    """The adapter's answer, its body still to come. `chunks` raises `AdapterDied` where it breaks off."""

    status: int
    headers: RawHeaders
    chunks: AsyncIterator[bytes]
    trailers: Callable[[], RawHeaders] | None = None
    """Asked after the last chunk; None where none can follow."""


class Forwarder:
    """Chooses the instance through the router; never looks at processes."""

    def __init__(self, router: Router, pool: Pool, clock: Clock, *, tokens: Sequence[str]) -> None:
        self._router = router
        self._pool = pool
        self._clock = clock
        self._alarms = Alarms()
        self._token_headers: list[RawHeaders] = [[(_TOKEN_NAME, token.encode())] for token in tokens] or [[]]

    def forward(self, request: ForwardRequest) -> Forwarding:
        """The answer, while the scope lasts; leaving it early hangs up on the adapter, which cancels the task.

        Entering raises what `Router.lease` raises, `AdapterDied`, `AdapterTimeout` after the agent's
        `executeTimeoutSeconds`, or what the request's own body raises; so does reading on.
        """
        limit = self._router.route(request.agent_id).policy.execute_timeout_seconds
        return Forwarding(self, request, TimeLimit(limit, self._alarms))

    async def send(self, request: ForwardRequest) -> tuple[Lease, Exchange]:
        """Try instances until one has answered, as long as it is certain that none before it has begun the request."""
        began = self._clock.monotonic()
        while True:
            lease = await self._lease(request)
            token = lease.instance.token
            exchange = await self._try(lease, request, began)
            if exchange is not None and not self._is_just_restarting(request, exchange.answer):
                if not self._takes_another_token(lease.instance, token, request, exchange.answer):
                    return lease, exchange
                self.end(lease, exchange)
                continue
            self.end(lease, exchange)
            patience = self._router.route(request.agent_id).policy.queue_while_restarting_seconds
            if self._clock.monotonic() >= began + patience:
                # Not before: for a moment nobody listens in every crash and restart.
                lease.no_answer()
                raise NotReady(
                    f"{request.agent_id} does not accept connections; try again in a moment.",
                    agent_id=request.agent_id,
                )
            await asyncio.sleep(_RECONNECT_SECONDS)

    def end(self, lease: Lease, exchange: Exchange | None) -> None:
        """Let go of the instance, and of the connection, which is kept where it can be."""
        if exchange is not None:
            exchange.stop_sending()
            self._pool.give_back(lease.instance, exchange.connection)
        lease.release()

    async def _lease(self, request: ForwardRequest) -> Lease:
        if request.asked is not None:
            return self._router.visit(request.agent_id, request.asked)
        lease = await self._router.lease(request.agent_id, client=request.client)
        request.timing.queued = (request.timing.queued or 0.0) + lease.queued_seconds
        return lease

    async def _try(self, lease: Lease, request: ForwardRequest, began: float) -> Exchange | None:
        """The exchange, its head received; None where it is certain that the instance has got nothing of it."""
        exchange: Exchange | None = None
        try:
            if request.chosen is not None:
                await request.chosen(lease.instance.instance_id)
            connection = await self._connection(lease, request)
            if connection is None:
                return None
            headers = [*self._token_headers[lease.instance.token], *self._call_header(request, began)]
            exchange = Exchange(connection, request, _authority(lease.instance), headers)
            await self._until_head(lease, exchange, request)
            return exchange
        except BrokenExchange as error:
            if error.untouched and request.is_repeatable:
                return None
            self.end(lease, exchange)
            raise _died(request.agent_id, error) from error
        except BaseException:
            self.end(lease, exchange)
            raise

    async def _until_head(self, lease: Lease, exchange: Exchange, request: ForwardRequest) -> None:
        sent_at = self._clock.monotonic()
        try:
            await exchange.answer.until_head(request.tell_interim)
        except BrokenExchange as error:
            if not error.untouched:
                lease.no_answer()
            raise
        lease.answered()
        request.timing.agent = self._clock.monotonic() - sent_at

    async def _connection(self, lease: Lease, request: ForwardRequest) -> Connection | None:
        """A kept one only for what can be sent again: it may break the moment it is used. None where nobody listens."""
        before = self._clock.monotonic()
        connection = self._pool.take(lease.instance) if request.is_repeatable else None
        if connection is None:
            try:
                if not request.is_repeatable and not lease.instance.is_token_proven:
                    await self._find_token(lease.instance, request)
                connection = await self._pool.connect(lease.instance)
            except OSError:
                return None
        request.timing.connected = self._clock.monotonic() - before
        return connection

    def _call_header(self, request: ForwardRequest, began: float) -> RawHeaders:
        if not request.call:
            return []
        limit = self._router.route(request.agent_id).policy.execute_timeout_seconds
        left = max(0.0, limit - (self._clock.monotonic() - began))
        return [(_CALL_NAME, b"%b;timeout=%.3f" % (request.call.encode(), left))]

    async def _find_token(self, instance: RegisteredInstance, request: ForwardRequest) -> None:
        """Which token it takes, by a question that changes nothing: the body that follows cannot be sent twice."""
        question = replace(request, headers=[], body=b"", asks_first=False, call="token", asked=instance.instance_id)
        for token in range(len(self._token_headers) if len(self._token_headers) > 1 else 0):
            connection = self._pool.take(instance) or await self._pool.connect(instance)
            exchange = Exchange(connection, question, _authority(instance), self._token_headers[token])
            try:
                await exchange.answer.until_head()
            finally:
                self._pool.give_back(instance, connection)
            if exchange.answer.status != HTTPStatus.UNAUTHORIZED:
                instance.token, instance.is_token_proven = token, True
                return

    def _takes_another_token(
        self, instance: RegisteredInstance, used: int, request: ForwardRequest, answer: Answer
    ) -> bool:
        """Whether to ask again with another token: tokens are rotated, and its process is older than the newest."""
        if answer.status != HTTPStatus.UNAUTHORIZED:
            instance.is_token_proven = True
            return False
        if not request.is_repeatable:
            return False
        if instance.token == used and used + 1 < len(self._token_headers):
            instance.token += 1
        return instance.token != used

    def _is_just_restarting(self, request: ForwardRequest, answer: Answer) -> bool:
        # Routed a moment before the restart began: the adapter refused it unexecuted, and its successor is coming.
        return (
            answer.status == HTTPStatus.CONFLICT
            and request.asked is None
            and request.is_repeatable
            and self._router.admission(request.agent_id) is Admission.COMING_BACK
        )


class Forwarding:
    """One request on its way, as an asynchronous context manager.

    Not by contextlib, whose generators cost more per request than choosing the instance does.
    """

    def __init__(self, forwarder: Forwarder, request: ForwardRequest, limit: TimeLimit) -> None:
        self._forwarder = forwarder
        self._request = request
        self._limit = limit
        self._taken: tuple[Lease, Exchange] | None = None

    async def __aenter__(self) -> ForwardedAnswer:
        self._limit.start()
        try:
            self._taken = await self._forwarder.send(self._request)
        except BaseException as error:
            self._leave(error)
            raise
        answer = self._taken[1].answer
        headers = towards_client(answer.headers, answer.status)
        chunks = _Chunks(answer, self._request.agent_id)
        if not self._request.takes_trailers or b"transfer-encoding" not in dict(answer.headers):
            return ForwardedAnswer(answer.status, headers, chunks)
        headers += announced_trailers(answer.headers)
        return ForwardedAnswer(
            answer.status, headers, chunks, lambda: trailers_towards_client(answer.trailers, answer.headers)
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._taken is not None:
            self._forwarder.end(*self._taken)
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        """Stop the clock. Raises `AdapterTimeout` where it has struck."""
        if self._limit.stop(error):
            raise AdapterTimeout(
                f"{self._request.agent_id} did not finish in its executeTimeoutSeconds ({self._limit.seconds:g} s), "
                "and the manager hung up on it; give it less to do, or raise the limit.",
                agent_id=self._request.agent_id,
            ) from error


def _authority(instance: RegisteredInstance) -> bytes:
    return instance.service_url.partition("://")[2].encode()


class _Chunks:
    """The body, its breaking off told as `AdapterDied`."""

    def __init__(self, answer: Answer, agent_id: str) -> None:
        self._answer = answer
        self._agent_id = agent_id

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._answer)
        except BrokenExchange as error:
            raise _died(self._agent_id, error) from error


def _died(agent_id: str, error: BrokenExchange) -> AdapterDied:
    return AdapterDied(
        f"{agent_id} did not answer the request completely: {error}. "
        "Whether the task was done is not known: look at its log before you send it again.",
        agent_id=agent_id,
    )
