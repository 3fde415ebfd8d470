"""MCP over the standard streams of a process that ends with its agent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import StdioServerParameters, get_default_environment, stdio_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage, JSONRPCRequest
from pydantic import ValidationError

from agent_service.contract import ENV_INSTANCE_ID
from agent_service.runtimes.tools.errors import CallFailed, ServerLost
from agent_service.runtimes.tools.lines import Line, bounded_lines
from agent_service.runtimes.tools.link import Link
from agent_service.runtimes.tools.secrets import Secrets
from agent_service.runtimes.tools.transport import MAX_MESSAGE_BYTES, Streams, request_id

log = structlog.stdlib.get_logger(__name__)

# Run by its path: it must not import our package.
_GUARDIAN = Path(__file__).with_name("guardian.py")
_STDERR_LINE_BYTES = 8 * 1024
_PIPE_BYTES = 256 * 1024
_SAMPLE_BYTES = 200
# Seconds for the guardian to end a server that did not leave: its own grace, and then some.
_GUARDIAN_SECONDS = 3.0
# Seconds for a process that has closed its stdout to end.
_EXIT_SECONDS = 1.0
# The number of an answer that is too long to be read: Python's SDK writes it first, TypeScript's last.
_ID_FIRST = re.compile(rb'^\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d+)')
_ID_LAST = re.compile(rb'"id"\s*:\s*(\d+)\s*\}\s*$')


@dataclass(frozen=True)
class Program:
    """What to start. `environment` is added to the few harmless variables that a server gets of ours."""

    name: str
    command: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    stdin_grace_seconds: float


@asynccontextmanager
async def stdio_streams(program: Program, link: Link, secrets: Secrets) -> AsyncIterator[Streams]:
    """A process and its streams; with all that it started it ends when this scope or the agent does. Raises OSError."""
    environment = {**get_default_environment(), **_own_mark(), **program.environment}
    if sys.platform == "win32":
        # There the SDK puts the server into a job object, which ends it with us.
        link.begins_unseen = True
        parameters = StdioServerParameters(
            command=program.command, args=list(program.arguments), env=environment, encoding_error_handler="replace"
        )
        async with stdio_client(parameters) as streams:
            yield streams
        return
    async with _guarded(program, environment, secrets) as process:
        async with _Connection(program.name, process, link, secrets).streams() as streams:
            yield streams


def _own_mark() -> dict[str, str]:
    """By this whoever supervises us finds what we leave behind."""
    instance_id = os.environ.get(ENV_INSTANCE_ID)
    return {} if instance_id is None else {ENV_INSTANCE_ID: instance_id}


@asynccontextmanager
async def _guarded(program: Program, environment: Mapping[str, str], secrets: Secrets) -> AsyncIterator[Process]:
    if shutil.which(program.command, path=environment.get("PATH")) is None:
        raise ServerLost(f"there is no program {program.command!r}; install it, or correct command")
    lifeline, ours = os.pipe()
    starting = asyncio.create_task(_spawn(program, environment, lifeline), name=f"start of MCP server {program.name}")
    try:
        process = await asyncio.shield(starting)
    except BaseException:
        os.close(ours)
        await _broken_off(starting)
        raise
    finally:
        os.close(lifeline)
    assert process.stderr is not None
    listening = asyncio.create_task(
        _log_lines(program.name, process.stderr, secrets), name=f"stderr of MCP server {program.name}"
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            try:
                await _let_leave(process, program.stdin_grace_seconds)
            finally:
                # Whatever is left now, the guardian ends.
                os.close(ours)
            # To its last word, which may tell why it ended.
            leaving = asyncio.create_task(process.wait(), name=f"end of MCP server {program.name}")
            await asyncio.wait({listening, leaving}, timeout=_GUARDIAN_SECONDS)
        listening.cancel()
        leaving.cancel()


async def _spawn(program: Program, environment: Mapping[str, str], lifeline: int) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_GUARDIAN), str(lifeline), str(os.getpid())),
        *(program.command, *program.arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
        pass_fds=(lifeline,),
        start_new_session=True,
        limit=_PIPE_BYTES,
    )


async def _broken_off(starting: asyncio.Task[Process]) -> None:
    """uvloop never lets go of a process whose start is cancelled: this one is started, and ends by its lifeline."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_GUARDIAN_SECONDS):
            await (await starting).wait()


async def _let_leave(process: Process, seconds: float) -> None:
    """A closed stdin asks a server to leave."""
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()


async def _log_lines(name: str, stderr: asyncio.StreamReader, secrets: Secrets) -> None:
    async for line in bounded_lines(stderr, _STDERR_LINE_BYTES):
        log.info("MCP server says", server=name, line=secrets.redact(line.text.decode(errors="replace")))


class _Connection:
    """Messages over the pipes of one process."""

    def __init__(self, name: str, process: Process, link: Link, secrets: Secrets) -> None:
        self._name = name
        self._process = process
        self._link = link
        self._secrets = secrets
        self._has_garbage = False

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Streams]:
        """The session's ends of the streams, while tasks move messages."""
        to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
        async with to_session, incoming, outgoing, from_session, anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, to_session)
            tasks.start_soon(self._write, from_session)
            try:
                yield incoming, outgoing
            finally:
                tasks.cancel_scope.cancel()

    async def _read(self, to_session: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        assert self._process.stdout is not None
        async for line in bounded_lines(self._process.stdout, MAX_MESSAGE_BYTES):
            if not line.is_whole:
                self._refuse(line)
            elif (message := self._message(line)) is not None:
                await to_session.send(message)
        with anyio.move_on_after(_EXIT_SECONDS):
            await self._process.wait()
        status = self._process.returncode
        self._link.lose("it closed its stdout" if status is None else f"its process ended with status {status}")

    async def _write(self, from_session: MemoryObjectReceiveStream[SessionMessage]) -> None:
        assert self._process.stdin is not None
        async with from_session:
            async for item in from_session:
                if isinstance(item.message.root, JSONRPCRequest):
                    self._link.began(request_id(item.message.root.id))
                line = item.message.model_dump_json(by_alias=True, exclude_none=True)
                if self._process.stdin.is_closing():
                    # uvloop raises RuntimeError for a write to a pipe that has broken.
                    return
                try:
                    self._process.stdin.write(line.encode() + b"\n")
                    await self._process.stdin.drain()
                except ConnectionError:
                    # Reading will tell how the process ended.
                    return

    def _message(self, line: Line) -> SessionMessage | None:
        try:
            return SessionMessage(JSONRPCMessage.model_validate_json(line.text))
        except ValidationError:
            if line.text.strip():
                self._complain(line)
            return None

    def _complain(self, line: Line) -> None:
        # Once for each connection: a server that logs to stdout would fill the log a second time.
        level = logging.DEBUG if self._has_garbage else logging.WARNING
        self._has_garbage = True
        sample = self._secrets.redact(line.text[:_SAMPLE_BYTES].decode(errors="replace"))
        log.log(level, "MCP server writes to stdout what is no message; it is left out", server=self._name, line=sample)

    def _refuse(self, line: Line) -> None:
        found = _ID_FIRST.search(line.text) or _ID_LAST.search(line.end)
        log.warning("Message of an MCP server is too long", server=self._name, bytes=line.length)
        too_long = CallFailed(f"its answer of {line.length} bytes is over the limit of {MAX_MESSAGE_BYTES}")
        self._link.fail(int(found[1]) if found else None, too_long)
