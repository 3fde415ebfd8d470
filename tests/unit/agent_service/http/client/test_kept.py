"""A kept connection's requests, answered by hand."""

from __future__ import annotations

import asyncio

import pytest

from agent_service.http.client.answer import BrokenExchange
from agent_service.http.client.connection import Connection
from agent_service.http.client.kept import KeptConnection, Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Transport:
    """Answers what is written from a script; at its end, and where that says None, it hangs up."""

    def __init__(self, connection: Connection, script: list[bytes | None]) -> None:
        self._connection = connection
        self._script = script
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)
        answer = self._script.pop(0) if self._script else None
        loop = asyncio.get_running_loop()
        if answer is None:
            loop.call_soon(self._connection.connection_lost, None)
        else:
            loop.call_soon(self._connection.data_received, answer)

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None:
        raise AssertionError("The answers are short.")

    def resume_reading(self) -> None:
        raise AssertionError("Nothing was paused.")

    def get_extra_info(self, name: str) -> None:
        return None


class Played(Connection):
    """One that is usable until it is aborted: the kernel is not asked."""

    def is_usable(self) -> bool:
        return not self.is_closed


class Server:
    """Each connection plays the next script."""

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self._scripts = list(scripts)
        self.transports: list[Transport] = []
        self.urls: list[str] = []

    async def connect(self, url: str) -> Connection:
        self.urls.append(url)
        connection = Played()
        self.transports.append(Transport(connection, self._scripts.pop(0)))
        connection.connection_made(self.transports[-1])  # type: ignore[arg-type]
        return connection


def test_the_request_is_whole_and_the_answer_too() -> None:
    async def scenario() -> None:
        server = Server([OK])
        reply = await KeptConnection(server.connect, {"X-Token": "t"}).post("http://manager:8000/a/b", b"{}")
        assert reply == Reply(200, b"hi")
        assert server.transports[0].written == [
            b"POST /a/b HTTP/1.1\r\nHost: manager:8000\r\nContent-Length: 2\r\nX-Token: t\r\n\r\n{}"
        ]

    asyncio.run(scenario())


def test_the_next_request_goes_over_the_same_connection_until_it_is_closed() -> None:
    async def scenario() -> None:
        server = Server([OK, OK, OK])
        http = KeptConnection(server.connect, {})
        for _ in range(3):
            await http.post("http://manager/a", b"")
        assert len(server.transports) == 1
        http.close()
        assert server.transports[0].is_aborted

    asyncio.run(scenario())


def test_another_server_gets_another_connection_and_the_first_is_closed() -> None:
    async def scenario() -> None:
        server = Server([OK], [OK])
        http = KeptConnection(server.connect, {})
        await http.post("http://one/a", b"")
        await http.post("http://two/a", b"")
        assert server.urls == ["http://one/a", "http://two/a"]
        assert server.transports[0].is_aborted

    asyncio.run(scenario())


def test_a_kept_connection_that_breaks_is_replaced_and_the_request_repeated() -> None:
    async def scenario() -> None:
        server = Server([OK, None], [OK])
        http = KeptConnection(server.connect, {})
        await http.post("http://manager/a", b"")
        assert await http.post("http://manager/a", b"x") == Reply(200, b"hi")
        assert len(server.transports) == 2

    asyncio.run(scenario())


def test_a_new_connection_that_breaks_is_told() -> None:
    async def scenario() -> None:
        server = Server([None], [OK])
        http = KeptConnection(server.connect, {})
        with pytest.raises(BrokenExchange):
            await http.post("http://manager/a", b"")
        assert len(server.transports) == 1

    asyncio.run(scenario())


def test_a_connection_whose_answer_nobody_waited_for_is_closed() -> None:
    async def scenario() -> None:
        server = Server([b"HTTP/1.1 200 OK\r\n"], [OK])
        http = KeptConnection(server.connect, {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await http.post("http://manager/a", b"")
        assert server.transports[0].is_aborted
        assert await http.post("http://manager/a", b"") == Reply(200, b"hi")

    asyncio.run(scenario())
