"""`GET /stacks`: what this process is doing at this moment."""

from __future__ import annotations

import asyncio
import os

from starlette.requests import Request
from starlette.responses import Response

from agent_service.lifecycle import utc_now
from agent_service.stack_report import StackReport
from agent_service.task_stacks import MOST_TASKS, task_stacks, thread_stacks
from agent_service.tasks import TASK_NAME, Tasks


class StackEndpoint:
    """It looks at all tasks of the event loop but its own; the agent's come first."""

    def __init__(self, tasks: Tasks, instance_id: str) -> None:
        self._tasks = tasks
        self._instance_id = instance_id

    async def stacks(self, request: Request) -> Response:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        named = sorted(others, key=lambda task: (not task.get_name().startswith(TASK_NAME), task.get_name()))
        report = StackReport(
            instance_id=self._instance_id,
            pid=os.getpid(),
            at=utc_now(),
            tasks=task_stacks(named[:MOST_TASKS], self._tasks.ages()),
            threads=thread_stacks(),
            left_out=max(0, len(named) - MOST_TASKS),
        )
        return Response(report.model_dump_json(), media_type="application/json")
