"""The dashboard on a real server in a thread, over a fleet that the test changes."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from manager.clock import SystemClock
from manager.supervision.views import AgentView
from tests.unit.web.fakes import World

T = TypeVar("T")
DEADLINE_SECONDS = 20


class Site:
    """One run of the manager's web side. `port` is its own unless an earlier run's is taken over."""

    def __init__(self, *views: AgentView, tokens: tuple[str, ...] = (), port: int = 0) -> None:
        self.world = World(*views, tokens=tokens, clock=SystemClock())
        self.executed: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self.gate = asyncio.Event()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._server = uvicorn.Server(self._config())
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"site {self.port}")

    def start(self) -> Site:
        self._thread.start()
        assert self._serving.wait(DEADLINE_SECONDS)
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self.run(self.gate.set)
            self.run(self.world.bus.close)
            self._server.should_exit = True
            self._thread.join(DEADLINE_SECONDS)
            assert not self._thread.is_alive(), "The server did not end after the bus had closed."

    def run(self, work: Callable[[], T]) -> T:
        """Call `work` on the server's event loop, where the fleet lives."""

        async def call() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(DEADLINE_SECONDS)

    def change(self, agent_id: str, **changes: Any) -> None:
        """Change an agent and publish that something happened."""

        def work() -> None:
            self.world.fleet.change(agent_id, **changes)
            self.world.happen(f"{agent_id} changed", agent_id)

        self.run(work)

    def _config(self) -> uvicorn.Config:
        execute = Route("/api/agent-services/{agent_id}/execute", self._execute, methods=["POST"])
        return uvicorn.Config(self.world.app(execute), log_config=None, lifespan="off")

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        async with self.world.running():
            self._loop.call_soon(self._serving.set)
            await self._server.serve(sockets=[self._socket])

    async def _execute(self, request: Request) -> Response:
        """The manager's API as far as the page needs it; waits at the gate where `parameters.wait` says so."""
        parameters = (await request.json())["parameters"]
        self.executed.append({"agent": request.path_params["agent_id"], "parameters": parameters})
        headers = {"X-Request-ID": "req-42"}
        if "fail" in parameters:
            problem = {"type": "about:blank", "title": "Conflict", "status": 409, "detail": parameters["fail"]}
            return JSONResponse(problem, 409, headers, media_type="application/problem+json")
        answer = {"task_id": "t-1", "result": {"echo": parameters}, "duration_ms": 12.4}
        if request.headers["accept"] != "text/event-stream":
            return JSONResponse(answer, headers=headers)
        return StreamingResponse(self._stream(parameters, answer), headers=headers, media_type="text/event-stream")

    async def _stream(self, parameters: dict[str, Any], answer: dict[str, Any]) -> AsyncIterator[str]:
        try:
            for number in range(parameters.get("stream", 0)):
                yield f"event: chunk\r\ndata: {json.dumps({'step': number})}\r\n\r\n"
                if number == 0 and parameters.get("wait"):
                    await self.gate.wait()
            if parameters.get("break"):
                return
            if "late_failure" in parameters:
                answer = {"title": "Internal Server Error", "status": 500, "detail": parameters["late_failure"]}
            yield f"event: {'error' if 'status' in answer else 'result'}\ndata: {json.dumps(answer)}\n\n"
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
