"""The one place where errors become `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from agent_service.contract import TASK_ID_HEADER, Problem
from agent_service.errors import BadRequest, BodyTooLarge, Refusal
from agent_service.http.problem_response import LingeringResponse, problem_response
from agent_service.lifecycle import Lifecycle

_DETAILS = {
    404: "There is no such address here; see /health, /info, /status, /execute, /action, /logs, /metrics, "
    "/reload, /threads and /tracing.",
    405: "This address does not take {method}; the Allow header names what it takes.",
}


class Problems:
    """Makes the problem documents of one agent: each carries its id and its state."""

    def __init__(self, agent_id: str, lifecycle: Lifecycle) -> None:
        self._agent_id = agent_id
        self._lifecycle = lifecycle

    def document(self, status: int, detail: str, *, task_id: str | None = None) -> Problem:
        """A problem whose title is the name of the HTTP status; `task_id`: of the task whose answer it is."""
        return Problem(
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            agent_id=self._agent_id,
            state=self._lifecycle.status.value,
            task_id=task_id,
        )

    def of(self, error: Refusal, *, task_id: str | None = None) -> Problem:
        """The document of a refusal, by a task that had begun where `task_id` is given."""
        return self.document(error.status, str(error), task_id=task_id)

    def response(self, error: Refusal, *, task_id: str | None = None) -> Response:
        """The answer to a refused request, or of a task that had begun and has no result."""
        headers = {} if task_id is None else {TASK_ID_HEADER: task_id}
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(error.retry_after_seconds)
        if isinstance(error, BodyTooLarge):
            headers["Connection"] = "close"
            return problem_response(self.of(error, task_id=task_id), headers, LingeringResponse)
        return problem_response(self.of(error, task_id=task_id), headers)

    def internal(self) -> Response:
        """The answer when the adapter itself failed."""
        return problem_response(
            self.document(500, "The adapter failed on this request; its log has the traceback under this request id.")
        )

    def handlers(self) -> dict[type[Exception], ExceptionHandler]:
        """Starlette's exception handlers."""

        async def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, Refusal)
            return self.response(error)

        async def http(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            detail = _DETAILS.get(error.status_code, error.detail).replace("{method}", request.method)
            return problem_response(self.document(error.status_code, detail), dict(error.headers or {}))

        async def left(request: Request, error: Exception) -> Response:
            return self.response(BadRequest("The connection closed before the body was complete; send it again."))

        return {Refusal: refused, HTTPException: http, ClientDisconnect: left}
