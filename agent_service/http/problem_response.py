"""Problem documents (RFC 9457) as responses."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent_service.contract import PROBLEM_MEDIA_TYPE, Problem

# Seconds that the rest of a refused body is read and thrown away for.
LINGER_SECONDS = 2.0


class LingeringResponse(Response):
    """Answers while the client is still sending, then reads on for a while before the connection closes.

    Closing with unread bytes would make the kernel reset the connection, and the client would lose the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b""})


def problem_response(
    problem: Problem, headers: dict[str, str] | None = None, response_class: type[Response] = Response
) -> Response:
    """`problem` with its own status."""
    return response_class(
        problem.model_dump_json(exclude_none=True),
        status_code=problem.status,
        headers=headers,
        media_type=PROBLEM_MEDIA_TYPE,
    )
