"""What the tasks and threads of this process are doing, seen from within, without stopping any of them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import linecache
import sys
import threading
from collections.abc import Iterator, Mapping
from contextvars import Context
from itertools import islice
from types import FrameType
from typing import Any

from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from agent_service.stack_report import StackFrame, TaskStack, ThreadStack

MOST_TASKS = 500
# Of a recursion without an end the innermost calls tell enough.
_MOST_FRAMES = 100
_IDS = ("task_id", "request_id", "trace_id")


def task_stacks(tasks: list[asyncio.Task[Any]], ages: Mapping[str, float]) -> list[TaskStack]:
    """Those of `tasks`; `ages`: for how many seconds the agent's tasks have run, by their id."""
    return [_task_stack(task, ages) for task in tasks]


def thread_stacks() -> list[ThreadStack]:
    """Those of all threads but the one that asks."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    here = threading.get_ident()
    return [
        ThreadStack(name=names.get(ident, f"thread {ident}"), stack=_outermost_first(_callers(frame)))
        for ident, frame in sys._current_frames().items()
        if ident != here
    ]


def _task_stack(task: asyncio.Task[Any], ages: Mapping[str, float]) -> TaskStack:
    frames: list[StackFrame] = []
    awaited: object = task.get_coro()
    while len(frames) < _MOST_FRAMES and (step := _step(awaited)) is not None:
        frame, awaited = step
        if frame is not None:
            frames.append(_shown(frame, frame.f_lineno))
    ids = _ids(task)
    return TaskStack(
        name=task.get_name(),
        age_seconds=ages.get(ids.get("task_id", "")),
        waits_for=_waits_for(awaited),
        stack=frames,
        **ids,
    )


def _step(awaited: object) -> tuple[FrameType | None, object] | None:
    """The frame of something that is awaited, and what it awaits itself; None at the end of the chain."""
    if inspect.iscoroutine(awaited):
        return awaited.cr_frame, awaited.cr_await
    if inspect.isgenerator(awaited):
        return awaited.gi_frame, awaited.gi_yieldfrom
    if inspect.isasyncgen(awaited):
        return awaited.ag_frame, awaited.ag_await
    if awaited is None or isinstance(awaited, asyncio.Future):
        return None
    # Wrappers without a frame of their own, such as those of `anext` and `__await__`: what they hold goes on.
    held = next((each for each in gc.get_referents(awaited) if _is_awaited(each)), None)
    return None if held is None else (None, held)


def _is_awaited(value: object) -> bool:
    return (
        inspect.iscoroutine(value)
        or inspect.isgenerator(value)
        or inspect.isasyncgen(value)
        or isinstance(value, asyncio.Future)
    )


def _waits_for(awaited: object) -> str | None:
    if isinstance(awaited, asyncio.Task):
        return f"the task {awaited.get_name()!r}"
    children = getattr(awaited, "_children", None)
    if isinstance(children, list):
        return f"{len(children)} others"
    return type(awaited).__name__ if awaited is not None else None


def _ids(task: asyncio.Task[Any]) -> dict[str, str]:
    context = _context_of(task)
    if context is None:
        return {}
    bound = {variable.name.removeprefix(STRUCTLOG_KEY_PREFIX): value for variable, value in context.items()}
    return {name: bound[name] for name in _IDS if isinstance(bound.get(name), str)}


def _context_of(task: asyncio.Task[Any]) -> Context | None:
    if sys.version_info >= (3, 12):
        return task.get_context()
    # Python 3.11 has no other way.
    return next((held for held in gc.get_referents(task) if isinstance(held, Context)), None)


def _callers(frame: FrameType | None) -> Iterator[StackFrame]:
    while frame is not None:
        yield _shown(frame, frame.f_lineno)
        frame = frame.f_back


def _outermost_first(frames: Iterator[StackFrame]) -> list[StackFrame]:
    return list(islice(frames, _MOST_FRAMES))[::-1]


def _shown(frame: FrameType, line: int | None) -> StackFrame:
    code = frame.f_code
    number = line or code.co_firstlineno
    text = linecache.getline(code.co_filename, number, frame.f_globals).strip()
    return StackFrame(file=code.co_filename, line=number, function=code.co_qualname, code=text or None)
