from __future__ import annotations

import asyncio

from manager.events import EventKind
from manager.supervision.states import AgentState
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.supervision.ending import ended, reason_of_last_exit, stop
from tests.unit.manager.supervision.supervised import Supervised, supervise


def test_a_kill_ends_the_process_at_once_and_keeps_it_down() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start(in_flight=1)
        world.supervisor.kill("kill by alice: hangs")
        assert await ended(world) < 0.01
        await world.reach(AgentState.STOPPED, within=0.1)
        assert world.process.signals == ["KILL"]
        assert world.adapters.calls == []
        assert world.of_kind(EventKind.DRAIN_STARTED) == []
        assert reason_of_last_exit(world) == (
            "killed by signal 9 (SIGKILL) while it was being stopped with 1 task in flight: kill by alice: hangs"
        )
        await advance(60)
        assert len(world.spawner.processes) == 1

    supervise(scenario)


def test_a_kill_cuts_a_drain_short() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        stop(world, 120)
        await advance(5)
        world.supervisor.kill("kill by alice")
        await world.reach(AgentState.STOPPED, within=0.1)
        assert world.process.signals == ["KILL"]

    supervise(scenario)


def test_a_kill_during_the_start_kills_the_process_that_comes_of_it() -> None:
    def prepare(world: Supervised) -> None:
        world.spawner.hold = asyncio.Event()
        world.spawner.on_terminate = None

    async def scenario(world: Supervised) -> None:
        await until(lambda: world.spawner.launches)
        world.supervisor.kill("kill by alice")
        assert world.spawner.hold is not None
        world.spawner.hold.set()
        await world.reach(AgentState.STOPPED, within=1)
        assert world.process.signals[-1] == "KILL"

    supervise(scenario, prepare=prepare)


def test_a_process_that_a_kill_does_not_end_at_once_is_waited_for() -> None:
    async def scenario(world: Supervised) -> None:
        await world.start()
        world.process.survives_kill = True
        world.supervisor.kill("kill by alice")
        await world.reach(AgentState.STOPPING, within=0.1)
        await advance(5)
        assert world.state is AgentState.STOPPING
        world.process.end(signal=9)
        await world.reach(AgentState.STOPPED, within=0.1)

    supervise(scenario)
