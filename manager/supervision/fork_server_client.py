"""One connection to a fork server: requests and their answers, and the exits that it tells of unasked."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from agent_service.forkserver.address import connect, peer
from agent_service.forkserver.channel import Channel, ChannelClosed
from agent_service.forkserver.wire import Answer, ExitNotice, Refusal, Request
from manager.supervision import process_group
from manager.supervision.identity import identify, may_lead_its_group

# A server that imports takes connections already and answers later: this is for the slowest of machines.
ANSWER_SECONDS = 60.0

A = TypeVar("A", bound=Answer)

log = structlog.get_logger(__name__)


class ConnectionLost(Exception):
    """The fork server has gone, or does not answer; what became of the request is unknown."""


class RequestRefused(Exception):
    """The fork server refused; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class ForkServerClient:
    """Connected from its construction on, until `lost` is done. Raises OSError where no fork server listens."""

    def __init__(self, path: Path, on_exit: Callable[[ExitNotice], None]) -> None:
        self._loop = asyncio.get_running_loop()
        connection = connect(path)
        self._server = identify(peer(connection).pid)
        self._channel = Channel(connection)
        self._on_exit = on_exit
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[tuple[dict[str, Any], int | None]]] = {}
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._channel.fileno(), self._readable)

    @property
    def pid(self) -> int:
        """The server's own."""
        return self._server.pid

    async def call(self, request: Request, answer: type[A]) -> A:
        """Its answer. Raises `ConnectionLost`, `RequestRefused`."""
        found, descriptor = await self._ask(request, None)
        if descriptor is not None:
            os.close(descriptor)
        return answer.model_validate(found)

    async def call_for_listener(
        self, request: Request, answer: type[A], listener: socket.socket | None = None
    ) -> tuple[A, socket.socket | None]:
        """The same with a public listener: one goes along if it is given, one may come back."""
        attached = None if listener is None else listener.fileno()
        if attached is not None:
            request = request.model_copy(update={"has_listener": True})
        found, descriptor = await self._ask(request, attached)
        return answer.model_validate(found), None if descriptor is None else socket.socket(fileno=descriptor)

    def tell(self, request: Request) -> None:
        """Send a request whose answer does not matter."""
        if not self.lost.done():
            self._send(request.model_copy(update={"id": next(self._ids)}), None)

    def close(self) -> None:
        """Hang up. Harmless when repeated."""
        if self.lost.done():
            return
        self._loop.remove_reader(self._channel.fileno())
        self._loop.remove_writer(self._channel.fileno())
        self._channel.close()
        self.lost.set_result(None)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ConnectionLost("The connection to the fork server broke."))
        self._asked.clear()

    async def _ask(self, request: Request, descriptor: int | None) -> tuple[dict[str, Any], int | None]:
        if self.lost.done():
            raise ConnectionLost("The connection to the fork server is closed.")
        number = next(self._ids)
        future: asyncio.Future[tuple[dict[str, Any], int | None]] = self._loop.create_future()
        self._asked[number] = future
        self._send(request.model_copy(update={"id": number}), descriptor)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found, received = await future
        except TimeoutError as error:
            self._end_hung_server()
            raise ConnectionLost(f"The fork server has not answered for {ANSWER_SECONDS:g} s.") from error
        finally:
            self._asked.pop(number, None)
        if (refusal := found.get("error")) is not None:
            raise RequestRefused(Refusal.model_validate(refusal))
        return found, received

    def _end_hung_server(self) -> None:
        """Nothing that it does takes so long. Its agents go on without it; what it holds, a new one can take."""
        log.error("A fork server does not answer and is killed", pid=self._server.pid)
        if may_lead_its_group(self._server):
            process_group.kill_group(self._server.pid)
        self.close()

    def _send(self, request: Request, descriptor: int | None) -> None:
        self._guarded(lambda: self._channel.send(request.model_dump_json().encode(), descriptor))

    def _readable(self) -> None:
        self._guarded(lambda: self._understand(self._channel.receive()))

    def _understand(self, lines: list[bytes]) -> None:
        for line in lines:
            try:
                self._take(json.loads(line))
            except (ValueError, ValidationError) as error:
                raise ChannelClosed(f"the fork server's line is not understood: {error}") from error

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("event") == "exit":
            self._on_exit(ExitNotice.model_validate(message))
            return
        descriptor = self._channel.take_descriptor() if message.get("has_listener") else None
        future = self._asked.get(message["id"])
        if future is not None and not future.done():
            future.set_result((message, descriptor))
        elif descriptor is not None:
            os.close(descriptor)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ChannelClosed as error:
            log.info("The connection to a fork server broke", reason=str(error))
            self.close()
            return
        if self.lost.done():
            return
        if self._channel.has_unsent:
            self._loop.add_writer(self._channel.fileno(), self._guarded, self._channel.flush)
        else:
            self._loop.remove_writer(self._channel.fileno())
