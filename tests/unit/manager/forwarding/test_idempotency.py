from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from manager.errors import (
    AdapterDied,
    AdapterTimeout,
    BadRequest,
    KeyReused,
    ManagerError,
    NotReady,
    StateConflict,
    StoreUnavailable,
)
from manager.events import EventBus
from manager.forwarding.forwarder import ForwardedAnswer
from manager.forwarding.idempotency import REPLAYED, Idempotency, KeyLimits
from manager.forwarding.keys import key_of
from manager.forwarding.request import ForwardRequest
from manager.registry.registry import Registry
from manager.store.keyed_answers import KeyedCall
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.fakes.clock import FakeClock, run

LIMITS = KeyLimits(retention_seconds=3600, max_answer_bytes=100, max_stored_bytes=1000)


@dataclass
class Recall:
    """What an instance says that is asked for an earlier call: `says` is its name (None), another word, or nothing."""

    status: int = 200
    pieces: tuple[bytes, ...] = (b"one", b"two")
    says: str | None = None


@dataclass
class Disk:
    """What survives the manager."""

    calls: dict[str, KeyedCall] = field(default_factory=dict)
    is_full: bool = False

    async def get(self, _agent_id: str, key: str, *, since: datetime) -> KeyedCall | None:
        await asyncio.sleep(0.01)
        return self.calls.get(key)

    async def put(self, call: KeyedCall) -> None:
        await asyncio.sleep(0.01)
        if self.is_full:
            raise StoreUnavailable("The disk is full.")
        self.calls[call.key] = call

    async def remove(self, _agent_id: str, key: str) -> None:
        self.calls.pop(key, None)


class Agent:
    """Stands for forwarder and adapter: counts what it runs. `outcomes`: one for each run, the last for all others."""

    def __init__(self, registry: Registry, *outcomes: ManagerError | list[bytes], status: int = 200) -> None:
        self.registry = registry
        self.outcomes = list(outcomes)
        self.status = status
        self.headers = [(b"content-type", b"text/plain")]
        self.runs: list[str] = []
        self.recalls: list[Recall | ManagerError] = []
        self.asked: list[tuple[str | None, str]] = []
        self.names: list[str] = []

    @asynccontextmanager
    async def forward(self, request: ForwardRequest) -> AsyncIterator[ForwardedAnswer]:
        if request.asked is not None:
            self.asked.append((request.asked, request.call))
            await asyncio.sleep(1)
            yield self.recalled(request)
            return
        self.names.append(request.call)
        instance = f"i{len(self.runs) + 1}"
        self.registry.register(registration(instance))
        if request.chosen is not None:
            await request.chosen(instance)
        self.runs.append(instance)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        await asyncio.sleep(1)
        if isinstance(outcome, ManagerError):
            self.crash(instance, outcome)
            raise outcome
        yield ForwardedAnswer(self.status, self.headers, self.chunks(outcome))

    def recalled(self, request: ForwardRequest) -> ForwardedAnswer:
        assert request.body == b""
        outcome = self.recalls.pop(0) if len(self.recalls) > 1 else self.recalls[0]
        if isinstance(outcome, ManagerError):
            self.crash(request.asked or "", outcome)
            raise outcome
        said = [(b"x-manager-call", (outcome.says or request.call).encode())] if outcome.says != "" else []
        return ForwardedAnswer(outcome.status, [*self.headers, *said], self.chunks(list(outcome.pieces)))

    def crash(self, instance: str, error: ManagerError) -> None:
        if isinstance(error, AdapterDied) and "process" in error.detail:
            self.registry.forget(instance)

    async def chunks(self, pieces: list[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            if piece == b"!":
                self.registry.forget(self.runs[-1])
                raise DIED
            yield piece
            await asyncio.sleep(1)


DIED = AdapterDied("The process died.")
BROKE = AdapterDied("The connection broke.")
UNREACHABLE = NotReady("It does not accept connections.")
BUSY = AdapterTimeout("It did not finish.")
ANSWER = [b"one", b"two"]


class Keyed:
    def __init__(self, *outcomes: ManagerError | list[bytes], status: int = 200, limits: KeyLimits = LIMITS) -> None:
        self.clock = FakeClock()
        self.registry = Registry(self.clock, EventBus(self.clock), interval_seconds=5, ttl_seconds=30)
        self.disk = Disk()
        self.limits = limits
        self.agent = Agent(self.registry, *outcomes, status=status)
        self.restart_manager()

    def restart_manager(self) -> None:
        self.idempotency = Idempotency(self.agent, self.registry, self.disk, self.clock, self.limits)  # type: ignore[arg-type]

    async def send(self, body: bytes = b"{}", key: bytes = b"k", accept: bytes = b"*/*") -> tuple[bytes, bool]:
        """The body of the answer, and whether it is said to be a replay."""
        request = ForwardRequest("echo", [(b"idempotency-key", key), (b"accept", accept)], [], body)
        async with self.idempotency.forward(request) as answer:
            return b"".join([chunk async for chunk in answer.chunks]), REPLAYED in answer.headers

    async def failure(self) -> ManagerError:
        with pytest.raises(ManagerError) as failed:
            await self.send()
        return failed.value

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        run(scenario, self.clock)


def test_the_same_key_gets_the_same_answer_and_runs_once() -> None:
    async def scenario() -> None:
        assert await keyed.send() == (b"onetwo", False)
        assert await keyed.send() == (b"onetwo", True)
        keyed.restart_manager()
        assert await keyed.send() == (b"onetwo", True)
        assert await keyed.send(key=b'"k"') == (b"onetwo", True)
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


def test_who_has_read_to_the_end_by_its_length_finds_the_answer_on_disk() -> None:
    async def scenario() -> None:
        request = ForwardRequest("echo", [(b"idempotency-key", b"k"), (b"accept", b"*/*")], [], b"{}")
        async with keyed.idempotency.forward(request) as answer:
            assert await anext(aiter(answer.chunks)) == b"one" and keyed.disk.calls["k"].body is None
            assert await anext(aiter(answer.chunks)) == b"two" and keyed.disk.calls["k"].body == b"onetwo"
        keyed.restart_manager()
        assert await keyed.send() == (b"onetwo", True)

    keyed = Keyed(ANSWER)
    keyed.agent.headers.append((b"content-length", b"6"))
    keyed.run(scenario())


def test_without_a_key_nothing_is_remembered() -> None:
    async def scenario() -> None:
        for _ in range(2):
            async with keyed.idempotency.forward(ForwardRequest("echo", [], [], b"{}")) as answer:
                assert [chunk async for chunk in answer.chunks] == ANSWER
        assert keyed.agent.runs == ["i1", "i2"] and not keyed.disk.calls

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.5, 1.5])
def test_a_second_request_joins_the_first_and_reads_from_the_start(delay: float) -> None:
    async def scenario() -> None:
        first = asyncio.create_task(keyed.send())
        await asyncio.sleep(delay)
        assert {await first, await keyed.send(), await keyed.send()} >= {(b"onetwo", False), (b"onetwo", True)}
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


@pytest.mark.parametrize("other", [{"body": b'{"a":1}'}, {"accept": b"text/event-stream"}])
def test_another_request_with_the_key_is_refused_while_it_runs_and_afterwards(other: dict[str, bytes]) -> None:
    async def scenario() -> None:
        first = asyncio.create_task(keyed.send())
        await asyncio.sleep(0.5)
        with pytest.raises(KeyReused):
            await keyed.send(**other)
        await first
        keyed.restart_manager()
        with pytest.raises(KeyReused):
            await keyed.send(**other)
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


def test_a_call_goes_on_when_its_client_leaves() -> None:
    async def scenario() -> None:
        first = asyncio.create_task(keyed.send())
        await asyncio.sleep(0.5)
        first.cancel()
        await asyncio.sleep(5)
        assert await keyed.send() == (b"onetwo", True)
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


def test_a_call_whose_process_died_is_run_again_once() -> None:
    async def scenario() -> None:
        assert await keyed.send() == (b"onetwo", False)
        assert keyed.agent.runs == ["i1", "i2"]

    keyed = Keyed(DIED, ANSWER)
    keyed.run(scenario())


def test_a_call_that_kills_two_processes_is_not_given_a_third() -> None:
    async def scenario() -> None:
        assert await keyed.failure() is DIED
        keyed.restart_manager()
        assert isinstance(await keyed.failure(), StateConflict)
        assert keyed.agent.runs == ["i1", "i2"]

    keyed = Keyed(DIED)
    keyed.run(scenario())


def test_a_call_whose_process_lives_is_never_run_again() -> None:
    async def scenario() -> None:
        assert await keyed.failure() is BROKE
        assert isinstance(await keyed.failure(), StateConflict)
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(BROKE)
    keyed.run(scenario())


def test_a_stream_that_broke_off_is_run_again_by_the_next_request_only() -> None:
    async def scenario() -> None:
        assert await keyed.failure() is DIED
        assert keyed.agent.runs == ["i1"]
        assert await keyed.send() == (b"onetwo", False)
        assert keyed.agent.runs == ["i1", "i2"]

    keyed = Keyed([b"one", b"!"], ANSWER)
    keyed.run(scenario())


async def lose_the_manager(keyed: Keyed) -> None:
    lost = asyncio.create_task(keyed.send())
    await asyncio.sleep(0.5)
    await keyed.idempotency.close()
    lost.cancel()
    keyed.restart_manager()


def test_after_the_managers_death_the_answer_is_asked_of_the_instance_that_has_the_call() -> None:
    async def scenario() -> None:
        await lose_the_manager(keyed)
        first, second = await asyncio.gather(keyed.send(), keyed.send())
        assert first == second == (b"onetwo", True)
        assert keyed.agent.asked == [("i1", keyed.agent.names[0])]
        assert await keyed.send() == (b"onetwo", True)
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(ANSWER)
    keyed.agent.recalls = [Recall()]
    keyed.run(scenario())


def test_the_name_of_a_call_is_not_passed_on_to_its_client() -> None:
    async def scenario() -> None:
        await lose_the_manager(keyed)
        await keyed.send()
        assert keyed.disk.calls["k"].headers == [["content-type", "text/plain"]]

    keyed = Keyed(ANSWER)
    keyed.agent.recalls = [Recall()]
    keyed.run(scenario())


def test_each_call_has_a_name_of_its_own() -> None:
    async def scenario() -> None:
        await keyed.send(key=b"a")
        await keyed.send(key=b"b")
        await keyed.send(key=b"c", body=b'{"n": 1}')
        assert len(set(keyed.agent.names)) == 3
        assert all(len(name) == 64 for name in keyed.agent.names)

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


def test_a_call_that_never_reached_its_instance_is_made_now() -> None:
    async def scenario() -> None:
        await lose_the_manager(keyed)
        assert await keyed.send() == (b"onetwo", False)
        assert keyed.agent.runs == ["i1", "i2"]
        assert keyed.disk.calls["k"].attempts == 1

    keyed = Keyed(ANSWER)
    keyed.agent.recalls = [Recall(404, (b"no",), says="not-begun")]
    keyed.run(scenario())


@pytest.mark.parametrize("recall", [Recall(404, (b"no",), says=""), Recall(410, (b"gone",), says=""), Recall(says="x")])
def test_where_the_instance_has_no_answer_the_outcome_is_not_known_and_nothing_is_run(recall: Recall) -> None:
    async def scenario() -> None:
        await lose_the_manager(keyed)
        for _ in range(2):
            assert "Whether it was done is not known" in (await keyed.failure()).detail
        assert keyed.agent.runs == ["i1"] and len(keyed.agent.asked) == 1

    keyed = Keyed(ANSWER)
    keyed.agent.recalls = [recall]
    keyed.run(scenario())


def test_an_instance_that_dies_while_it_is_asked_has_its_call_run_again() -> None:
    async def scenario() -> None:
        await lose_the_manager(keyed)
        assert await keyed.send() == (b"onetwo", False)
        assert keyed.agent.runs == ["i1", "i2"]

    keyed = Keyed(ANSWER)
    keyed.agent.recalls = [DIED]
    keyed.run(scenario())


def test_an_instance_that_cannot_be_asked_now_is_asked_again_by_the_next_request() -> None:
    async def scenario() -> None:
        await lose_the_manager(keyed)
        for error in (BROKE, UNREACHABLE, BUSY):
            assert await keyed.failure() is error
        assert (await keyed.send())[0] == b"onetwo"
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(ANSWER)
    keyed.agent.recalls = [BROKE, UNREACHABLE, BUSY, Recall()]
    keyed.run(scenario())


def test_after_the_managers_death_a_call_whose_process_is_gone_is_run_again() -> None:
    async def scenario() -> None:
        await lose_the_manager(keyed)
        keyed.registry.forget("i1")
        assert await keyed.send() == (b"onetwo", False)
        assert keyed.agent.runs == ["i1", "i2"] and not keyed.agent.asked

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


@pytest.mark.parametrize("status", [409, 429, 503])
def test_an_answer_that_says_that_nothing_was_run_is_not_kept(status: int) -> None:
    async def scenario() -> None:
        assert await keyed.send() == await keyed.send() == (b"onetwo", False)
        assert not keyed.disk.calls

    keyed = Keyed(ANSWER, status=status)
    keyed.run(scenario())


@pytest.mark.parametrize("status", [429, 503])
def test_the_failure_of_a_task_that_had_begun_is_kept(status: int) -> None:
    async def scenario() -> None:
        assert (await keyed.send(), await keyed.send()) == ((b"onetwo", False), (b"onetwo", True))

    keyed = Keyed(ANSWER, status=status)
    keyed.agent.headers.append((b"x-task-id", b"7"))
    keyed.run(scenario())


def test_an_error_before_anything_was_run_frees_the_key() -> None:
    async def scenario() -> None:
        assert isinstance(await keyed.failure(), NotReady)
        assert await keyed.send() == (b"onetwo", False)

    keyed = Keyed(NotReady("Not yet."), ANSWER)
    keyed.run(scenario())


def test_a_call_that_took_too_long_is_not_run_again() -> None:
    async def scenario() -> None:
        assert isinstance(await keyed.failure(), AdapterTimeout)
        assert "took too long" in (await keyed.failure()).detail
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(AdapterTimeout("It took too long."))
    keyed.run(scenario())


def test_an_answer_too_large_to_keep_is_passed_on_once_and_never_run_again() -> None:
    async def scenario() -> None:
        assert await keyed.send() == (b"x" * 150, False)
        for _ in range(2):
            assert "too large to keep" in (await keyed.failure()).detail
            keyed.restart_manager()
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed([b"x" * 50] * 3)
    keyed.run(scenario())


def test_while_the_disk_refuses_nothing_is_sent() -> None:
    async def scenario() -> None:
        keyed.disk.is_full = True
        assert isinstance(await keyed.failure(), StoreUnavailable)
        assert keyed.agent.runs == []
        keyed.disk.is_full = False
        assert await keyed.send() == (b"onetwo", False)

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


def test_an_answer_that_the_disk_refuses_is_remembered_in_memory() -> None:
    async def scenario() -> None:
        first = asyncio.create_task(keyed.send())
        await asyncio.sleep(0.5)
        keyed.disk.is_full = True
        assert await first == (b"onetwo", False)
        assert await keyed.send() == (b"onetwo", True)
        assert keyed.agent.runs == ["i1"]

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


def test_a_body_that_comes_in_pieces_is_the_same_as_a_whole_one() -> None:
    async def pieces() -> Any:
        yield b"{"
        yield b"}"

    async def scenario() -> None:
        request = ForwardRequest("echo", [(b"idempotency-key", b"k"), (b"accept", b"*/*")], [], pieces())
        async with keyed.idempotency.forward(request) as answer:
            assert [chunk async for chunk in answer.chunks] == ANSWER
        assert await keyed.send() == (b"onetwo", True)

    keyed = Keyed(ANSWER)
    keyed.run(scenario())


@pytest.mark.parametrize("value", [b"", b'""', b'"open', b"two words", b"\xff", b"a" * 256, b'"a\\b"'])
def test_a_malformed_key_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest, match="UUID"):
        key_of([(b"idempotency-key", value)])


def test_two_keys_are_refused() -> None:
    with pytest.raises(BadRequest):
        key_of([(b"idempotency-key", b"a"), (b"idempotency-key", b"b")])


@pytest.mark.parametrize(
    ("value", "key"), [(b"abc", "abc"), (b'"abc"', "abc"), (b'"a \\" b"', 'a " b'), (b"8e03978e-40d5", "8e03978e-40d5")]
)
def test_a_key_is_read_bare_or_quoted(value: bytes, key: str) -> None:
    assert key_of([(b"accept", b"*/*"), (b"idempotency-key", value)]) == key
    assert key_of([]) is None


def test_the_fields_of_a_call_that_is_run_again_say_so() -> None:
    async def scenario() -> None:
        await keyed.send()
        call = keyed.disk.calls["k"]
        assert (call.attempts, call.instance_id, call.state) == (2, "i2", "answered")
        assert call.status == 200

    keyed = Keyed(DIED, ANSWER)
    keyed.run(scenario())
