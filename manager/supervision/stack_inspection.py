"""What an agent's processes are doing at this moment: asked of each of them, and of one that hangs by a signal.

An event loop that is blocked answers nothing. Its process then writes the stacks of its threads into its log, from
where they are read: an adapter of ours does so on SIGUSR1, whatever it is busy with.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agent_service.contract import Timestamp
from agent_service.log_tail import tail
from agent_service.stack_report import StackFrame, StackReport, TaskStack, ThreadStack
from manager.adapter_client import AdapterClient
from manager.errors import AdapterDied, AdapterTimeout, StateConflict
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.stack_dump import request_stacks
from manager.supervision.views import AgentView, InstanceView

ANSWER_SECONDS = 2.0
DUMP_SECONDS = 3.0
_LOOK_SECONDS = 0.1
_DUMP_BYTES = 1024 * 1024

# As faulthandler writes them: https://docs.python.org/3/library/faulthandler.html
_THREAD = re.compile(r"(Current thread|Thread) (0x[0-9a-f]+)(?: \[(.*)\])? \(most recent call first\):")
_FRAME = re.compile(r'  File "(.+)", line (\d+) in (.+)')


class InstanceStacks(BaseModel):
    """One process. `source`: it answered itself, or wrote its threads' stacks down when a signal asked for them; null
    where neither could be had, which `note` explains. `left_out`: tasks beyond those that are listed.
    """

    model_config = ConfigDict(frozen=True)

    instance_id: str
    pid: int | None
    source: Literal["adapter", "signal"] | None
    note: str | None = None
    at: Timestamp | None = None
    tasks: list[TaskStack] = []
    threads: list[ThreadStack] = []
    left_out: int = 0


class AgentStacks(BaseModel):
    """Answer of `GET /api/agent-services/{id}/stacks`: every process of the agent, oldest first."""

    model_config = ConfigDict(frozen=True)

    agent_id: str
    instances: list[InstanceStacks]


class StackInspection:
    """`view_of`: the manager's view of an agent; `adapters_of`: the processes of ours that obey the signal.

    `announce` (agent id, instance id) writes into the agent's log that stacks follow.
    """

    def __init__(
        self,
        view_of: Callable[[str], AgentView],
        adapters_of: Callable[[str], Iterable[ManagedInstance]],
        adapters: AdapterClient,
        log_file: Callable[[str], Path],
        announce: Callable[[str, str], None],
    ) -> None:
        self._view_of = view_of
        self._adapters_of = adapters_of
        self._adapters = adapters
        self._log_file = log_file
        self._announce = announce

    async def stacks(self, agent_id: str) -> AgentStacks:
        """Of all its processes. Raises `UnknownAgent`, and `StateConflict` where there is none to look into."""
        view = self._view_of(agent_id)
        if view.sidecar:
            why = "is a sidecar, a program of its own: py-spy or gdb can look into it"
            raise StateConflict(f"{agent_id} {why}.", agent_id=agent_id, state=view.state)
        if not view.instances:
            why = f"{view.state.in_words} and has no process to look into; its log tells what it did last"
            raise StateConflict(f"{agent_id} {why}.", agent_id=agent_id, state=view.state)
        # One after the other: they write into one log.
        return AgentStacks(agent_id=agent_id, instances=[await self._of(agent_id, each) for each in view.instances])

    async def _of(self, agent_id: str, instance: InstanceView) -> InstanceStacks:
        if instance.service_url is None:
            return _without(instance, "It has not registered yet; its log tells how far it has come.")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._adapters.ask("GET", f"{instance.service_url}/stacks", {})
        except (TimeoutError, AdapterTimeout):
            return await self._dumped(agent_id, instance, f"It did not answer within {ANSWER_SECONDS:g} s")
        except AdapterDied as error:
            return await self._dumped(agent_id, instance, error.detail.rstrip("."))
        if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            return _without(
                instance, "Its program has no GET /stacks, which is optional; py-spy or gdb can look into it."
            )
        if answer.is_error:
            return _without(instance, f"It answered {answer.status_code} to GET /stacks; its log may say why.")
        return _reported(instance, answer.content)

    async def _dumped(self, agent_id: str, instance: InstanceView, why: str) -> InstanceStacks:
        process = next((each for each in self._adapters_of(agent_id) if each.instance_id == instance.instance_id), None)
        if process is None or not process.registered or sys.platform == "win32":
            return _without(instance, f"{why}, and there is no other way to look into it from here.")
        path = self._log_file(agent_id)
        offset = path.stat().st_size if path.exists() else 0
        request_stacks(process, self._announce)
        threads = await _written(path, offset)
        if not threads:
            return _without(instance, f"{why}, and wrote no stacks into its log either; look at it with py-spy or gdb.")
        note = f"{why}: these are its threads' stacks, which it wrote into its log; of its tasks nothing can be told."
        return InstanceStacks(
            instance_id=instance.instance_id, pid=instance.pid, source="signal", note=note, threads=threads
        )


async def _written(path: Path, offset: int) -> list[ThreadStack]:
    """The stacks that appear in the log behind `offset`, once no more come; none where none come in time."""
    seen: list[ThreadStack] = []
    for _ in range(round(DUMP_SECONDS / _LOOK_SECONDS)):
        await asyncio.sleep(_LOOK_SECONDS)
        now = await asyncio.to_thread(_stacks_since, path, offset)
        if now and now == seen:
            break
        seen = now
    return seen


def _stacks_since(path: Path, offset: int) -> list[ThreadStack]:
    try:
        # A log that is shorter than it was began anew: then all of it is new.
        start = offset if offset <= path.stat().st_size else 0
        return parse_dump(tail(path, sys.maxsize, max_bytes=_DUMP_BYTES, start=start))
    except OSError:
        return []


def parse_dump(lines: Iterable[str]) -> list[ThreadStack]:
    """The threads that faulthandler wrote among other lines, outermost call first."""
    threads: list[tuple[str, list[StackFrame]]] = []
    is_inside = False
    for line in lines:
        if head := _THREAD.fullmatch(line):
            threads.append((_thread_name(*head.groups()), []))
            is_inside = True
        elif is_inside and (found := _FRAME.fullmatch(line)):
            frame = StackFrame(file=found[1], line=int(found[2]), function=found[3])
            threads[-1][1].insert(0, frame)
        elif line.strip():
            is_inside = False
    return [ThreadStack(name=name, stack=stack) for name, stack in threads]


def _thread_name(kind: str, address: str, name: str | None) -> str:
    return name or (f"{address} (the event loop's)" if kind == "Current thread" else address)


def _reported(instance: InstanceView, content: bytes) -> InstanceStacks:
    try:
        report = StackReport.model_validate_json(content)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        return _without(instance, f"Its answer to GET /stacks is not what the contract says: {what}.")
    return InstanceStacks(
        instance_id=instance.instance_id,
        pid=report.pid,
        source="adapter",
        at=report.at,
        tasks=report.tasks,
        threads=report.threads,
        left_out=report.left_out,
    )


def _without(instance: InstanceView, note: str) -> InstanceStacks:
    return InstanceStacks(instance_id=instance.instance_id, pid=instance.pid, source=None, note=note)
