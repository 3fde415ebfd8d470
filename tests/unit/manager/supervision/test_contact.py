"""An adopted instance is sought until it is heard of: its address may never have been written down."""

from __future__ import annotations

from dataclasses import replace

from agent_service.contract import AdapterAction
from manager.supervision.states import AgentState
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.supervision.conftest import RECORD, URL, Run, Supervising

NAMELESS = replace(RECORD, service_url=None)


def test_one_without_an_address_on_record_is_found_where_its_process_listens(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(NAMELESS)
        await world.open()
        await advance(3)
        assert world.of().state is AgentState.STARTING
        world.adapters.infos[URL] = {"instance_id": "i-old"}
        world.listening[4242] = ["http://127.0.0.1:5432", URL]
        await until(lambda: world.of().state is AgentState.RUNNING, within=1.1)
        assert world.adapters.locations == {URL: "http://127.0.0.1:8000"}
        assert world.told_tracing == [("echo", URL)]
        assert world.spawner.launches == [] and world.spawner.adopted[0].signals == []

    supervising(scenario)


def test_one_that_could_not_answer_at_once_is_asked_again(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.unreachable = True
        await world.open()
        await advance(10)
        assert world.of().state is AgentState.STARTING
        world.adapters.unreachable = False
        await until(lambda: world.of().state is AgentState.RUNNING, within=1.1)

    supervising(scenario)


def test_one_that_registers_by_itself_is_sought_no_longer(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(NAMELESS)
        await world.open()
        world.register("i-old")
        await advance(2)
        (instance,) = world.of().instances
        assert instance.control is not None and instance.control.done()
        assert world.adapters.locations == {}

    supervising(scenario)


def test_one_that_was_being_stopped_is_stopped_on_when_it_is_found_later(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(NAMELESS)
        await world.open()
        world.adapters.infos[URL] = {"instance_id": "i-old"}
        world.adapters.statuses[URL] = {"status": "stopping", "in_flight": 1}
        world.listening[4242] = [URL]
        await until(lambda: world.adapters.actions == [AdapterAction.STOP], within=2)
        world.spawner.adopted[0].end(code=0)
        await until(lambda: world.spawner.launches, within=1)
        assert world.of().restarts == 3, "a stop that an earlier manager began is no crash"

    supervising(scenario)


def test_a_stop_ends_the_search(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(NAMELESS)
        world.choose("stopped")
        await world.open()
        await until(lambda: "TERM" in world.spawner.adopted[0].signals, within=60)
        world.spawner.adopted[0].end(code=0)
        await until(lambda: world.of().state is AgentState.STOPPED, within=1)
        assert not world.adapters.locations

    supervising(scenario)
