"""What fork server and manager say to each other: one JSON object per line, over a Unix stream socket.

Requests carry an `id`, which comes back in the answer; answers may come in any order. An answer has `error` when the
request was refused. `ExitNotice`s come unasked. A message with `has_listener` is followed, in the same line's ancillary
data, by one descriptor: the agent's public listener. Imports pydantic and the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter

from agent_service.contract import AgentId, InstanceId, Timestamp, WireModel

T = TypeVar("T", str, str | None)


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("take out the NUL character, which no operating system passes to a process")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]
VariableName = Annotated[str, Field(min_length=1, pattern=r"^[^=\x00]+$")]


class Spawn(WireModel):
    """Start an instance. `argv` is the whole command line; the names and values of `environment` are packed.

    `public_port`: bound by the fork server, unless it has the listener already or `has_listener` says that one is
    attached; without it no public listener is handed on.
    """

    op: Literal["spawn"] = "spawn"
    id: int
    agent_id: AgentId
    instance_id: InstanceId
    argv: Annotated[tuple[Text, ...], Field(min_length=1)]
    environment: dict[VariableName, Text]
    directory: Text
    log_file: Text
    public_port: int | None = Field(default=None, ge=1, le=65_535)
    has_listener: bool = False
    cpu_seconds: int | None = Field(default=None, ge=1)
    open_files: int | None = Field(default=None, ge=16)
    user: Text | None = None


class Release(WireModel):
    """Close the agent's public listener."""

    op: Literal["release"] = "release"
    id: int
    agent_id: AgentId


class Lend(WireModel):
    """Ask for a second descriptor of the agent's public listener at that port, if there is one."""

    op: Literal["lend"] = "lend"
    id: int
    agent_id: AgentId
    port: int


class ListInstances(WireModel):
    """Ask for every instance that lives."""

    op: Literal["list"] = "list"
    id: int


class Acknowledge(WireModel):
    """These exits are known; they need not be kept any longer."""

    op: Literal["ack"] = "ack"
    id: int
    instance_ids: tuple[InstanceId, ...]


class Ping(WireModel):
    """Ask for a sign of life."""

    op: Literal["ping"] = "ping"
    id: int


class Shutdown(WireModel):
    """Give the socket path up, start nothing more, and end once the last instance has ended."""

    op: Literal["shutdown"] = "shutdown"
    id: int


Request = Annotated[Spawn | Release | Lend | ListInstances | Acknowledge | Ping | Shutdown, Field(discriminator="op")]
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


class Refusal(WireModel):
    """Why a request was not carried out. `stale`: this server cannot start anything right any more, a new one can.

    `permanent`: nor can anybody else, until a person has mended something.
    """

    detail: str
    stale: bool = False
    permanent: bool = False


class Answer(WireModel):
    """The answer to every request that has nothing else to tell, and to a refused one."""

    id: int | None
    error: Refusal | None = None


class Spawned(Answer):
    """The process runs. `has_listener`: its public listener is attached, for whoever starts the next fork server."""

    pid: int
    created_at: str
    has_listener: bool = False


class Lent(Answer):
    """`has_listener`: it is attached."""

    has_listener: bool


class RunningInstance(WireModel):
    """One instance that lives. `created_at` as in `/proc/PID/stat`: clock ticks since boot."""

    agent_id: AgentId
    instance_id: InstanceId
    pid: int
    created_at: str


class Listing(Answer):
    """Every instance that lives. `fixed`: the variables that this server's forks obey no more, packed.

    `stale`: what it has imported was changed on disk, so that another one will take its place at the next start.
    """

    instances: tuple[RunningInstance, ...]
    fixed: dict[str, str | None]
    stale: bool = False


class ExitNotice(WireModel):
    """An instance has ended. Of `code` and `signal` one is set. `group_empty`: nothing that it started lives on."""

    event: Literal["exit"] = "exit"
    agent_id: AgentId
    instance_id: InstanceId
    pid: int
    code: int | None
    signal: int | None
    at: Timestamp
    group_empty: bool


def pack(environment: Mapping[str, T]) -> dict[str, T]:
    """An environment as JSON can carry it: bytes that are not UTF-8 have no other way to survive."""
    return {_packed(name): _packed(value) for name, value in environment.items()}


def unpack(environment: Mapping[str, T]) -> dict[str, T]:
    """The environment that was packed."""
    return {_unpacked(name): _unpacked(value) for name, value in environment.items()}


def _packed(text: T) -> T:
    return text if text is None else os.fsencode(text).decode("latin-1")


def _unpacked(text: T) -> T:
    return text if text is None else os.fsdecode(text.encode("latin-1"))
