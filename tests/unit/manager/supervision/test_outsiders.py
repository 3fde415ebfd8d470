from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent_service.contract import AdapterAction
from manager.adapter_client import AdapterRefused
from manager.errors import AdapterDied, AdapterTimeout, UnknownAgent
from manager.registry.routing import Admission
from manager.supervision.outsiders import Outsider, Outsiders
from manager.supervision.states import AgentAction, AgentState, DesiredState
from tests.unit.manager.fakes.adapters import Call
from tests.unit.manager.fakes.clock import FakeClock, run
from tests.unit.manager.fakes.world import TTL_SECONDS, World

RETENTION = 60.0


class Elsewhere(World):
    """A world in which agents register from elsewhere."""

    outsiders_: Outsiders

    def the(self, agent_id: str = "echo") -> Outsider:
        found = self.outsiders_.get(agent_id)
        assert found is not None
        return found

    def admission(self, agent_id: str = "echo") -> Admission:
        return self.router.route(agent_id).admission

    def fall_silent(self) -> None:
        self.clock.advance(TTL_SECONDS)
        self.registry.expire()

    async def act(self, action: AgentAction, timeout: float | None = None) -> None:
        await self.outsiders_.act(self.the(), action, timeout_seconds=timeout)


def elsewhere(scenario: Callable[[Elsewhere], Awaitable[None]]) -> None:
    clock = FakeClock()

    async def main() -> None:
        world = Elsewhere(clock)
        world.outsiders_ = world.outsiders(lost_retention_seconds=RETENTION)
        await scenario(world)

    run(main(), clock)


def test_an_agent_from_elsewhere_appears_with_its_registration_and_takes_requests() -> None:
    async def scenario(world: Elsewhere) -> None:
        assert world.outsiders_.all() == []
        world.register("x-1")
        assert world.the().state is AgentState.RUNNING
        assert world.the().desired is DesiredState.RUNNING
        assert (await world.routed("echo")).instance_id == "x-1"
        assert world.states() == []

    elsewhere(scenario)


def test_they_are_told_by_id() -> None:
    async def scenario(world: Elsewhere) -> None:
        for agent_id in ("zeta", "alpha", "mid"):
            world.register(f"i-{agent_id}", agent_id)
        assert [outsider.agent_id for outsider in world.outsiders_.all()] == ["alpha", "mid", "zeta"]
        assert world.outsiders_.get("nobody") is None

    elsewhere(scenario)


def test_an_agent_of_ours_is_no_outsider() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.registry.manage("echo")
        world.registry.expect("echo", "i-1")
        world.register("i-1")
        assert world.outsiders_.all() == []
        with pytest.raises(UnknownAgent):
            world.router.route("echo")

    elsewhere(scenario)


@pytest.mark.parametrize(
    ("status", "state", "desired", "admission"),
    [
        ("paused", AgentState.PAUSED, DesiredState.PAUSED, Admission.REFUSED),
        ("stopping", AgentState.STOPPING, DesiredState.STOPPED, Admission.REFUSED),
        ("stopped", AgentState.STOPPED, DesiredState.STOPPED, Admission.DOWN),
    ],
)
def test_its_own_status_is_all_that_is_known_of_it(
    status: str, state: AgentState, desired: DesiredState, admission: Admission
) -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.heartbeat("x-1", status=status)
        assert (world.the().state, world.the().desired) == (state, desired)
        assert world.admission() is admission
        assert world.states() == [state.value]

    elsewhere(scenario)


def test_it_goes_with_its_unregistration() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.unregister("x-1")
        assert world.outsiders_.all() == []
        with pytest.raises(UnknownAgent):
            world.router.route("echo")

    elsewhere(scenario)


def test_a_request_that_waits_for_one_that_goes_is_told() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.registry.unroute("x-1")
        waiting = asyncio.create_task(world.routed("echo"))
        await asyncio.sleep(1)
        world.unregister("x-1")
        with pytest.raises(UnknownAgent):
            await waiting

    elsewhere(scenario)


def test_of_two_instances_one_may_go_or_fall_silent() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.clock.advance(TTL_SECONDS / 2)
        world.register("x-2", port=8101)
        world.clock.advance(TTL_SECONDS / 2)
        world.registry.expire()
        assert world.the().state is AgentState.RUNNING
        assert (await world.routed("echo")).instance_id == "x-2"
        world.unregister("x-1")
        assert world.the().state is AgentState.RUNNING

    elsewhere(scenario)


def test_one_that_falls_silent_is_lost_and_comes_back_with_its_next_heartbeat() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.fall_silent()
        assert world.the().state is AgentState.LOST
        assert world.admission() is Admission.DOWN
        world.heartbeat("x-1")
        assert world.the().state is AgentState.RUNNING
        assert world.the().lost_at is None
        assert world.admission() is Admission.OPEN
        assert world.states() == ["lost", "running"]

    elsewhere(scenario)


def test_one_that_was_paused_when_it_was_lost_is_still_meant_to_be() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1", status="paused")
        world.fall_silent()
        assert (world.the().state, world.the().desired) == (AgentState.LOST, DesiredState.PAUSED)

    elsewhere(scenario)


def test_one_that_stays_lost_is_forgotten_after_its_retention_and_may_register_again() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.fall_silent()
        world.clock.advance(RETENTION - 1)
        world.outsiders_.purge()
        assert world.the().state is AgentState.LOST
        world.clock.advance(1)
        world.outsiders_.purge()
        assert world.outsiders_.all() == []
        assert world.registry.of("echo") == []
        world.register("x-1")
        assert world.the().state is AgentState.RUNNING

    elsewhere(scenario)


def test_the_retention_begins_with_each_loss() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.fall_silent()
        world.clock.advance(RETENTION - 1)
        world.heartbeat("x-1")
        world.fall_silent()
        world.clock.advance(RETENTION - 1)
        world.outsiders_.purge()
        assert world.the().state is AgentState.LOST

    elsewhere(scenario)


def test_purging_leaves_those_that_are_there() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        world.clock.advance(TTL_SECONDS / 2)
        world.outsiders_.purge()
        assert world.the().state is AgentState.RUNNING

    elsewhere(scenario)


@pytest.mark.parametrize(
    ("action", "told", "state"),
    [
        (AgentAction.PAUSE, AdapterAction.PAUSE, AgentState.PAUSED),
        (AgentAction.STOP, AdapterAction.STOP, AgentState.STOPPING),
        (AgentAction.RESTART, AdapterAction.RESTART, AgentState.STOPPING),
    ],
)
def test_an_action_is_passed_on_and_its_answer_is_the_state(
    action: AgentAction, told: AdapterAction, state: AgentState
) -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        await world.act(action, 7)
        assert world.adapters.calls == [Call("http://127.0.0.1:8100", told, 7)]
        assert world.the().state is state

    elsewhere(scenario)


def test_an_action_reaches_every_instance_that_is_heard_of() -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1", port=8101)
        world.clock.advance(TTL_SECONDS / 2)
        world.register("x-2", port=8102)
        world.register("x-3", port=8103)
        world.clock.advance(TTL_SECONDS / 2)
        world.registry.expire()
        await world.act(AgentAction.PAUSE)
        assert [call.url for call in world.adapters.calls] == ["http://127.0.0.1:8102", "http://127.0.0.1:8103"]

    elsewhere(scenario)


@pytest.mark.parametrize(
    ("trouble", "value", "error"),
    [("unreachable", True, AdapterDied), ("silent", True, AdapterTimeout), ("refusal", 409, AdapterRefused)],
)
def test_an_adapter_s_trouble_is_told(trouble: str, value: object, error: type[Exception]) -> None:
    async def scenario(world: Elsewhere) -> None:
        world.register("x-1")
        setattr(world.adapters, trouble, value)
        with pytest.raises(error):
            await world.act(AgentAction.PAUSE)
        assert world.the().state is AgentState.RUNNING

    elsewhere(scenario)
