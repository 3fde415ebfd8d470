"""An adapter in this process, driven over ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import Message

from agent_service.app import build_app
from agent_service.contract import AdapterStatus, AgentSpec
from agent_service.lifecycle import Lifecycle
from agent_service.manager_address import ManagerAddress
from agent_service.runtimes.dummy import DummyRuntime
from agent_service.runtimes.protocol import Emit, Parameters, Runtime
from agent_service.tasks import Tasks
from agent_service.tracing.port import TaskTracing

STARTED_AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return STARTED_AT


class FunctionRuntime:
    """Runs one coroutine function with the parameters and the emitter."""

    supports_streaming = True

    def __init__(self, function: Callable[[Parameters, Emit | None], Awaitable[Any]]) -> None:
        self._function = function

    async def open(self) -> None: ...

    async def execute(self, parameters: Parameters) -> Any:
        return await self._function(parameters, None)

    async def stream(self, parameters: Parameters, emit: Emit) -> Any:
        return await self._function(parameters, emit)

    async def close(self) -> None: ...


class Adapter:
    """One agent's app with its live parts. Made inside of a running event loop."""

    def __init__(
        self,
        runtime: Runtime | None = None,
        *,
        tokens: tuple[str, ...] = (),
        bound_host: str = "127.0.0.1",
        ready: bool = True,
        lines: list[str] | None = None,
        public_port: int | None = None,
        manager_url: str | None = None,
        tracing: TaskTracing | None = None,
        **spec: Any,
    ) -> None:
        self.manager = ManagerAddress(manager_url)
        self.clock = Clock()
        self.spec = AgentSpec(id="a", name="A", **spec)
        self.lifecycle = Lifecycle(
            AdapterStatus.RUNNING,
            drain_timeout_seconds=self.spec.drain_timeout_seconds,
            hands_over=public_port is not None,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
        )
        self.tasks = Tasks(self.spec, self.lifecycle, now=self.clock.now, monotonic=self.clock.monotonic)
        if ready:
            self.lifecycle.become_ready()

        async def read_log(count: int) -> list[str]:
            if lines is None:
                raise PermissionError(13, "Permission denied")
            return lines[-count:]

        self.app: Starlette = build_app(
            self.spec,
            runtime or DummyRuntime(),
            lifecycle=self.lifecycle,
            tasks=self.tasks,
            instance_id="a-1",
            started_at=STARTED_AT,
            read_log=read_log,
            manager=self.manager,
            tokens=tokens,
            bound_host=bound_host,
            public_port=public_port,
            tracing=tracing,
        )

    def client(self, host: str = "127.0.0.1:8100") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=f"http://{host}")

    async def execute(self, parameters: Parameters | None = None, **options: Any) -> httpx.Response:
        async with self.client() as client:
            return await client.post("/execute", json={"parameters": parameters or {}}, **options)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until the condition holds."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)


class Exchange:
    """One raw ASGI exchange, whose client can go away."""

    def __init__(
        self,
        adapter: Adapter,
        body: bytes | list[bytes],
        *,
        path: str = "/execute",
        headers: dict[str, str] | None = None,
    ) -> None:
        self._adapter = adapter
        self._parts = [body] if isinstance(body, bytes) else list(body)
        self._path = path
        self._headers = {"host": "localhost", **(headers or {})}
        self.gone = asyncio.Event()
        self.sent: list[Message] = []
        self.task = asyncio.create_task(self._run())

    @classmethod
    def executing(cls, adapter: Adapter, parameters: Parameters, *, stream: bool = False) -> Exchange:
        headers = {"accept": "text/event-stream"} if stream else {}
        return cls(adapter, json.dumps({"parameters": parameters}).encode(), headers=headers)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    async def _run(self) -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "root_path": "",
            "http_version": "1.1",
            "scheme": "http",
            "headers": [(key.encode(), value.encode()) for key, value in self._headers.items()],
        }
        await self._adapter.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._parts:
            body = self._parts.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._parts)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def events(text: str) -> list[tuple[str, Any]]:
    """The server-sent events of a whole body, comments left out."""
    found = []
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found
