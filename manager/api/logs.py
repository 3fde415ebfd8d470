"""`GET /api/agent-services/{id}/logs`: the manager reads the file itself, so it answers when the adapter is down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import LogLines
from manager.api.operation import Operation, QueryParameter, json_response, whole_number
from manager.errors import StoreUnavailable
from manager.supervision.fleet import Fleet

_DEFAULT_LINES = 200
_MAX_LINES = 10_000


class Logs:
    """`tail` is (agent id, lines) → the newest lines, oldest first."""

    def __init__(self, fleet: Fleet, tail: Callable[[str, int], Awaitable[list[str]]]) -> None:
        self._fleet = fleet
        self._tail = tail

    def operations(self) -> list[Operation]:
        """What this module serves."""
        lines = {"type": "integer", "minimum": 1, "maximum": _MAX_LINES, "default": _DEFAULT_LINES}
        return [
            Operation(
                "GET",
                "/api/agent-services/{agent_id}/logs",
                "The newest lines of the agent's log, oldest first",
                self.logs,
                LogLines,
                problems=(400, 404, 503),
                query=(QueryParameter("lines", "How many.", lines),),
                guarded=True,
            )
        ]

    async def logs(self, request: Request) -> Response:
        agent_id = self._fleet.agent(request.path_params["agent_id"]).id
        lines = whole_number(request, "lines", default=_DEFAULT_LINES, lowest=1, highest=_MAX_LINES)
        assert lines is not None
        try:
            return json_response(LogLines(lines=await self._tail(agent_id, lines)))
        except OSError as error:
            raise StoreUnavailable(
                f"The log of {agent_id} cannot be read ({error.strerror}); mend the file's permissions.",
                agent_id=agent_id,
            ) from error
