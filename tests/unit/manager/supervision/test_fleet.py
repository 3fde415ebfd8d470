from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent_service.contract import AdapterAction
from manager.errors import AdapterDied, AdapterTimeout, StateConflict, StoreUnavailable, UnknownAgent
from manager.events import Event, EventKind
from manager.specs.models import AgentConfig
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.fleet import Fleet
from manager.supervision.outsiders import Outsiders
from manager.supervision.resources import ResourceSampler
from manager.supervision.states import HARMLESS, LEGAL_ACTIONS, AgentAction, AgentState, DesiredState, Strategy
from manager.supervision.supervisor import Supervisor
from manager.supervision.view_builder import ViewBuilder
from manager.supervision.views import AgentView
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.fakes.clock import FakeClock, advance, run, until
from tests.unit.manager.fakes.world import World, agent
from tests.unit.manager.supervision.supervised import UNFORESEEN

S, A, D = AgentState, AgentAction, DesiredState


class Fleetwide(World):
    """A world with the fleet on top of it."""

    supervisor: Supervisor
    outsiders_: Outsiders
    fleet: Fleet

    async def recent(self, limit: int, agent_id: str | None) -> list[Event]:
        return [event for event in reversed(self.events) if event.agent_id == agent_id][:limit]

    @property
    def echo(self) -> AgentSupervisor:
        found = self.supervisor.get("echo")
        assert found is not None
        return found

    async def running(self, **status: Any) -> str:
        await until(lambda: self.echo.instances)
        instance_id = self.echo.instances[-1].instance_id
        self.register(instance_id, **status)
        await until(lambda: self.echo.state in (S.RUNNING, S.PAUSED))
        return instance_id

    async def act(self, action: AgentAction, agent_id: str = "echo", **options: Any) -> AgentView:
        return await self.fleet.act(agent_id, action, actor="alice", **options)


def fleetwide(scenario: Callable[[Fleetwide], Awaitable[None]], *agents: AgentConfig, supervised: bool = True) -> None:
    """Without `supervised` nobody closes gaps: states are what the test sets."""
    clock = FakeClock()

    async def main() -> None:
        world = Fleetwide(clock)
        world.supervisor = Supervisor(agents or (agent(),), world.tools)
        world.outsiders_ = world.outsiders()
        world.fleet = Fleet(
            supervisor=world.supervisor,
            outsiders=world.outsiders_,
            views=ViewBuilder(world.registry, ResourceSampler(world.supervisor.pids), world.router),
            store=world.store,  # type: ignore[arg-type]
            bus=world.bus,
            clock=clock,
            recent_events=world.recent,
        )
        await world.supervisor.restore()
        await world.supervisor.open()
        if not supervised:
            await world.supervisor.close()
        try:
            await scenario(world)
        finally:
            await asyncio.wait_for(world.supervisor.close(), 10)

    with capture_logs() as logs:
        run(main(), clock)
    assert [entry for entry in logs if entry["event"] in UNFORESEEN] == []


LEGAL = [(state, action) for state in AgentState for action in AgentAction if action in LEGAL_ACTIONS[state]]
SAME = [(state, action) for state in AgentState for action in AgentAction if action in HARMLESS[state]]
CONFLICTS = [
    (state, action)
    for state in AgentState
    for action in AgentAction
    if action not in LEGAL_ACTIONS[state] | HARMLESS[state]
]
DESIRED_AFTER = {A.START: D.RUNNING, A.PAUSE: D.PAUSED, A.RESUME: D.RUNNING, A.STOP: D.STOPPED, A.KILL: D.STOPPED}


@pytest.mark.parametrize(("state", "action"), LEGAL)
def test_a_legal_action_changes_what_is_desired_writes_it_down_and_tells_it(
    state: AgentState, action: AgentAction
) -> None:
    async def scenario(world: Fleetwide) -> None:
        world.echo.keeper.state = state
        await world.act(action, reason="lunch")
        desired = DESIRED_AFTER.get(action, D.RUNNING)
        assert world.echo.desired is desired
        record = world.store.desired["echo"]
        assert (record.desired_state, record.reason, record.actor) == (desired.value, "lunch", "alice")
        (told,) = world.of_kind(EventKind.DESIRED_CHANGED)
        assert (told.agent_id, told.actor, told.reason) == ("echo", "alice", "lunch")
        assert told.message == f"alice asked echo to {action}"
        assert told.data == {"action": action.value, "desired_state": desired.value}

    fleetwide(scenario, supervised=False)


@pytest.mark.parametrize(("state", "action"), SAME)
def test_a_harmless_action_changes_nothing_where_it_is_desired_already(state: AgentState, action: AgentAction) -> None:
    async def scenario(world: Fleetwide) -> None:
        world.echo.keeper.state = state
        world.echo.desired = DESIRED_AFTER[action]
        view = await world.act(action)
        assert view.state is state
        assert world.store.desired == {}
        assert world.of_kind(EventKind.DESIRED_CHANGED) == []

    fleetwide(scenario, supervised=False)


@pytest.mark.parametrize(("state", "action"), SAME)
def test_it_changes_what_is_desired_where_that_is_something_else(state: AgentState, action: AgentAction) -> None:
    async def scenario(world: Fleetwide) -> None:
        world.echo.keeper.state = state
        world.echo.desired = next(desired for desired in DesiredState if desired is not DESIRED_AFTER[action])
        await world.act(action)
        assert world.echo.desired is DESIRED_AFTER[action]
        assert world.store.desired["echo"].desired_state == DESIRED_AFTER[action].value

    fleetwide(scenario, supervised=False)


@pytest.mark.parametrize(("state", "action"), CONFLICTS)
def test_what_the_state_does_not_allow_is_a_conflict_that_says_what_it_allows(
    state: AgentState, action: AgentAction
) -> None:
    async def scenario(world: Fleetwide) -> None:
        world.echo.keeper.state = state
        with pytest.raises(StateConflict) as conflict:
            await world.act(action)
        assert conflict.value.detail.startswith(f"echo {state.in_words}, which does not allow {action}; it allows ")
        for legal in LEGAL_ACTIONS[state]:
            assert legal in conflict.value.detail
        assert (conflict.value.agent_id, conflict.value.state) == ("echo", state)
        assert world.store.desired == {}
        assert world.of_kind(EventKind.DESIRED_CHANGED) == []

    fleetwide(scenario, supervised=False)


def test_an_unknown_agent_is_told_where_ids_are_found() -> None:
    async def scenario(world: Fleetwide) -> None:
        for ask in (world.act(A.STOP, "nobody"), world.fleet.detail("nobody")):
            with pytest.raises(UnknownAgent, match="agent-manager ps"):
                await ask
        with pytest.raises(UnknownAgent):
            world.fleet.agent("nobody")

    fleetwide(scenario)


def test_what_was_chosen_is_on_disk_before_it_takes_effect() -> None:
    async def scenario(world: Fleetwide) -> None:
        seen: list[str] = []

        async def look(_call: Call) -> None:
            seen.append(world.store.desired["echo"].desired_state)

        await world.running()
        world.adapters.on_action = look
        await world.act(A.PAUSE)
        await world.act(A.STOP)
        assert seen == ["paused", "stopped"]

    fleetwide(scenario)


def test_what_cannot_be_written_down_does_not_happen() -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        world.store.refusing = True
        with pytest.raises(StoreUnavailable):
            await world.act(A.STOP)
        await advance(5)
        assert world.echo.desired is D.RUNNING
        assert world.echo.state is S.RUNNING
        assert world.of_kind(EventKind.DESIRED_CHANGED) == []

    fleetwide(scenario)


def test_the_answer_shows_the_first_effect() -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        assert (await world.act(A.PAUSE)).state is S.PAUSED
        assert (await world.act(A.RESUME)).state is S.RUNNING
        assert (await world.act(A.STOP)).state is S.STOPPING
        assert (await world.act(A.KILL)).state is S.STOPPED
        assert (await world.act(A.START)).state is S.STARTING

    fleetwide(scenario, agent(port=8100))


def test_a_restart_that_cannot_roll_drains_first_and_shows_until_when() -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        await world.act(A.RESTART)
        await until(lambda: world.echo.state is S.STOPPING, within=0.1)
        assert world.fleet.agent("echo").drain_deadline is not None

    fleetwide(scenario, agent(port=8100))


def test_an_effect_that_takes_long_is_not_waited_for() -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        world.adapters.silent = True
        before = world.clock.monotonic()
        view = await world.act(A.PAUSE)
        assert world.clock.monotonic() - before == pytest.approx(2, abs=0.1)
        assert (view.state, view.desired_state) == (S.RUNNING, D.PAUSED)

    fleetwide(scenario)


def test_the_person_and_the_reason_are_told_with_the_exit() -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()

        async def end(_call: Call) -> None:
            world.process.end(code=0)

        world.adapters.on_action = end
        await world.act(A.STOP, reason="lunch", timeout_seconds=9)
        await until(lambda: world.echo.state is S.STOPPED)
        assert world.adapters.calls[0].timeout_seconds == pytest.approx(9, abs=0.1)
        last_exit = world.fleet.agent("echo").last_exit
        assert last_exit is not None
        assert last_exit.reason == "exited with status 0: stop by alice: lunch"

    fleetwide(scenario)


def test_a_restart_keeps_a_pause() -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        await world.act(A.PAUSE)
        await world.act(A.RESTART)
        assert world.echo.desired is D.PAUSED

    fleetwide(scenario)


def test_a_restart_of_an_agent_that_was_to_be_stopped_means_that_it_is_to_run() -> None:
    async def scenario(world: Fleetwide) -> None:
        world.echo.keeper.state, world.echo.desired = S.FAILED, D.STOPPED
        await world.act(A.RESTART)
        assert world.echo.desired is D.RUNNING
        assert world.store.desired["echo"].desired_state == "running"

    fleetwide(scenario, supervised=False)


def test_a_pause_during_the_start_can_be_taken_back() -> None:
    async def scenario(world: Fleetwide) -> None:
        await until(lambda: world.echo.state is S.STARTING)
        await world.act(A.PAUSE)
        await world.act(A.RESUME)
        assert world.echo.desired is D.RUNNING
        await world.running()
        await advance(1)
        assert world.adapters.actions == []

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


def test_the_detail_of_an_agent_from_elsewhere_has_no_spec() -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider")
        assert (await world.fleet.detail("outsider")).spec is None

    fleetwide(scenario)


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


def test_an_agent_from_elsewhere_is_shown_without_a_process_of_ours() -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider", in_flight=1)
        view = world.fleet.agent("outsider")
        assert (view.name, view.managed, view.state, view.ready) == ("outsider", False, S.RUNNING, True)
        assert (view.pid, view.port, view.instance_id, view.in_flight) == (None, 8100, "x-1", 1)
        assert view.actions == [A.PAUSE, A.STOP, A.RESTART]

    fleetwide(scenario)


def test_a_lost_agent_says_why_and_takes_no_action() -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider")
        world.clock.advance(30)
        world.registry.expire()
        view = world.fleet.agent("outsider")
        assert (view.state, view.state_reason, view.ready) == (S.LOST, "its heartbeats have stopped", False)
        assert view.actions == []
        with pytest.raises(StateConflict, match="it allows nothing until it is heard of again"):
            await world.act(A.PAUSE, "outsider")

    fleetwide(scenario)


def test_an_agent_from_elsewhere_is_driven_through_its_adapter_and_not_written_down() -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider")
        assert (await world.act(A.PAUSE, "outsider")).state is S.PAUSED
        assert (await world.act(A.PAUSE, "outsider")).state is S.PAUSED
        assert (await world.act(A.RESUME, "outsider")).state is S.RUNNING
        assert (await world.act(A.STOP, "outsider", timeout_seconds=9)).state is S.STOPPING
        assert world.adapters.actions == [AdapterAction.PAUSE, AdapterAction.RESUME, AdapterAction.STOP]
        assert world.adapters.calls[-1].timeout_seconds == 9
        assert world.store.desired == {}
        assert [event.data["action"] for event in world.of_kind(EventKind.DESIRED_CHANGED)] == [
            "pause",
            "resume",
            "stop",
        ]

    fleetwide(scenario)


@pytest.mark.parametrize("action", [A.START, A.KILL])
def test_what_needs_a_process_of_ours_is_a_conflict_for_an_agent_from_elsewhere(action: AgentAction) -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider")
        with pytest.raises(StateConflict, match="was started elsewhere"):
            await world.act(action, "outsider")

    fleetwide(scenario)


@pytest.mark.parametrize("status", ["stopping", "stopped"])
def test_an_agent_from_elsewhere_is_never_advised_what_needs_a_process_of_ours(status: str) -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider", status=status)
        with pytest.raises(StateConflict) as conflict:
            await world.act(A.PAUSE, "outsider")
        allowed = conflict.value.detail.partition("; it allows ")[2]
        assert "start" not in allowed
        assert "kill" not in allowed

    fleetwide(scenario)


@pytest.mark.parametrize(("trouble", "error"), [("unreachable", AdapterDied), ("silent", AdapterTimeout)])
def test_trouble_with_its_adapter_names_the_agent_and_its_state(
    trouble: str, error: type[AdapterDied | AdapterTimeout]
) -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider")
        setattr(world.adapters, trouble, True)
        with pytest.raises(error) as told:
            await world.act(A.PAUSE, "outsider")
        assert (told.value.agent_id, told.value.state) == ("outsider", S.RUNNING)
        assert world.of_kind(EventKind.DESIRED_CHANGED) == []

    fleetwide(scenario)


def test_an_agent_from_elsewhere_that_is_gone_before_its_stop_is_answered_was_stopped_all_the_same() -> None:
    async def scenario(world: Fleetwide) -> None:
        async def go(_call: Call) -> None:
            world.unregister("x-1", "outsider")

        world.register("x-1", "outsider")
        world.adapters.on_action = go
        assert (await world.act(A.STOP, "outsider")).id == "outsider"
        with pytest.raises(UnknownAgent):
            world.fleet.agent("outsider")

    fleetwide(scenario)


def test_what_an_adopted_process_stands_in_the_way_of_is_refused_with_its_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        (instance,) = world.echo.instances
        monkeypatch.setattr(world.spawner, "shares_ports", True)
        instance.holds_port = True
        for asked in (world.act(A.RESTART, strategy=Strategy.ROLLING), world.fleet.scale("echo", 2, actor="alice")):
            with pytest.raises(StateConflict, match=rf"\(pid {instance.pid}\) holds port 8200 .* strategy recreate"):
                await asked
        await world.fleet.scale("echo", 1, actor="alice")

    fleetwide(scenario, agent("echo", port=8200))
