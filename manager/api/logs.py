"""`GET /api/agent-services/{id}/logs`: the manager reads the file itself, so it answers when the adapter is down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from starlette.requests import Request
from starlette.responses import Response

from manager.api.operation import Operation, QueryParameter, json_response, whole_number
from manager.errors import StoreUnavailable
from manager.supervision.fleet import Fleet
from manager.telemetry.logs import AgentLog

_DEFAULT_LINES = 200
_MAX_LINES = 10_000


class Logs:
    """`read` is (agent id, lines, pids of its processes) → the newest lines, oldest first."""

    def __init__(self, fleet: Fleet, read: Callable[[str, int, Collection[int]], Awaitable[AgentLog]]) -> None:
        self._fleet = fleet
        self._read = read

    def operations(self) -> list[Operation]:
        """What this module serves."""
        lines = {"type": "integer", "minimum": 1, "maximum": _MAX_LINES, "default": _DEFAULT_LINES}
        return [
            Operation(
                "GET",
                "/api/agent-services/{agent_id}/logs",
                "The newest lines of the agent's log, oldest first",
                self.logs,
                AgentLog,
                problems=(400, 404, 503),
                query=(QueryParameter("lines", "How many.", lines),),
                guarded=True,
            )
        ]

    async def logs(self, request: Request) -> Response:
        agent = self._fleet.agent(request.path_params["agent_id"])
        lines = whole_number(request, "lines", default=_DEFAULT_LINES, lowest=1, highest=_MAX_LINES)
        assert lines is not None
        try:
            pids = [instance.pid for instance in agent.instances if instance.pid is not None]
            return json_response(await self._read(agent.id, lines, pids), exclude_none=True)
        except OSError as error:
            raise StoreUnavailable(
                f"The log of {agent.id} cannot be read ({error.strerror}); mend the file's permissions.",
                agent_id=agent.id,
            ) from error
