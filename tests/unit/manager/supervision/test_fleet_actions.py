from __future__ import annotations

import pytest

from manager.errors import StateConflict, StoreUnavailable
from manager.events import EventKind
from manager.store.store import DesiredRecord
from manager.supervision.states import HARMLESS, LEGAL_ACTIONS, AgentAction, AgentState, DesiredState, Strategy
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.fakes.clock import advance, until
from tests.unit.manager.fakes.world import agent
from tests.unit.manager.supervision.fleetwide import A, D, Fleetwide, S, fleetwide

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


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("action", [None, A.STOP])
def test_what_is_asked_of_an_agent_that_leaves_the_config_in_this_moment_is_done_and_said_to_be(
    action: AgentAction | None, comes_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: Fleetwide) -> None:
        await world.running()
        set_desired = world.store.set_desired

        async def meanwhile(record: DesiredRecord) -> None:
            world.supervisor.remove("echo")
            await until(lambda: world.supervisor.get("echo") is None)
            if comes_back:
                world.supervisor.add(agent())
            await set_desired(record)

        monkeypatch.setattr(world.store, "set_desired", meanwhile)
        answer = await (world.fleet.scale("echo", 3, actor="alice") if action is None else world.act(action))
        assert answer.id == "echo"
        assert world.store.desired["echo"].instances == (3 if action is None else None)
        if comes_back:
            assert world.echo.instances_wanted == (3 if action is None else 1)
            assert world.echo.desired is (D.RUNNING if action is None else D.STOPPED)

    fleetwide(scenario)
