"""What the clients of a soak do, and what is done to its agents."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from scripts.benchmarks.client import HOST, Connection, ask, connect

# These must never fail: two instances each, one of them restarted again and again.
STEADY, RESTARTED = "steady", "restarted"
# This one is killed; what it was working on is lost, and that is said.
KILLED = "killed"
ALLOWED = {STEADY: {200}, RESTARTED: {200}, KILLED: {200, 502, 503}}

_RESTART_SECONDS = 5.0
_KILL_SECONDS = 7.0
_STREAM = b'{"parameters": {"stream": 200, "sleep_ms": 2, "text": "' + b"x" * 500 + b'"}}'


class Load:
    """Many clients of one manager at `port`. `answers` counts (agent, status); `wrong` are those that must not be."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)
        self.answers: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []
        self.disturbances: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """All of it for so long; then what has begun is finished."""
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, over.set)
        clients: list[Callable[[], Awaitable[None]]] = [
            *([self._steady(STEADY), self._steady(RESTARTED), self._steady(KILLED)] * 4),
            *([self._hang_up, self._read_slowly] * 4),
        ]
        await asyncio.gather(
            *(self._repeat(client, over) for client in clients),
            self._every(_RESTART_SECONDS, self._restart, over),
            self._every(_KILL_SECONDS, self._kill, over),
        )

    async def _repeat(self, work: Callable[[], Awaitable[None]], over: asyncio.Event) -> None:
        while not over.is_set():
            await work()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]], over: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await over.wait()
                return
            await work()

    def _steady(self, agent_id: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            connection = await connect(self._port)
            try:
                for _ in range(self._random.randint(1, 50)):
                    await self._execute(connection, agent_id)
            except ConnectionError as error:
                self.wrong.append(f"{agent_id}: the manager broke the connection ({error})")
            finally:
                connection.close()

        return work

    async def _execute(self, connection: Connection, agent_id: str) -> None:
        size = self._random.choice((10, 1_000, 100_000))
        parameters = {"sleep_ms": self._random.choice((0, 0, 5, 30)), "text": "x" * size}
        answer = await connection.request("POST", _path(agent_id), {"parameters": parameters})
        self.answers[agent_id, answer.status] += 1
        if answer.status not in ALLOWED[agent_id]:
            self.wrong.append(f"{agent_id}: {answer.status} {answer.body[:200].decode(errors='replace')}")

    async def _hang_up(self) -> None:
        """Anywhere in a request, or some time into its answer."""
        _, writer = await asyncio.open_connection(HOST, self._port)
        request = _request(STEADY, b'{"parameters": {"sleep_ms": 200}}')
        sent = self._random.randint(0, len(request) * 2)
        writer.write(request[:sent])
        await asyncio.sleep(self._random.uniform(0, 0.05))
        writer.transport.abort()
        self.disturbances["clients that hung up"] += 1

    async def _read_slowly(self) -> None:
        """A stream, a little at a time, and sometimes not to its end."""
        reader, writer = await asyncio.open_connection(HOST, self._port, limit=1024)
        writer.write(_request(STEADY, _STREAM, "Accept: text/event-stream\r\n"))
        data = b""
        for _ in range(self._random.randint(5, 60)):
            piece = await reader.read(512)
            data += piece
            if not piece or data.endswith(b"0\r\n\r\n"):
                break
            await asyncio.sleep(0.01)
        if not data.startswith(b"HTTP/1.1 200 "):
            self.wrong.append(f"{STEADY}: a stream began with {data[:200]!r}")
        writer.transport.abort()
        self.disturbances["slow readers"] += 1

    async def _restart(self) -> None:
        answer = await ask(self._port, "POST", f"/api/agent-services/{RESTARTED}/action", {"action": "restart"})
        # 409: the one before is not over yet.
        if answer.status not in (202, 409):
            self.wrong.append(f"restart: {answer.status} {answer.body!r}")
        self.disturbances["restarts"] += 1

    async def _kill(self) -> None:
        row = (await ask(self._port, "GET", f"/api/agent-services/{KILLED}")).json()
        if row["pid"] is not None:
            with suppress(ProcessLookupError):
                os.kill(row["pid"], signal.SIGKILL)
            self.disturbances["kills"] += 1


def _path(agent_id: str) -> str:
    return f"/api/agent-services/{agent_id}/execute"


def _request(agent_id: str, body: bytes, headers: str = "") -> bytes:
    head = f"POST {_path(agent_id)} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body
