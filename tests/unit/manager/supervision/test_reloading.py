"""A changed file reaches what runs: all of it, once, or nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.errors import ConfigError, ConfigIssue, NotReady, StateConflict
from manager.events import Event, EventBus, EventKind
from manager.settings import RuntimeSettings
from manager.specs.diff import ConfigDiff
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig
from manager.supervision.reloading import Reloader
from tests.unit.manager.fakes.clock import FakeClock


def fleet(*agents: dict[str, Any], **runtime: Any) -> FleetConfig:
    models = tuple(AgentConfig.model_validate(agent) for agent in agents)
    return FleetConfig(RuntimeSettings.load(runtime, {}), models, Path("/p/agents.config.json"), Path("/p"))


class FakeSupervisor:
    """Holds agents; `calls` are the orders it got, `restarted` those that it was to restart.

    `wanted_stopped` are the ids of those that a person has stopped.
    """

    def __init__(self, agents: Iterable[AgentConfig]) -> None:
        self.held = {agent.id: agent for agent in agents}
        self.calls: list[str] = []
        self.restarted: list[str] = []
        self.wanted_stopped: set[str] = set()

    def agents(self) -> tuple[AgentConfig, ...]:
        return tuple(self.held.values())

    def stopped(self) -> frozenset[str]:
        return frozenset(self.wanted_stopped)

    def add(self, agent: AgentConfig) -> None:
        assert agent.id not in self.held
        self.calls.append(f"add {agent.id}")
        self.held[agent.id] = agent

    def remove(self, agent_id: str) -> None:
        self.calls.append(f"remove {agent_id}")
        del self.held[agent_id]

    def reconfigure(self, agent: AgentConfig, *, restart: bool) -> None:
        assert agent.id in self.held
        self.calls.append(f"reconfigure {agent.id}")
        self.held[agent.id] = agent
        if restart:
            self.restarted.append(agent.id)

    def reorder(self, ids: Iterable[str]) -> None:
        self.held = {agent_id: self.held[agent_id] for agent_id in ids}


class Reloading:
    """A reloader with a file that the test writes. `wrong` issues make the file unusable."""

    def __init__(self, config: FleetConfig) -> None:
        self.file = config
        self.wrong: list[ConfigIssue] = []
        self.ready = True
        self.events: list[Event] = []
        self.supervisor = FakeSupervisor(config.agents)
        bus = EventBus(FakeClock())
        bus.listen(self.events.append)
        self.reloader = Reloader(config, self.supervisor, self._load, bus, is_ready=lambda: self.ready)

    def _load(self) -> FleetConfig:
        if self.wrong:
            raise ConfigError("agents.config.json", self.wrong)
        return self.file

    @property
    def event(self) -> Event:
        (event,) = self.events
        return event


def reloading(scenario: Callable[[Reloading], Awaitable[None]], config: FleetConfig) -> Reloading:
    async def main() -> Reloading:
        world = Reloading(config)
        await scenario(world)
        return world

    return asyncio.run(main())


def reloaded(old: FleetConfig, new: FleetConfig) -> Reloading:
    """The world after one reload from `old` to `new`."""

    async def scenario(world: Reloading) -> None:
        world.file = new
        await world.reloader.apply(actor="api")

    return reloading(scenario, old)


def test_each_agent_gets_the_order_that_its_change_needs() -> None:
    old = fleet({"id": "gone"}, {"id": "renamed"}, {"id": "moved", "port": 8100}, {"id": "same"})
    new = fleet({"id": "new"}, {"id": "moved", "port": 8101}, {"id": "renamed", "name": "R"}, {"id": "same"})
    world = reloaded(old, new)
    assert world.supervisor.calls == ["remove gone", "reconfigure moved", "reconfigure renamed", "add new"]
    assert world.supervisor.restarted == ["moved"]
    assert world.reloader.running.agents == new.agents


def test_a_reload_is_one_event_that_sums_it_up() -> None:
    old = fleet({"id": "gone"}, {"id": "a"}, {"id": "b"})
    new = fleet({"id": "a", "name": "A"}, {"id": "b", "port": 9}, {"id": "new"}, logDirectory="elsewhere")
    event = reloaded(old, new).event
    assert (event.kind, event.actor, event.agent_id) == (EventKind.CONFIG_RELOADED, "api", None)
    assert event.message == (
        "The config was reloaded: added new; removed gone; restarting b; changed without a restart a; "
        "waiting for a restart of the manager: logDirectory"
    )
    assert event.data == {
        "added": ["new"],
        "removed": ["gone"],
        "restarting": ["b"],
        "changed": ["a"],
        "needs_manager_restart": ["logDirectory"],
    }


def test_for_an_agent_that_is_stopped_a_change_counts_at_its_next_start() -> None:
    async def scenario(world: Reloading) -> None:
        world.file = fleet({"id": "a", "port": 8100}, {"id": "b", "port": 8101}, {"id": "c", "name": "C"})
        seen = (await world.reloader.plan()).fingerprint
        world.supervisor.wanted_stopped = {"b", "c"}
        plan = await world.reloader.plan()
        assert [(agent.id, agent.effect.value, agent.waits) for agent in plan.changed] == [
            ("a", "restart", False),
            ("b", "restart", True),
            ("c", "live", False),
        ]
        assert plan.fingerprint == seen, "the file is the one that was seen"
        await world.reloader.apply(actor="api", seen=seen)

    event = reloading(scenario, fleet({"id": "a"}, {"id": "b"}, {"id": "c"})).event
    assert event.message == (
        "The config was reloaded: restarting a; changed without a restart c; changed for the next start of b"
    )
    assert (event.data["restarting"], event.data["changed"]) == (["a"], ["c", "b"])


def test_a_plan_changes_nothing_and_tells_nobody() -> None:
    async def scenario(world: Reloading) -> None:
        world.file = fleet({"id": "b"})
        assert (await world.reloader.plan()).added == ("b",)

    world = reloading(scenario, fleet({"id": "a"}))
    assert (world.supervisor.calls, world.events) == ([], [])


def test_who_has_seen_a_plan_is_given_that_plan_or_nothing() -> None:
    async def scenario(world: Reloading) -> None:
        world.file = fleet({"id": "b"})
        seen = (await world.reloader.plan()).fingerprint
        world.file = fleet({"id": "c"})
        with pytest.raises(StateConflict, match="has changed since you saw this plan"):
            await world.reloader.apply(actor="dashboard", seen=seen)
        assert world.supervisor.calls == [] and world.events == []
        world.file = fleet({"id": "b"})
        await world.reloader.apply(actor="dashboard", seen=seen)
        assert world.supervisor.calls == ["remove a", "add b"]

    reloading(scenario, fleet({"id": "a"}))


def test_a_wrong_file_changes_nothing_and_says_everything_that_is_wrong() -> None:
    issues = [ConfigIssue(f"agents[{n}].id", '"A"', "lower case is allowed") for n in range(5)]

    async def scenario(world: Reloading) -> None:
        world.wrong = issues
        with pytest.raises(ConfigError) as caught:
            await world.reloader.apply(actor="watch")
        assert caught.value.issues == issues

    world = reloading(scenario, fleet({"id": "a"}))
    assert world.supervisor.calls == []
    assert (world.event.kind, world.event.actor) == (EventKind.CONFIG_REJECTED, "watch")
    assert "agents[2].id" in world.event.message and "agents[3].id" not in world.event.message
    assert "and 2 more, which `agent-manager config check` lists" in world.event.message
    assert "\n" not in world.event.message
    assert len(world.event.data["errors"]) == 5  # type: ignore[arg-type]
    assert world.event.data["source"] == "agents.config.json"


def test_a_plan_of_a_wrong_file_is_the_askers_error_alone() -> None:
    async def scenario(world: Reloading) -> None:
        world.wrong = [ConfigIssue("extra", "an unknown key", "remove it")]
        with pytest.raises(ConfigError):
            await world.reloader.plan()

    assert reloading(scenario, fleet()).events == []


def test_a_manager_that_starts_or_stops_takes_nothing() -> None:
    async def scenario(world: Reloading) -> None:
        world.file, world.ready = fleet({"id": "a"}), False
        with pytest.raises(NotReady):
            await world.reloader.apply(actor="api")

    world = reloading(scenario, fleet())
    assert (world.supervisor.calls, world.events) == ([], [])


@pytest.mark.parametrize(("quiet", "told"), [(False, 1), (True, 0)])
def test_no_differences_are_told_to_those_who_asked(quiet: bool, told: int) -> None:
    async def scenario(world: Reloading) -> None:
        assert (await world.reloader.apply(actor="watch", quiet=quiet)).is_empty

    world = reloading(scenario, fleet({"id": "a"}))
    assert [event.message for event in world.events] == ["The config was reloaded: no differences"] * told


def test_what_waits_for_the_manager_stays_a_difference_and_is_not_in_force() -> None:
    async def scenario(world: Reloading) -> None:
        world.file = fleet(logDirectory="elsewhere", drainTimeoutSeconds=1)
        await world.reloader.apply(actor="api")
        running = world.reloader.running.runtime
        assert (running.log_directory, running.drain_timeout_seconds) == ("logs", 1)
        again = await world.reloader.plan()
        assert [change.path for change in again.runtime] == ["logDirectory"]

    reloading(scenario, fleet())


def test_what_is_told_is_what_the_supervisor_holds_not_what_an_earlier_reload_meant() -> None:
    async def scenario(world: Reloading) -> None:
        del world.supervisor.held["a"]
        assert (await world.reloader.plan()).added == ("a",)

    reloading(scenario, fleet({"id": "a"}))


def test_reloads_at_once_are_made_one_after_the_other() -> None:
    async def scenario(world: Reloading) -> None:
        world.file = fleet({"id": "a"}, {"id": "b"})
        first, second = await asyncio.gather(*(world.reloader.apply(actor=actor) for actor in ("api", "SIGHUP")))
        assert sorted([first.added, second.added]) == [(), ("a", "b")]

    assert reloading(scenario, fleet()).supervisor.calls == ["add a", "add b"]


AGENTS = st.fixed_dictionaries(
    {"id": st.sampled_from("abcde")},
    optional={"name": st.sampled_from(["x", "y"]), "instances": st.integers(1, 3), "maxQueue": st.integers(1, 2)},
)
FLEETS = st.builds(
    lambda agents, runtime: fleet(*agents, **runtime),
    st.lists(AGENTS, max_size=5, unique_by=lambda agent: agent["id"]),
    st.fixed_dictionaries({}, optional={"drainTimeoutSeconds": st.sampled_from([1, 2]), "logDirectory": st.just("l")}),
)


@given(FLEETS, FLEETS)
def test_after_a_reload_the_file_is_in_force_but_for_what_waits(old: FleetConfig, new: FleetConfig) -> None:
    async def scenario(world: Reloading) -> None:
        world.file = new
        changes = await world.reloader.apply(actor="api")
        left = await world.reloader.plan()
        assert left == ConfigDiff(runtime=tuple(c for c in changes.runtime if c.path in changes.pending))
        world.file = replace(new, runtime=old.runtime.model_copy(update={"drain_timeout_seconds": 7.0}))
        await world.reloader.apply(actor="api")
        assert world.reloader.running.runtime == world.file.runtime

    assert reloading(scenario, old).supervisor.agents() == new.agents
