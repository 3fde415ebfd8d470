"""What `GET /stacks` answers, as both sides know it. Imports pydantic and the standard library only."""

from __future__ import annotations

from pydantic import Field

from agent_service.contract import InstanceId, Timestamp, WireModel


class StackFrame(WireModel):
    """One call. `code`: the line of source, where it can be read; values of variables are never shown."""

    file: str
    line: int
    function: str
    code: str | None = None


class TaskStack(WireModel):
    """One asyncio task. `stack`: outermost call first, down to what it awaits, which `waits_for` names.

    The ids are those of the request that it serves; `age_seconds`: for how long the agent's task of that id has run.
    """

    name: str
    task_id: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    age_seconds: float | None = None
    waits_for: str | None = None
    stack: list[StackFrame] = Field(default_factory=list)


class ThreadStack(WireModel):
    """One thread, but for that of the event loop while it answers. `stack`: outermost call first."""

    name: str
    stack: list[StackFrame] = Field(default_factory=list)


class StackReport(WireModel):
    """What a process is doing at this moment. `left_out`: tasks beyond those that are listed."""

    instance_id: InstanceId
    pid: int
    at: Timestamp
    tasks: list[TaskStack]
    threads: list[ThreadStack]
    left_out: int = 0
