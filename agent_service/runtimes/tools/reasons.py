"""Why a server could not be reached, in a few words: from whatever the libraries below raise, alone or in groups."""

from __future__ import annotations

import anyio
import httpx
from mcp.shared.exceptions import McpError

from agent_service.errors import AdapterError
from agent_service.runtimes.tools.http_answers import describe, refusal

_LONGEST = 500
_FORESEEN = (
    *(AdapterError, McpError, OSError, TimeoutError, httpx.HTTPError, httpx.StreamError),
    *(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream),
)


def is_foreseen(error: BaseException) -> bool:
    """It is of the kinds that servers and networks bring about; any other is a bug, here or in a library."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_foreseen(each) for each in error.exceptions)
    return isinstance(error, _FORESEEN)


def reason_of(error: BaseException | str) -> str:
    """Half a sentence whose subject is the server. Neither address nor headers are in it."""
    return str(error)[:_LONGEST] if isinstance(error, str) else _of(_innermost(error))[:_LONGEST]


def _innermost(error: BaseException) -> BaseException:
    """The first one of a group; the others are what it brought about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _of(error: BaseException) -> str:
    match error:
        case AdapterError():
            return str(error)
        case TimeoutError():
            return "it did not get ready in time"
        case httpx.HTTPStatusError():
            return refusal(error.response.status_code)
        case httpx.TransportError():
            return describe(error)
        case McpError():
            return f"it answered with the error {error.error.message!r}"
        case OSError():
            return f"it cannot be started ({error.strerror or error})"
    return f"{type(error).__name__}: {error}"
