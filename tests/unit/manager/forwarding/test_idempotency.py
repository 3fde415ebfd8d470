from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_service.http.client.answer import RawHeaders
from manager.errors import AdapterTimeout, KeyReused, NotReady, StoreUnavailable
from manager.forwarding.request import ForwardRequest
from tests.unit.manager.forwarding.keyed_calls import ANSWER, Keyed


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


def test_each_call_has_a_name_of_its_own() -> None:
    async def scenario() -> None:
        await keyed.send(key=b"a")
        await keyed.send(key=b"b")
        await keyed.send(key=b"c", body=b'{"n": 1}')
        assert len(set(keyed.agent.names)) == 3
        assert all(len(name) == 64 for name in keyed.agent.names)

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


def test_interim_answers_reach_whoever_waits_and_are_not_kept() -> None:
    async def send(told: list[int]) -> None:
        async def tell(status: int, _: RawHeaders) -> None:
            await asyncio.sleep(60 * len(told))
            told.append(status)

        headers = [(b"idempotency-key", b"k"), (b"accept", b"*/*")]
        async with keyed.idempotency.forward(ForwardRequest("echo", headers, [], b"{}", tell_interim=tell)):
            pass

    async def scenario() -> None:
        first: list[int] = []
        joined: list[int] = []
        late: list[int] = []
        async with asyncio.TaskGroup() as group:
            group.create_task(send(first))
            await asyncio.sleep(0.5)
            group.create_task(send(joined))
            await asyncio.sleep(10)
            # A reader that is slow to take them holds up neither the call nor the disk.
            assert keyed.disk.calls["k"].body == b"onetwo" and first == joined == [102]
        assert first == joined == [102, 103]
        await send(late)
        assert late == []

    keyed = Keyed(ANSWER)
    keyed.agent.interim = [102, 103]
    keyed.run(scenario())


def test_an_answer_that_may_be_told_again_has_no_trailers_the_first_time_either() -> None:
    async def scenario() -> None:
        headers = [(b"idempotency-key", b"k"), (b"accept", b"*/*")]
        async with keyed.idempotency.forward(ForwardRequest("echo", headers, [], b"{}", takes_trailers=True)) as answer:
            assert answer.trailers is None
        assert keyed.agent.runs and not keyed.agent.has_asked_for_trailers

    keyed = Keyed(ANSWER)
    keyed.run(scenario())
