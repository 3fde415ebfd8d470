from __future__ import annotations

import pytest

from manager.errors import UnknownAgent
from manager.supervision.states import LEGAL_ACTIONS
from tests.unit.manager.fakes.clock import until
from tests.unit.manager.fakes.world import agent
from tests.unit.manager.supervision.fleetwide import A, D, Fleetwide, S, fleetwide


def test_an_unknown_agent_is_told_where_ids_are_found() -> None:
    async def scenario(world: Fleetwide) -> None:
        for ask in (world.act(A.STOP, "nobody"), world.fleet.detail("nobody")):
            with pytest.raises(UnknownAgent, match="agent-manager ps"):
                await ask
        with pytest.raises(UnknownAgent):
            world.fleet.agent("nobody")

    fleetwide(scenario)


def test_agents_are_listed_in_the_order_of_the_config_then_those_from_elsewhere_by_id() -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("z-1", "zeta")
        world.register("a-1", "alpha")
        assert [view.id for view in world.fleet.agents()] == ["writer", "echo", "alpha", "zeta"]
        assert [view.managed for view in world.fleet.agents()] == [True, True, False, False]

    fleetwide(scenario, agent("writer"), agent("echo"))


def test_the_detail_has_the_newest_events_and_the_spec_with_references_never_values() -> None:
    async def scenario(world: Fleetwide) -> None:
        await until(lambda: world.echo.state is S.FAILED)
        detail = await world.fleet.detail("echo")
        assert detail.spec is not None
        assert detail.spec["env"]["TEAM_KEY"] == "env:PLANNER_TEAM_KEY"
        assert detail.events[0]["kind"] == "state_changed"
        assert detail.events[0]["data"]["state"] == "failed"
        ids = [event["id"] for event in detail.events]
        assert ids == sorted(ids, reverse=True)
        assert detail.state_reason is not None

    fleetwide(scenario, agent(env={"TEAM_KEY": "env:PLANNER_TEAM_KEY"}))


def test_a_view_shows_what_supervision_and_registry_know() -> None:
    async def scenario(world: Fleetwide) -> None:
        instance_id = await world.running()
        task = {"task_id": "t-1", "started_at": world.clock.now()}
        world.heartbeat(instance_id, in_flight=2, queued=1, tasks_total=9, tasks_failed=3, current_task=task)
        view = world.fleet.agent("echo")
        assert (view.id, view.name, view.description, view.entry_point) == ("echo", "Echo", "Says it back.", "dummy")
        assert (view.managed, view.ready, view.state, view.desired_state) == (True, True, S.RUNNING, D.RUNNING)
        assert (view.service_url, view.port, view.pid) == ("http://127.0.0.1:8100", 8100, world.process.identity.pid)
        assert view.instance_id == instance_id
        assert view.registered_at is not None
        assert view.last_heartbeat_at == world.clock.now()
        assert (view.in_flight, view.queued, view.tasks_total, view.tasks_failed) == (2, 1, 9, 3)
        assert view.current_task is not None
        assert view.current_task.task_id == "t-1"
        assert (view.restarts, view.last_exit, view.next_start_at, view.drain_deadline) == (0, None, None, None)
        assert view.metadata == {"team": "core"}
        assert view.actions[:4] == [A.PAUSE, A.STOP, A.RESTART, A.KILL]
        assert set(view.actions) == LEGAL_ACTIONS[S.RUNNING]

    fleetwide(scenario, agent(name="Echo", description="Says it back.", metadata={"team": "core"}))


def test_an_agent_that_is_down_has_no_process_and_no_readiness() -> None:
    async def scenario(world: Fleetwide) -> None:
        view = world.fleet.agent("echo")
        assert (view.ready, view.state) == (False, S.STOPPED)
        assert (view.pid, view.service_url, view.instance_id, view.started_at) == (None, None, None, None)
        assert (view.in_flight, view.tasks_total) == (0, 0)
        assert view.port == 8100
        assert set(view.actions) == LEGAL_ACTIONS[S.STOPPED]

    fleetwide(scenario, agent(autostart=False, port=8100))


def test_in_backoff_the_next_start_is_shown() -> None:
    async def scenario(world: Fleetwide) -> None:
        await until(lambda: world.spawner.processes)
        world.process.end(code=1)
        await until(lambda: len(world.spawner.processes) == 2)
        world.process.end(code=1)
        await until(lambda: world.echo.state is S.BACKOFF)
        view = world.fleet.agent("echo")
        assert view.next_start_at is not None
        assert view.next_start_at > world.clock.now()
        assert view.restarts == 1
        assert view.last_exit is not None
        assert view.last_exit.code == 1

    fleetwide(scenario, agent(restart={"initial_delay_seconds": 4.0}))


def test_a_paused_agent_is_not_ready() -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        await world.act(A.PAUSE)
        assert not world.fleet.agent("echo").ready

    fleetwide(scenario)
