"""Answers to calls that have a name, kept for a manager that dies before it has them.

The manager names each call with an Idempotency-Key (`contract.CALL_HEADER`). Such a call is not cancelled when its
connection breaks, only when its own time is over: the next manager asks for the answer, or waits for it, by that name.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_service.contract import CALL_HEADER, CALL_NOT_BEGUN, TASK_ID_HEADER
from agent_service.errors import AnswerGone, UnknownCall
from agent_service.http.recording import Recording
from agent_service.problems import Problems

_CALL_NAME = CALL_HEADER.lower().encode()
_TASK_ID_NAME = TASK_ID_HEADER.lower().encode()
_CALL = re.compile(rb"([0-9a-f]{64});timeout=([0-9]{1,9}(?:\.[0-9]{1,6})?)")


@dataclass(frozen=True)
class AnswerLimits:
    """How much is kept of what has ended, and for how long; of an answer over `answer_bytes` nothing."""

    answers: int = 256
    answer_bytes: int = 1024 * 1024
    total_bytes: int = 8 * 1024 * 1024
    seconds: float = 900.0
    forgotten_names: int = 4096


class NamedCall(NamedTuple):
    """What the manager says of a call."""

    name: str
    seconds: float


class _Kept(NamedTuple):
    recording: Recording
    size: int
    ended_at: float


class Answers:
    """By the names of their calls: those that run, and the newest of those that have ended."""

    def __init__(self, limits: AnswerLimits | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or AnswerLimits()
        self._monotonic = monotonic
        self._running: dict[str, Recording] = {}
        self._ended: dict[str, _Kept] = {}
        self._bytes = 0
        self._forgotten: dict[str, None] = {}
        self._remembers_all = True

    def find(self, name: str) -> Recording | None:
        """What there is of the call's answer."""
        self._prune()
        if (running := self._running.get(name)) is not None:
            return running
        kept = self._ended.get(name)
        return None if kept is None else kept.recording

    def was_never_begun(self, name: str) -> bool:
        """Whether it is certain that nothing was run for this call."""
        return self._remembers_all and name not in self._forgotten and self.find(name) is None

    def begin(self, name: str) -> Recording:
        """Record the answer to a new call."""
        recording = self._running[name] = Recording(self._limits.answer_bytes)
        return recording

    def end(self, name: str) -> None:
        """The call is over. One that was refused before anything was run may be made again."""
        recording = self._running.pop(name)
        if not _was_run(recording):
            return
        self._ended[name] = _Kept(recording, recording.held, self._monotonic())
        self._bytes += recording.held
        self._prune()

    def _prune(self) -> None:
        oldest = self._monotonic() - self._limits.seconds
        while self._ended:
            name, kept = next(iter(self._ended.items()))
            is_too_much = len(self._ended) > self._limits.answers or self._bytes > self._limits.total_bytes
            if not is_too_much and kept.ended_at > oldest:
                return
            del self._ended[name]
            self._bytes -= kept.size
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._forgotten[name] = None
        if len(self._forgotten) > self._limits.forgotten_names:
            del self._forgotten[next(iter(self._forgotten))]
            self._remembers_all = False


class NamedCalls:
    """Middleware around /execute: a call with a name is run once, whoever else asks for it reads along."""

    def __init__(self, app: ASGIApp, answers: Answers, problems: Problems) -> None:
        self._app = app
        self._answers = answers
        self._problems = problems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = named_call(scope)
        if call is None:
            await self._app(scope, receive, send)
        elif (recording := self._answers.find(call.name)) is not None:
            await told_again(recording, call.name, self._problems)(scope, receive, send)
        else:
            await self._run(call, scope, receive, send)

    async def _run(self, call: NamedCall, scope: Scope, receive: Receive, send: Send) -> None:
        recording = self._answers.begin(call.name)

        async def send_recorded(message: Message) -> None:
            await _record(recording, message)
            await send(message)

        try:
            await self._app(scope, _Patient(receive, call.seconds), send_recorded)
        except BaseException as error:
            recording.fail(error if isinstance(error, Exception) else AnswerGone("The call ended without an answer."))
            raise
        finally:
            self._answers.end(call.name)


class Recall:
    """`GET /answers/{name}`: the answer to a call, once it is there. Changes nothing."""

    def __init__(self, answers: Answers, problems: Problems) -> None:
        self._answers = answers
        self._problems = problems

    async def endpoint(self, request: Request) -> Response | ASGIApp:
        name = request.path_params["name"]
        recording = self._answers.find(name)
        if recording is None:
            return self._unknown(name)
        return told_again(recording, name, self._problems)

    def _unknown(self, name: str) -> Response:
        if not self._answers.was_never_begun(name):
            return self._problems.response(UnknownCall("No such call is known here any more; look at the agent's log."))
        response = self._problems.response(UnknownCall("No such call has been made here; make it by POST /execute."))
        response.headers[CALL_HEADER] = CALL_NOT_BEGUN
        return response


class Replay:
    """ASGI response: a recorded answer from its start, as far as it has come, and then as it comes."""

    def __init__(self, recording: Recording, name: str) -> None:
        self._recording = recording
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._recording.reader()
        try:
            await reader.until_head()
            headers = [*self._recording.headers, (_CALL_NAME, self._name.encode())]
            await send({"type": "http.response.start", "status": self._recording.status, "headers": headers})
            async for chunk in reader:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            reader.close()


def told_again(recording: Recording, name: str, problems: Problems) -> ASGIApp:
    """The recorded answer, or a problem where it was too large to keep."""
    if recording.is_whole:
        return Replay(recording, name)
    return problems.response(AnswerGone("The call has been run, but its answer was too large to keep."))


class _Patient:
    """ASGI's receive of a client that, once it has sent its body, is there until its call's time is over."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._until = asyncio.get_running_loop().time() + seconds
        self._has_body = False

    async def __call__(self) -> Message:
        if not self._has_body:
            message = await self._receive()
            self._has_body = not message.get("more_body", False)
            return message
        await asyncio.sleep(max(0.0, self._until - asyncio.get_running_loop().time()))
        return {"type": "http.disconnect"}


def named_call(scope: Scope) -> NamedCall | None:
    """What the manager says of this request; None where it says nothing, or nothing that could be read."""
    values = [value for name, value in scope["headers"] if name == _CALL_NAME]
    match = _CALL.fullmatch(values[0]) if len(values) == 1 else None
    return None if match is None else NamedCall(match[1].decode(), float(match[2]))


async def _record(recording: Recording, message: Message) -> None:
    if message["type"] == "http.response.start":
        recording.begin(message["status"], list(message.get("headers", [])))
    if message["type"] != "http.response.body":
        return
    if message.get("body"):
        await recording.write(message["body"])
    if not message.get("more_body", False):
        recording.complete()


def _was_run(recording: Recording) -> bool:
    # Of one that broke off nobody can say that it was not.
    return (
        not recording.is_complete
        or recording.status < 300
        or any(name == _TASK_ID_NAME for name, _ in recording.headers)
    )
