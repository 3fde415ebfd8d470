from __future__ import annotations

import pytest

from agent_service.contract import AdapterAction
from manager.errors import AdapterDied, AdapterTimeout, StateConflict, UnknownAgent
from manager.events import EventKind
from manager.supervision.states import AgentAction
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.supervision.fleetwide import A, Fleetwide, S, fleetwide


def test_the_detail_of_an_agent_from_elsewhere_has_no_spec() -> None:
    async def scenario(world: Fleetwide) -> None:
        world.register("x-1", "outsider")
        assert (await world.fleet.detail("outsider")).spec is None

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
