"""What an agent's processes are doing at this moment."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from manager.api.operation import Operation, json_response
from manager.supervision.stack_inspection import AgentStacks, StackInspection


class Stacks:
    """The endpoint; it asks the inspection."""

    def __init__(self, inspection: StackInspection) -> None:
        self._inspection = inspection

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation(
                "GET",
                "/api/agent-services/{agent_id}/stacks",
                "What the agent's processes are doing now: stacks of their tasks and threads",
                self.stacks,
                AgentStacks,
                problems=(404, 409),
                guarded=True,
            )
        ]

    async def stacks(self, request: Request) -> Response:
        return json_response(await self._inspection.stacks(request.path_params["agent_id"]))
