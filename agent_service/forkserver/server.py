"""The fork server's one loop: managers' requests, children's ends, and when there is nothing more to do."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

import structlog
from pydantic import ValidationError

from agent_service.cgroup import Cgroups
from agent_service.errors import AdapterError
from agent_service.forkserver.channel import ChannelClosed
from agent_service.forkserver.connections import Connection, KeptExits, request_id
from agent_service.forkserver.door import Door
from agent_service.forkserver.fixed import FixedVariables, differing
from agent_service.forkserver.instances import InstanceMark, Instances
from agent_service.forkserver.preload import Snapshot
from agent_service.forkserver.start import Refused, prepare
from agent_service.forkserver.wire import (
    REQUEST,
    Acknowledge,
    Answer,
    ExitNotice,
    Lend,
    Lent,
    Listing,
    ListInstances,
    Ping,
    Refusal,
    Release,
    Request,
    Shutdown,
    Spawn,
    Spawned,
    pack,
)
from agent_service.http.listeners import PublicListeners

IDLE_SECONDS = 600.0

log = structlog.stdlib.get_logger(__name__)


class ForkServer:
    """Single-threaded. `fixed`: the variables that were read before the first fork. `cgroups`: for instances."""

    def __init__(
        self,
        door: Door,
        snapshot: Snapshot,
        mark: InstanceMark,
        fixed: FixedVariables,
        cgroups: Cgroups,
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._door = door
        self._snapshot = snapshot
        self._fixed = fixed
        self._idle_seconds = idle_seconds
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._exits = KeptExits()
        self._instances = Instances(mark, cgroups, self._tell)
        self._listeners = PublicListeners()
        self._idle_since: float | None = time.monotonic()
        self._is_retired = False
        self._is_told_to_end = False

    def run(self) -> None:
        """Serve until retired and empty, idle for long, or told to end by SIGTERM; children that live go on."""
        self._watch_signals()
        self._selector.register(self._door.listener, selectors.EVENT_READ, self._accept)
        while not self._is_over():
            for key, events in self._selector.select(self._timeout()):
                call: Callable[[int], None] = key.data
                call(events)
            self._work_off()
            deadline = self._instances.next_deadline
            if deadline is not None and deadline <= time.monotonic():
                self._instances.reap()
        self._door.close()
        log.info("Fork server ended", instances=len(self._instances.running))

    def _watch_signals(self) -> None:
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._told_to_end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._signals = reading, writing
        self._selector.register(reading, selectors.EVENT_READ, self._signalled)

    def _told_to_end(self, *_: object) -> None:
        self._is_told_to_end = True

    def _signalled(self, _: int) -> None:
        # One byte may stand for many signals, and none of them says more than that it is time to look.
        self._signals[0].recv(4096)
        self._instances.reap()

    def _is_over(self) -> bool:
        if self._instances.is_empty and not self._connections:
            self._idle_since = self._idle_since or time.monotonic()
        else:
            self._idle_since = None
        idle = self._idle_since is not None and time.monotonic() - self._idle_since >= self._idle_seconds
        return self._is_told_to_end or idle or (self._is_retired and self._instances.is_empty)

    def _timeout(self) -> float | None:
        if any(connection.requests for connection in self._connections):
            return 0.0
        deadlines = [] if self._idle_since is None else [self._idle_since + self._idle_seconds]
        if (sweep := self._instances.next_deadline) is not None:
            deadlines.append(sweep)
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _accept(self, _: int) -> None:
        accepted = self._door.accept()
        if accepted is None:
            return
        connection = Connection(accepted)
        self._connections.add(connection)
        self._selector.register(
            connection.channel,
            selectors.EVENT_READ,
            lambda events: self._guarded(connection, partial(self._serve, connection, events)),
        )
        self._guarded(connection, partial(self._exits.tell, connection))

    def _serve(self, connection: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            connection.channel.flush()
        if events & selectors.EVENT_READ:
            connection.receive()

    def _work_off(self) -> None:
        """One request of each manager."""
        for connection in [each for each in self._connections if each.requests]:
            self._guarded(connection, partial(self._handle, connection, connection.requests.popleft()))

    def _handle(self, connection: Connection, line: bytes) -> None:
        try:
            request = REQUEST.validate_json(line)
        except ValidationError as error:
            what = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'request'}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)
            )
            refusal = Refusal(detail=f"The request is not understood ({what}); correct it.")
            connection.answer(Answer(id=request_id(line), error=refusal))
            return
        try:
            self._carry_out(connection, request)
        except ChannelClosed:
            raise
        except Refused as refused:
            refusal = Refusal(detail=str(refused), stale=refused.stale, permanent=refused.permanent)
            connection.answer(Answer(id=request.id, error=refusal))
        except Exception:  # outermost: one request that we have a mistake for must not cost all agents their server
            log.exception("Request failed", op=request.op)
            refusal = Refusal(detail="The fork server failed on this request; its log has the traceback.")
            connection.answer(Answer(id=request.id, error=refusal))

    def _carry_out(self, connection: Connection, request: Request) -> None:
        """Raises `Refused`, `ChannelClosed`."""
        match request:
            case Spawn():
                self._spawn(connection, request)
                return
            case ListInstances():
                listing = Listing(
                    id=request.id,
                    instances=self._instances.running,
                    fixed=pack(self._fixed),
                    stale=self._snapshot.is_stale,
                )
                connection.answer(listing)
                return
            case Lend():
                listener = self._listeners.find(request.agent_id, request.port)
                lent = Lent(id=request.id, has_listener=listener is not None)
                connection.answer(lent, None if listener is None else listener.fileno())
                return
            case Release():
                self._listeners.release(request.agent_id)
            case Acknowledge():
                self._exits.drop(request.instance_ids)
            case Shutdown():
                self._retire()
            case Ping():
                pass
        connection.answer(Answer(id=request.id))

    def _spawn(self, connection: Connection, request: Spawn) -> None:
        attached = connection.take_listener() if request.has_listener else None
        if attached is not None:
            self._listeners.keep(request.agent_id, attached)
        if self._is_retired:
            raise Refused("This fork server is about to end; start the agent by another one.", stale=True)
        if self._snapshot.is_stale:
            raise Refused("What this fork server has imported was changed on disk.", stale=True)
        start = prepare(request, self._fixed)
        if start.is_adapter and not start.is_fork:
            names = differing(self._fixed, start.environment)
            log.info(
                "Agent gets an interpreter of its own", agent_id=start.agent_id, user=request.user, variables=names
            )
        try:
            public = self._public_listener(request)
            instance = self._instances.start(start, public)
        finally:
            os.close(start.log)
        spare = None if public is None or attached is not None else public.fileno()
        answer = Spawned(
            id=request.id, pid=instance.pid, created_at=instance.created_at, has_listener=spare is not None
        )
        connection.answer(answer, spare)

    def _public_listener(self, request: Spawn) -> socket.socket | None:
        if request.public_port is None:
            return None
        try:
            return self._listeners.take(request.agent_id, request.public_port)
        except AdapterError as error:
            raise Refused(str(error)) from error

    def _retire(self) -> None:
        """Make room for a successor, which gets the listeners from the manager that is connected."""
        if not self._is_retired:
            self._is_retired = True
            self._selector.unregister(self._door.listener)
            self._door.close()

    def _tell(self, notice: ExitNotice) -> None:
        self._exits.keep(notice)
        line = notice.model_dump_json().encode()
        for connection in list(self._connections):
            self._guarded(connection, partial(connection.channel.send, line))

    def _guarded(self, connection: Connection, work: Callable[[], None]) -> None:
        """Do one thing for one manager; where its connection fails, it alone is dropped."""
        if connection not in self._connections:
            return
        try:
            work()
        except ChannelClosed:
            self._connections.discard(connection)
            self._selector.unregister(connection.channel)
            connection.channel.close()
            if self._is_retired and not self._connections:
                # Nobody can reach us any more, not even to have them closed.
                self._listeners.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.channel.has_unsent else 0)
        if self._selector.get_key(connection.channel).events != events:
            self._selector.modify(connection.channel, events, self._selector.get_key(connection.channel).data)
