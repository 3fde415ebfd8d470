"""`POST /execute`: one task in, its result or its stream of events out."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from agent_service.contract import AgentSpec
from agent_service.errors import BadRequest, Refusal, TaskCancelled
from agent_service.event_stream import Chunks, EventStream, answer_json
from agent_service.http.body import json_type, read_object
from agent_service.http.disconnect import disconnected
from agent_service.http.event_stream import wants_stream
from agent_service.http.parting import arrived_at
from agent_service.problems import Problems
from agent_service.runtimes.protocol import Parameters, Runtime
from agent_service.tasks import Job, Tasks
from agent_service.tracing.port import TaskTracing

EXAMPLE = '{"parameters": {}}'


class Execute:
    """The endpoint. A client that goes away cancels its task, unless the spec says otherwise."""

    def __init__(
        self,
        spec: AgentSpec,
        runtime: Runtime,
        tasks: Tasks,
        problems: Problems,
        public_port: int | None,
        tracing: TaskTracing,
    ) -> None:
        self._max_bytes = spec.max_body_bytes
        self._cancel_on_disconnect = spec.cancel_on_disconnect
        self._runtime = runtime
        self._tasks = tasks
        self._problems = problems
        self._public_port = public_port
        self._tracing = tracing

    async def endpoint(self, request: Request) -> Response | ASGIApp:
        """Answer one request. Raises a `Refusal` for every answer but 200."""
        # Asked twice on purpose: before a long upload, and again by `submit` after it.
        is_public = arrived_at(request.scope, self._public_port)
        self._tasks.check_open(is_public=is_public)
        parameters = parameters_of(await read_object(request, self._max_bytes, example=EXAMPLE))
        if wants_stream(request):
            return await self._stream(request, parameters, is_public)
        work = self._tracing.traced(request.scope, lambda: self._runtime.execute(parameters))
        job = self._tasks.submit(work, is_public=is_public)
        await self._until_settled(request, job, job.answer)
        return self._answer(job)

    async def _stream(self, request: Request, parameters: Parameters, is_public: bool) -> Response | ASGIApp:
        chunks = Chunks()
        work = self._tracing.traced(request.scope, lambda: self._runtime.stream(parameters, chunks.put))
        job = self._tasks.submit(work, is_public=is_public)
        started = asyncio.create_task(job.started.wait(), name=f"start of {job.task_id}")
        try:
            await self._until_settled(request, job, started)
        finally:
            started.cancel()
        if not job.started.is_set():
            # Cancelled in the queue: a plain problem, since no event has been sent yet.
            return self._answer(job)
        return EventStream(job, chunks, self._problems, lambda: self._left(job))

    async def _until_settled(self, request: Request, job: Job, event: asyncio.Future[Any]) -> None:
        """Until `event`, the job's answer or the client's leaving, whichever is first."""
        watcher = asyncio.create_task(disconnected(request.receive), name=f"disconnect of {job.task_id}")
        waited: set[asyncio.Future[Any]] = {event, job.answer}
        try:
            await asyncio.wait({*waited, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not any(future.done() for future in waited):
                self._left(job)
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watcher.cancel()

    def _answer(self, job: Job) -> Response:
        """Raises the refusal of a job that never began."""
        error = job.answer.exception()
        if not job.started.is_set() or not isinstance(error, Refusal):
            return Response(answer_json(job.task_id, job.answer.result()), media_type="application/json")
        return self._problems.response(error, task_id=job.task_id)

    def _left(self, job: Job) -> None:
        if self._cancel_on_disconnect:
            job.cancel(TaskCancelled("The client went away before its answer was ready."))


def parameters_of(body: dict[str, Any]) -> Parameters:
    """The `parameters` object of the body. Raises `BadRequest`."""
    if "parameters" not in body:
        raise BadRequest(f'The body has no "parameters"; send a JSON object such as {EXAMPLE}.')
    parameters = body["parameters"]
    if not isinstance(parameters, dict):
        raise BadRequest(
            f'"parameters" is {json_type(parameters)}, not an object; send a JSON object such as {EXAMPLE}.'
        )
    return parameters
