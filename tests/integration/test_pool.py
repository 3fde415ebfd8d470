"""Connections that are kept, on real sockets: when they may be used again, and what is known when they break."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from agent_service.http.client.answer import BrokenExchange
from agent_service.http.client.connection import Connection
from agent_service.http.client.connector import Connector
from agent_service.http.server import loop_factory
from manager.clock import SystemClock
from manager.forwarding import pool as pool_module
from manager.forwarding.pool import Pool
from manager.registry.instance import RegisteredInstance

HEAD = b"POST /execute HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LOOPS = [pytest.param(None, id="asyncio"), pytest.param(loop_factory(), id="uvloop")]
_SECONDS = 30.0

Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[int]:
    """The port of one that serves each connection on a thread of its own."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(_SECONDS)
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    threads: list[threading.Thread] = []
    listener = socket.create_server(("127.0.0.1", 0))
    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in [accepting, *threads]:
            thread.join(_SECONDS)


def instance(port: int, instance_id: str = "i-1") -> RegisteredInstance:
    now = datetime.now(UTC)
    return RegisteredInstance("echo", instance_id, f"http://127.0.0.1:{port}", {}, now, now, 0)


def pooled(scenario: Callable[[Pool], Coroutine[Any, Any, None]], factory: Any = None) -> None:
    async def whole() -> None:
        pool = Pool(SystemClock(), Connector())
        try:
            async with asyncio.timeout(_SECONDS):
                await scenario(pool)
        finally:
            pool.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(whole())


async def ask(connection: Connection) -> bytes:
    answer = connection.begin(HEAD, b"{}")
    await answer.until_head()
    return b"".join([piece async for piece in answer])


def answering(times: int, then: threading.Event | None = None) -> Serve:
    """Answers so many requests, closes, and says so."""

    def serve(connection: socket.socket) -> None:
        with connection:
            for _ in range(times):
                if not connection.recv(65536):
                    return
                connection.sendall(OK)
        if then is not None:
            then.set()

    return serve


@pytest.mark.parametrize("factory", LOOPS)
def test_a_connection_comes_back_to_its_own_instance_only(factory: Any) -> None:
    async def scenario(pool: Pool) -> None:
        connection = await pool.connect(instance(port))
        assert await ask(connection) == b"hi"
        pool.give_back(instance(port), connection)
        # The successor may well be at the same address.
        assert pool.take(instance(port, "i-2")) is None
        assert pool.take(instance(port)) is connection
        assert pool.take(instance(port)) is None
        connection.abort()

    with server(answering(10)) as port:
        pooled(scenario, factory)


@pytest.mark.parametrize("factory", LOOPS)
def test_a_connection_that_the_adapter_has_closed_is_not_used_though_the_loop_has_not_seen_it(factory: Any) -> None:
    async def scenario(pool: Pool) -> None:
        connection = await pool.connect(instance(port))
        assert await ask(connection) == b"hi"
        pool.give_back(instance(port), connection)
        # The loop gets no turn in between: only the kernel knows.
        assert closed.wait(_SECONDS)
        assert pool.take(instance(port)) is None

    closed = threading.Event()
    with server(answering(1, then=closed)) as port:
        pooled(scenario, factory)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was acknowledged")
@pytest.mark.parametrize("factory", LOOPS)
def test_a_request_that_met_a_closed_connection_has_provably_reached_nobody(factory: Any) -> None:
    async def scenario(pool: Pool) -> None:
        connection = await pool.connect(instance(port))
        assert await ask(connection) == b"hi"
        pool.give_back(instance(port), connection)
        assert closed.wait(_SECONDS)
        # As if the adapter had closed it just after it was looked at.
        with pytest.raises(BrokenExchange) as broken:
            await ask(connection)
        assert broken.value.untouched

    closed = threading.Event()
    with server(answering(1, then=closed)) as port:
        pooled(scenario, factory)


@pytest.mark.parametrize("factory", LOOPS)
@pytest.mark.parametrize("is_orderly", [True, False], ids=["closes", "resets"])
def test_a_request_that_the_adapter_may_have_read_counts_as_taken(factory: Any, is_orderly: bool) -> None:
    def serve(connection: socket.socket) -> None:
        with connection:
            assert connection.recv(65536)
            connection.sendall(OK)
            # Reading one byte, or none, before it closes: the rest makes the kernel reset.
            connection.recv(65536 if is_orderly else 1)

    async def scenario(pool: Pool) -> None:
        connection = await pool.connect(instance(port))
        assert await ask(connection) == b"hi"
        with pytest.raises(BrokenExchange) as broken:
            await ask(connection)
        assert not broken.value.untouched

    with server(serve) as port:
        pooled(scenario, factory)


def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(connection: socket.socket) -> None:
        answering(10)(connection)
        gone.set()

    async def scenario(pool: Pool) -> None:
        connection = await pool.connect(instance(port))
        await ask(connection)
        pool.give_back(instance(port), connection)
        assert await asyncio.to_thread(gone.wait, _SECONDS)
        assert pool.take(instance(port)) is None

    gone = threading.Event()
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(pool_module, "SWEEP_SECONDS", 0.02)
    with server(serve) as port:
        pooled(scenario)


def test_no_more_connections_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(pool: Pool) -> None:
        connections = [await pool.connect(instance(port)) for _ in range(3)]
        for connection in connections:
            await ask(connection)
        for connection in connections:
            pool.give_back(instance(port), connection)
        assert [connection.is_closed for connection in connections] == [False, False, True]

    monkeypatch.setattr(pool_module, "MAX_IDLE_PER_INSTANCE", 2)
    with server(answering(10)) as port:
        pooled(scenario)


def test_nothing_is_kept_for_an_instance_that_drains() -> None:
    async def scenario(pool: Pool) -> None:
        draining = instance(port)
        connection = await pool.connect(draining)
        await ask(connection)
        draining.draining = True
        pool.give_back(draining, connection)
        assert connection.is_closed

    with server(answering(10)) as port:
        pooled(scenario)
