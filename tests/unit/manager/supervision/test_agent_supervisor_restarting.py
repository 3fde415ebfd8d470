from __future__ import annotations

import asyncio

import pytest

from manager.events import EventKind
from manager.registry.routing import Admission
from manager.supervision.states import AgentState, DesiredState, Strategy
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.supervision.ending import reason_of_last_exit
from tests.unit.manager.supervision.supervised import Supervised, supervise


def test_a_restart_drains_and_brings_a_new_process() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.start()
        world.drains_in(2)
        world.supervisor.restart(
            DesiredState.RUNNING, drain_seconds=9, strategy=Strategy.RECREATE, reason="restart by alice"
        )
        await world.reach(AgentState.STOPPING, within=0.1)
        assert world.supervisor.state_reason == "restart by alice"
        assert world.adapters.calls[0].timeout_seconds == pytest.approx(9, abs=0.1)
        assert world.router.route("echo").admission is Admission.COMING_BACK
        second = await world.start()
        assert second != first
        assert world.supervisor.restarts == 1
        assert world.store.records[second].restarts == 1
        assert world.process.signals == []
        assert reason_of_last_exit(world) == "exited with status 0: restart by alice"
        assert world.of_kind(EventKind.RESTART_SCHEDULED) == []

    supervise(scenario)


def test_a_request_during_a_restart_waits_for_the_new_process() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.drains_in(2)
        world.supervisor.restart(DesiredState.RUNNING, strategy=Strategy.RECREATE, reason="restart by alice")
        await world.reach(AgentState.STOPPING)
        request = asyncio.create_task(world.routed("echo"))
        second = await world.start()
        assert (await request).instance_id == second

    supervise(scenario)


def test_a_paused_agent_restarts_paused() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start(status="paused")
        world.drains_in(1)
        world.supervisor.restart(DesiredState.PAUSED, strategy=Strategy.RECREATE, reason="restart by alice")
        await world.reach(AgentState.STOPPING)
        assert world.router.route("echo").admission is Admission.REFUSED
        await world.start(status="paused")
        assert world.state is AgentState.PAUSED
        assert world.spawner.launches[-1].environment["AGENT_INITIAL_STATUS"] == "paused"

    supervise(scenario, desired=DesiredState.PAUSED)


def test_a_restart_while_it_starts_replaces_the_process_that_is_coming_up() -> None:
    async def scenario(world: Supervised) -> None:
        first = await world.started()
        world.supervisor.restart(DesiredState.RUNNING, reason="restart by alice")
        await until(lambda: len(world.spawner.processes) == 2, within=1)
        second = await world.start()
        assert second != first
        assert world.state is AgentState.RUNNING

    supervise(scenario)


def test_restarting_twice_before_the_first_is_done_brings_one_new_process() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.drains_in(2)
        world.supervisor.restart(DesiredState.RUNNING, strategy=Strategy.RECREATE, reason="restart by alice")
        await advance(1)
        world.supervisor.restart(DesiredState.RUNNING, strategy=Strategy.RECREATE, reason="restart by bob")
        await world.start()
        await advance(10)
        assert len(world.spawner.processes) == 2
        assert world.supervisor.restarts == 1
        assert world.state is AgentState.RUNNING

    supervise(scenario)


def test_a_failed_agent_is_restarted_with_a_clean_slate() -> None:
    async def scenario(world: Supervised) -> None:
        await world.started()
        world.process.end(code=78)
        await world.reach(AgentState.FAILED)
        world.supervisor.restart(DesiredState.RUNNING, reason="restart by alice")
        await world.start()
        assert world.state is AgentState.RUNNING
        assert world.supervisor.restarts == 1

    supervise(scenario)
