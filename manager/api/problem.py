"""The one place where the manager's errors become `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from agent_service.contract import Problem
from agent_service.errors import BodyTooLarge, Refusal
from agent_service.http.problem_response import LingeringResponse, problem_response
from agent_service.plurals import count_text
from manager.errors import (
    AdapterDied,
    AdapterTimeout,
    BadRequest,
    ConfigError,
    Forbidden,
    KeyReused,
    ManagerError,
    NotReady,
    Overloaded,
    PayloadTooLarge,
    StateConflict,
    StoreUnavailable,
    Unauthorized,
    UnknownAgent,
    UnknownInstance,
    UnknownWebhook,
)

STATUS_OF: dict[type[ManagerError], int] = {
    BadRequest: 400,
    Unauthorized: 401,
    Forbidden: 403,
    UnknownAgent: 404,
    UnknownInstance: 404,
    UnknownWebhook: 404,
    StateConflict: 409,
    PayloadTooLarge: 413,
    ConfigError: 422,
    KeyReused: 422,
    Overloaded: 429,
    AdapterDied: 502,
    NotReady: 503,
    StoreUnavailable: 503,
    AdapterTimeout: 504,
}

_DETAILS = {
    404: "There is no such address here; GET /api/openapi.json lists them all.",
    405: "This address does not take {method}; the Allow header names what it takes.",
}

log = structlog.get_logger(__name__)


def status_of(error: ManagerError) -> int:
    """The HTTP status of an error, its nearest class's; 500 for one that was not meant to reach a client."""
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)


def problem_of(error: ManagerError) -> Problem:
    """The document of an error; that of a config names everything that is wrong with it in `errors`."""
    status = status_of(error)
    more: dict[str, Any] = {}
    detail = error.detail
    if isinstance(error, ConfigError):
        wrong = count_text(len(error.issues), "error")
        detail = f"{error.source} has {wrong}, so nothing was changed; correct the file and try again."
        more["errors"] = [asdict(issue) for issue in error.issues]
    return Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        agent_id=error.agent_id,
        state=error.state,
        **more,
    )


def error_response(error: ManagerError) -> Response:
    """The answer to a request that ended in `error`."""
    headers = {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, NotReady | Overloaded) else {}
    return problem_response(problem_of(error), headers)


class Problems:
    """What the middleware that manager and adapter share answers with. `log_file`: where tracebacks are."""

    def __init__(self, log_file: Path) -> None:
        self._log_file = log_file

    def response(self, error: Refusal) -> Response:
        """The answer to a request that was refused before it reached an endpoint, or for its body."""
        problem = Problem(title=HTTPStatus(error.status).phrase, status=error.status, detail=str(error))
        if isinstance(error, BodyTooLarge):
            return problem_response(problem, {"Connection": "close"}, LingeringResponse)
        return problem_response(problem)

    def internal(self) -> Response:
        """The answer when the manager itself failed."""
        detail = f"The manager failed on this request; {self._log_file} has the traceback under this request id."
        return problem_response(Problem(title="Internal Server Error", status=500, detail=detail))

    def handlers(self) -> dict[type[Exception], ExceptionHandler]:
        """Starlette's exception handlers."""

        async def failed(request: Request, error: Exception) -> Response:
            assert isinstance(error, ManagerError)
            if status_of(error) == 500:
                log.error("Unexpected error reached a client", exc_info=error, path=request.url.path)
            return error_response(error)

        async def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, Refusal)
            return self.response(error)

        async def http(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            detail = _DETAILS.get(error.status_code, error.detail).format(method=request.method)
            problem = Problem(title=HTTPStatus(error.status_code).phrase, status=error.status_code, detail=detail)
            return problem_response(problem, dict(error.headers or {}))

        async def left(request: Request, error: Exception) -> Response:
            return error_response(BadRequest("The connection closed before the body was complete; send it again."))

        return {ManagerError: failed, Refusal: refused, HTTPException: http, ClientDisconnect: left}
