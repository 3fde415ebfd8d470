from __future__ import annotations

import asyncio

import pytest

from manager.errors import StateConflict
from tests.unit.manager.forwarding.keyed_calls import ANSWER, BROKE, BUSY, DIED, UNREACHABLE, Keyed, Recall


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


def test_the_fields_of_a_call_that_is_run_again_say_so() -> None:
    async def scenario() -> None:
        await keyed.send()
        call = keyed.disk.calls["k"]
        assert (call.attempts, call.instance_id, call.state) == (2, "i2", "answered")
        assert call.status == 200

    keyed = Keyed(DIED, ANSWER)
    keyed.run(scenario())
