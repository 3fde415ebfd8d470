"""`inspect`: what a live agent's processes are doing, without stopping them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from manager.cli.options import AgentArgument, AsJson, Url
from manager.cli.output import duration, print_json, print_line, printable
from manager.cli.session import session_of

if TYPE_CHECKING:
    from agent_service.stack_report import StackFrame, TaskStack
    from manager.supervision.stack_inspection import InstanceStacks


def inspect(context: typer.Context, agent_id: AgentArgument, as_json: AsJson = False, url: Url = None) -> None:
    """Show the stacks of an agent's tasks and threads, innermost call last."""
    with session_of(context).connect(url) as manager:
        answer = manager.stacks(agent_id)
        if as_json:
            print_json(answer)
            return
        found = manager.parse_stacks(answer)
    for instance in found.instances:
        for line in _instance_lines(instance):
            print_line(printable(line))
    if all(instance.source is None for instance in found.instances):
        raise typer.Exit(1)


def _instance_lines(instance: InstanceStacks) -> Iterator[str]:
    yield f"instance {instance.instance_id} (pid {instance.pid or 'unknown'})"
    if instance.note:
        yield f"  {instance.note}"
    for task in instance.tasks:
        yield f"  task {task.name}{_what_for(task)}"
        yield from _frame_lines(task.stack)
        if task.waits_for:
            yield f"      waits for {task.waits_for}"
    if instance.left_out:
        yield f"  and {instance.left_out} more tasks"
    for thread in instance.threads:
        yield f"  thread {thread.name}"
        yield from _frame_lines(thread.stack)


def _what_for(task: TaskStack) -> str:
    told = [f"{word} {value}" for word, value in (("task", task.task_id), ("request", task.request_id)) if value]
    if task.age_seconds is not None:
        told.append(f"running for {duration(task.age_seconds)}")
    return f" ({', '.join(told)})" if told else ""


def _frame_lines(frames: list[StackFrame]) -> Iterator[str]:
    for frame in frames:
        yield f"    {frame.file}:{frame.line} in {frame.function}"
        if frame.code:
            yield f"        {frame.code}"
