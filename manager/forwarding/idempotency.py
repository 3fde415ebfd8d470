"""Executes with an `Idempotency-Key`: run once, answered as often as they are asked for.

After draft-ietf-httpapi-idempotency-key-header. A call lives in a task of its own: whoever sends its key is a reader of
its answer, the first client too, and a client that leaves does not end it. On disk it is `running`, with the instance
that is asked, before one byte goes there. What is known to have had no effect frees its key again. For a call that an
earlier manager has left `running` its instance is asked, which keeps the answer (agent_service/answers.py); only where
that instance has ended is it run again, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from agent_service.contract import CALL_HEADER, CALL_NOT_BEGUN, TASK_ID_HEADER, rfc3339
from agent_service.errors import Refusal
from agent_service.http.client.answer import RawHeaders
from agent_service.http.recording import Recording
from manager.clock import Clock
from manager.errors import (
    AdapterDied,
    AdapterTimeout,
    ManagerError,
    NotReady,
    StoreUnavailable,
)
from manager.forwarding.forwarder import ForwardedAnswer, Forwarder
from manager.forwarding.keys import fingerprint_of, key_of, name_of, not_kept, outcome_unknown, require_same
from manager.forwarding.request import ForwardRequest
from manager.registry.registry import Registry
from manager.store.keyed_answers import CallState, KeyedAnswers, KeyedCall, dropped

REPLAYED = (b"idempotency-replayed", b"true")
MAX_ATTEMPTS = 2

# With these an adapter says that it has run nothing, unless a header names the task that it had begun.
_UNEXECUTED = frozenset({409, 429, 503})
_TASK_ID_NAME = TASK_ID_HEADER.lower().encode()
_CALL_NAME = CALL_HEADER.lower().encode()
_PRUNE_SECONDS = 60.0
# From an adapter's connection breaking to the word that its process has ended.
_EXIT_NEWS_SECONDS = 2.0
_EXIT_LOOK_SECONDS = 0.05
# From a manager's start to the registration of what it takes back.
_ADOPTION_SECONDS = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class KeyLimits:
    """How long and how much is kept; sizes in bytes."""

    retention_seconds: float
    max_answer_bytes: int
    max_stored_bytes: int


@dataclass
class _Call:
    """One call with a key, for as long as anything of it happens."""

    record: KeyedCall
    recording: Recording
    task: asyncio.Task[None] | None = None
    is_replay: bool = False
    """The answer is to a request that an earlier manager had taken."""


class _NotBegun(Exception):
    """The instance is certain that it has run nothing for this call."""


class _AnswerLost(Exception):
    """The instance does not know the answer."""


class Idempotency:
    """Stands before the forwarder for requests with a key."""

    def __init__(
        self, forwarder: Forwarder, registry: Registry, store: KeyedAnswers, clock: Clock, limits: KeyLimits
    ) -> None:
        self._forwarder = forwarder
        self._registry = registry
        self._store = store
        self._clock = clock
        self._limits = limits
        self._retention = timedelta(seconds=limits.retention_seconds)
        self._calls: dict[tuple[str, str], _Call] = {}

    def forward(self, request: ForwardRequest) -> AbstractAsyncContextManager[ForwardedAnswer]:
        """The answer, while the scope lasts: without a key the forwarder's own, with one that to its first request.

        Raises what `Forwarder.forward` raises, `BadRequest` for a malformed key, `KeyReused` for another request than
        the first one, `StateConflict` where there is no answer any more, `StoreUnavailable` where nothing can be noted.
        """
        key = key_of(request.headers)
        return self._forwarder.forward(request) if key is None else self._forward(request, key)

    @asynccontextmanager
    async def _forward(self, request: ForwardRequest, key: str) -> AsyncIterator[ForwardedAnswer]:
        request = await _whole(request)
        call, is_first = await self._call(request, key)
        if not call.recording.is_whole:
            raise not_kept(call.record)
        reader = call.recording.reader()
        try:
            await reader.until_head(request.tell_interim)
            is_replay = call.is_replay or not is_first
            headers = [*call.recording.headers, REPLAYED] if is_replay else call.recording.headers
            yield ForwardedAnswer(call.recording.status, headers, reader)
        finally:
            reader.close()

    async def run(self) -> None:
        """Forget what is too old or too much, once a minute, for ever."""
        while True:
            try:
                before = self._clock.now() - self._retention
                await self._store.prune(before=before, max_bytes=self._limits.max_stored_bytes)
            except StoreUnavailable as error:
                log.error("Kept answers cannot be pruned", error=error.detail)
            await asyncio.sleep(_PRUNE_SECONDS)

    async def close(self) -> None:
        """End the calls that are under way; on disk they stay what they are."""
        tasks = [call.task for call in self._calls.values() if call.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, request: ForwardRequest, key: str) -> tuple[_Call, bool]:
        name, fingerprint = (request.agent_id, key), fingerprint_of(request)
        is_first = False
        if name not in self._calls:
            since = self._clock.now() - self._retention
            record = await self._store.get(request.agent_id, key, since=since)
            # Another request with the key may have come while the disk was asked.
            if name not in self._calls:
                if record is not None:
                    require_same(record, fingerprint)
                is_first = record is None or record.state == CallState.RUNNING
                if record is not None and not is_first:
                    return self._kept(record), False
                self._calls[name] = self._begin(request, record or self._new(request, key, fingerprint))
        call = self._calls[name]
        require_same(call.record, fingerprint)
        return call, is_first

    def _new(self, request: ForwardRequest, key: str, fingerprint: str) -> KeyedCall:
        return KeyedCall(request.agent_id, key, fingerprint, rfc3339(self._clock.now()), attempts=0)

    def _kept(self, record: KeyedCall) -> _Call:
        """A call that is over, with its answer. Raises `StateConflict` where that was not kept."""
        if record.state == CallState.UNKNOWN:
            raise outcome_unknown(record, record.detail or "")
        if record.state == CallState.DROPPED or record.body is None:
            raise not_kept(record)
        recording = Recording(len(record.body))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in record.headers or []]
        recording.begin(record.status or 200, headers)
        recording.keep(record.body)
        return _Call(record, recording)

    def _begin(self, request: ForwardRequest, record: KeyedCall) -> _Call:
        """Run a new call, or see to one that an earlier manager has left. Raises `StateConflict` for one that kills."""
        if record.attempts >= MAX_ATTEMPTS and not self._has_living_instance(record):
            raise outcome_unknown(record, f"was begun {record.attempts} times, and its adapter died each time")
        call = _Call(record, Recording(self._limits.max_answer_bytes))
        # No trailers: they are not kept, and the first answer is to be no other than those that follow.
        request = replace(request, takes_trailers=False, tell_interim=call.recording.tell_interim)
        call.task = asyncio.create_task(self._live(call, request), name=f"keyed call to {record.agent_id}")
        return call

    def _has_living_instance(self, record: KeyedCall) -> bool:
        return record.instance_id is not None and self._registry.knows(record.agent_id, record.instance_id)

    async def _live(self, call: _Call, request: ForwardRequest) -> None:
        name = (call.record.agent_id, call.record.key)
        try:
            is_written = await self._run(call, request)
        except Exception as error:  # outermost loop: whoever waits for this call is to hear of it
            log.exception("Keyed call failed", agent_id=call.record.agent_id)
            is_written = await self._note_unknown(call, f"failed in the manager ({type(error).__name__})")
            call.recording.fail(outcome_unknown(call.record, "failed in the manager itself, whose log says how"))
        # What could not be written down is remembered for as long as this manager lives.
        if is_written:
            del self._calls[name]

    async def _run(self, call: _Call, request: ForwardRequest) -> bool:
        """Until there is an answer or an error for the readers; whether the disk knows of it."""
        if self._has_living_instance(call.record):
            is_written = await self._take_over(call, request)
            if is_written is not None:
                return is_written
        return await self._run_anew(call, request)

    async def _take_over(self, call: _Call, request: ForwardRequest) -> bool | None:
        """See to a call that an earlier manager gave to an instance that lives; None where it has to be run anew."""
        try:
            return await self._ask(call, request)
        except _NotBegun:
            call.record = replace(call.record, attempts=call.record.attempts - 1)
            return None
        except _AnswerLost:
            what = "was given by an earlier manager to an instance that does not know its answer any more"
            call.recording.fail(outcome_unknown(call.record, what))
            return await self._note_unknown(call, what)
        except (AdapterDied, NotReady) as error:
            if not call.recording.has_head and await self._may_repeat(call.record):
                log.info("Keyed call is run again", agent_id=call.record.agent_id, died=call.record.instance_id)
                return None
            call.recording.fail(error)
        except (ManagerError, Refusal) as error:
            call.recording.fail(error)
        # On disk it is what it was: whoever asks again may learn more.
        return True

    async def _run_anew(self, call: _Call, request: ForwardRequest) -> bool:
        while True:
            call.record = replace(call.record, attempts=call.record.attempts + 1, instance_id=None)
            try:
                return await self._run_once(call, request)
            except AdapterDied as error:
                may_repeat = await self._may_repeat(call.record)
                if may_repeat and not call.recording.has_head:
                    log.info("Keyed call is run again", agent_id=call.record.agent_id, died=call.record.instance_id)
                    continue
                # Left as it is on disk, the next request with the key runs it again.
                is_written = may_repeat or await self._note_unknown(call, error.detail)
                call.recording.fail(error)
                return is_written
            except AdapterTimeout as error:
                is_written = call.record.instance_id is None or await self._note_unknown(call, error.detail)
                call.recording.fail(error)
                return is_written
            except (ManagerError, Refusal) as error:
                await self._free(call.record)
                call.recording.fail(error)
                return True

    async def _run_once(self, call: _Call, request: ForwardRequest) -> bool:
        async def chosen(instance_id: str) -> None:
            record = replace(call.record, instance_id=instance_id)
            await self._store.put(record)
            call.record = record

        async with self._forwarder.forward(replace(request, call=name_of(call.record), chosen=chosen)) as answer:
            return await self._record(call, answer)

    async def _ask(self, call: _Call, request: ForwardRequest) -> bool:
        """The answer to a call that was made before, as soon as its instance has it."""
        await self._until_registered(call.record)
        asking = replace(request, headers=[], body=b"", call=name_of(call.record), asked=call.record.instance_id)
        async with self._forwarder.forward(asking) as answer:
            said = dict(answer.headers).get(_CALL_NAME, b"").decode("latin-1")
            if said == CALL_NOT_BEGUN:
                raise _NotBegun
            if said != asking.call:
                raise _AnswerLost
            call.is_replay = True
            return await self._record(call, answer)

    async def _until_registered(self, record: KeyedCall) -> None:
        """A manager that has just begun takes its instances back one after the other. For as long as one would wait."""
        waited = 0.0
        while self._has_living_instance(record) and self._registry.get(record.instance_id or "") is None:
            if waited >= _ADOPTION_SECONDS:
                return
            await asyncio.sleep(_EXIT_LOOK_SECONDS)
            waited += _EXIT_LOOK_SECONDS

    async def _record(self, call: _Call, answer: ForwardedAnswer) -> bool:
        recording = call.recording
        recording.begin(answer.status, [header for header in answer.headers if header[0] != _CALL_NAME])
        length, last = _length(answer.headers), b""
        async for chunk in answer.chunks:
            if recording.size + len(chunk) == length:
                last = chunk
            else:
                await recording.write(chunk)
        # First to disk: who has seen the end, by its length or by the stream's own, may ask again at once, of another
        # manager. Where only the content tells the end, the instance still has the answer.
        is_written = await self._keep(call, last)
        if last:
            await recording.write(last)
        recording.complete()
        return is_written

    async def _keep(self, call: _Call, last: bytes) -> bool:
        recording = call.recording
        if recording.status in _UNEXECUTED and not any(name == _TASK_ID_NAME for name, _ in recording.headers):
            await self._free(call.record)
            return True
        record = replace(call.record, state=CallState.ANSWERED, status=recording.status)
        if recording.size + len(last) <= self._limits.max_answer_bytes:
            record = replace(record, headers=_texts(recording.headers), body=recording.body() + last)
        else:
            record = dropped(record)
        return await self._write(call, record)

    async def _note_unknown(self, call: _Call, why: str) -> bool:
        return await self._write(call, replace(call.record, state=CallState.UNKNOWN, detail=f"has no answer: {why}"))

    async def _write(self, call: _Call, record: KeyedCall) -> bool:
        try:
            await self._store.put(record)
        except StoreUnavailable as error:
            log.error("Outcome of a keyed call cannot be kept", agent_id=record.agent_id, error=error.detail)
            return False
        call.record = record
        return True

    async def _free(self, record: KeyedCall) -> None:
        """Nothing was run: the key is as good as new."""
        if record.instance_id is None:
            return
        try:
            await self._store.remove(record.agent_id, record.key)
        except StoreUnavailable as error:
            log.error("Idempotency key cannot be freed", agent_id=record.agent_id, error=error.detail)

    async def _may_repeat(self, record: KeyedCall) -> bool:
        """Whether the process that had the call has ended, and it is not yet too often."""
        return record.instance_id is not None and record.attempts < MAX_ATTEMPTS and await self._has_ended(record)

    async def _has_ended(self, record: KeyedCall) -> bool:
        waited = 0.0
        while self._has_living_instance(record):
            if waited >= _EXIT_NEWS_SECONDS:
                return False
            await asyncio.sleep(_EXIT_LOOK_SECONDS)
            waited += _EXIT_LOOK_SECONDS
        return True


async def _whole(request: ForwardRequest) -> ForwardRequest:
    if isinstance(request.body, bytes):
        return request
    body = b"".join([piece async for piece in request.body])
    return replace(request, body=body, asks_first=False)


def _texts(headers: RawHeaders) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def _length(headers: RawHeaders) -> int | None:
    found = dict(headers).get(b"content-length")
    return int(found) if found is not None else None
