"""Any order of what people, agents and the machine do to a fleet ends where a person wanted it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from structlog.testing import capture_logs

from manager.errors import NotReady, StateConflict, UnknownAgent
from manager.events import Event, EventKind
from manager.specs.models import AgentConfig
from manager.supervision import adoption
from manager.supervision.fleet import Fleet
from manager.supervision.resources import ResourceSampler
from manager.supervision.states import AgentAction, AgentState, Strategy
from manager.supervision.supervisor import Supervisor
from manager.supervision.view_builder import ViewBuilder
from tests.unit.manager.fakes.clock import FakeClock, VirtualLoop
from tests.unit.manager.fakes.store import FakeStore
from tests.unit.manager.fakes.world import World, agent
from tests.unit.manager.supervision.machine import Machine
from tests.unit.manager.supervision.supervised import UNFORESEEN

T = TypeVar("T")

SETTLED_SECONDS = 90.0
RESTART = {"initial_delay_seconds": 0.1, "max_delay_seconds": 2.0, "max_crashes": 1000}
AGENTS = {
    "plain": agent("plain", restart=RESTART),
    "pair": agent("pair", instances=2, restart=RESTART),
    # Without a shared listener only one process can hold a port: its successor waits for its end.
    "exclusive": agent("exclusive", port=8100, restart=RESTART),
    "once": agent("once", restart={**RESTART, "policy": "never"}),
}
IDS = st.sampled_from(sorted(AGENTS))
# Those at which a start and an action are half done.
MOMENTS = st.sampled_from([0.0, 0.001, 0.003, 0.006, 0.008, 0.011, 0.02])
PAUSES = st.sampled_from([0.0, 0.004, 0.008, 0.03, 0.2, 1.0])
DESIRED_AFTER = {"start": "running", "resume": "running", "pause": "paused", "stop": "stopped", "kill": "stopped"}


@dataclass
class Wish:
    """The model: what is wanted of an agent. `may_be_done`: it has ended by itself and its policy lets it."""

    config: AgentConfig
    desired: str = "running"
    instances: int = 1
    is_configured: bool = True
    may_be_done: bool = False

    @property
    def processes(self) -> int:
        return self.instances if self.is_configured and self.desired != "stopped" else 0


class RandomLife(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.runner = asyncio.Runner(loop_factory=lambda: VirtualLoop(self.clock))
        self.patch = pytest.MonkeyPatch()
        self.logs = capture_logs()
        self.entries = self.logs.__enter__()
        self.store = FakeStore()
        self.wishes = {key: Wish(config, instances=config.instances) for key, config in AGENTS.items()}
        self.supervisor: Supervisor | None = None
        self.surprises: list[Event] = []
        self.do(self.prepare())
        self.do(self.rise())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        # Each step has the selector's full count of turns.
        self.runner.get_loop()._selector._turns = 0  # type: ignore[attr-defined]
        return self.runner.run(work)

    async def prepare(self) -> None:
        self.machine = Machine(self.clock)
        self.patch.setattr(adoption, "is_running", self.machine.is_running)
        self.patch.setattr(adoption, "boot_id", lambda: "boot")

    async def rise(self) -> None:
        """A manager starts on what there is."""
        self.world = World(
            self.clock,
            spawner=self.machine,  # type: ignore[arg-type]
            adapters=self.machine,  # type: ignore[arg-type]
            store=self.store,
        )
        configured = [wish.config for wish in self.wishes.values() if wish.is_configured]
        self.supervisor = Supervisor(configured, self.world.tools)
        self.fleet = Fleet(
            supervisor=self.supervisor,
            outsiders=self.world.outsiders(),
            views=ViewBuilder(self.world.registry, ResourceSampler(self.supervisor.pids), self.world.router),
            store=self.store,  # type: ignore[arg-type]
            bus=self.world.bus,
            clock=self.clock,
            recent_events=lambda limit, agent_id: asyncio.sleep(0, []),
        )
        await self.supervisor.restore()
        self.machine.registry = self.world.registry
        # Those that the manager that is there has seen alive.
        self.seen: set[str] = set()
        self.world.bus.listen(self.note_event)
        on_record = {key: record.agent_id for key, record in self.store.records.items()}
        await self.supervisor.open()
        self.seen |= {each.instance_id for each in self.machine.alive()}
        # An end that nobody saw may have been asked for; with `never` it is the last one all the same.
        ended_unseen = {agent_id for key, agent_id in on_record.items() if key not in self.seen}
        self.wishes["once"].may_be_done |= "once" in ended_unseen

    def note_event(self, event: Event) -> None:
        if event.kind is EventKind.INSTANCE_STARTED:
            self.seen.add(str(event.instance_id))
        was_asked = event.instance_id in self.seen & self.machine.told_to_stop
        if event.kind is EventKind.INSTANCE_EXITED and was_asked and not event.data["expected"]:
            self.surprises.append(event)

    @property
    def living(self) -> Supervisor:
        assert self.supervisor is not None
        return self.supervisor

    # What people do.

    @precondition(lambda self: self.supervisor is not None)
    @rule(agent_id=IDS, action=st.sampled_from(AgentAction), strategy=st.sampled_from([None, *Strategy]), wait=PAUSES)
    def act(self, agent_id: str, action: AgentAction, strategy: Strategy | None, wait: float) -> None:
        options = {"strategy": strategy} if action is AgentAction.RESTART else {}
        if self.do(self.accepted(self.fleet.act(agent_id, action, actor="alice", **options), wait)):
            self.note(agent_id, action)

    @precondition(lambda self: self.supervisor is not None)
    @rule(agent_id=IDS, instances=st.integers(1, 3), wait=PAUSES)
    def scale(self, agent_id: str, instances: int, wait: float) -> None:
        if self.do(self.accepted(self.fleet.scale(agent_id, instances, actor="alice"), wait)):
            self.wishes[agent_id].instances = instances

    @precondition(lambda self: self.supervisor is not None)
    @rule(agent_id=IDS, restart=st.booleans(), wait=PAUSES)
    def reconfigure(self, agent_id: str, restart: bool, wait: float) -> None:
        wish = self.wishes[agent_id]
        if wish.is_configured:
            wish.config = wish.config.model_copy(update={"description": f"as of {self.clock.now()}"})
            if restart and wish.desired != "stopped":
                wish.may_be_done = False
            self.do(self.reload(wish, restart, wait))

    async def reload(self, wish: Wish, restart: bool, wait: float) -> None:
        self.living.reconfigure(wish.config, restart=restart)
        await asyncio.sleep(wait)

    @precondition(lambda self: self.supervisor is not None)
    @rule(agent_id=IDS, wait=PAUSES)
    def leave_or_join_the_config(self, agent_id: str, wait: float) -> None:
        wish = self.wishes[agent_id]
        wish.is_configured = not wish.is_configured
        if wish.is_configured:
            wish.may_be_done = False
        self.do(self.rewrite(wish, wait))

    @precondition(lambda self: self.supervisor is not None)
    @rule(agent_id=IDS, action=st.sampled_from(AgentAction), wait=PAUSES)
    def a_choice_outlives_an_absence_from_the_config(self, agent_id: str, action: AgentAction, wait: float) -> None:
        self.act(agent_id, action, None, wait)
        self.leave_or_join_the_config(agent_id, wait)
        self.leave_or_join_the_config(agent_id, wait)

    async def rewrite(self, wish: Wish, wait: float) -> None:
        if wish.is_configured:
            self.living.add(wish.config)
        else:
            self.living.remove(wish.config.id)
        self.living.reorder([key for key, each in self.wishes.items() if each.is_configured])
        await asyncio.sleep(wait)

    # What agents and the machine do.

    @rule(data=st.data(), exit_=st.sampled_from([(0, None), (1, None), (None, 9)]), wait=PAUSES)
    def end_a_process(self, data: st.DataObject, exit_: tuple[int | None, int | None], wait: float) -> None:
        adapters = self.machine.alive()
        if adapters:
            victim = data.draw(st.sampled_from(sorted(adapters, key=lambda each: each.port)))
            self.wishes[victim.agent_id].may_be_done = victim.agent_id == "once"
            self.do(self.end(victim.process, *exit_, wait))

    async def end(self, process: Any, code: int | None, signal: int | None, wait: float) -> None:
        process.end(code, signal)
        await asyncio.sleep(wait)

    @rule(wait=st.sampled_from([0.01, 0.3, 6.0, 40.0]))
    def time_passes(self, wait: float) -> None:
        self.do(asyncio.sleep(wait))

    @precondition(lambda self: self.supervisor is not None)
    @rule(wait=PAUSES)
    def the_manager_is_killed(self, wait: float) -> None:
        self.supervisor = None
        self.do(self.fall(wait))

    @precondition(lambda self: self.supervisor is not None)
    @rule(agent_id=IDS, action=st.sampled_from(AgentAction), after=MOMENTS, wait=PAUSES, comes_back=st.booleans())
    def the_manager_is_killed_while_it_acts(
        self, agent_id: str, action: AgentAction, after: float, wait: float, comes_back: bool
    ) -> None:
        acting = self.fleet.act(agent_id, action, actor="alice")
        self.supervisor = None
        self.do(self.fall(wait, acting, after))
        record = self.store.desired.get(agent_id)
        wish = self.wishes[agent_id]
        if record is not None and record.desired_state != wish.desired:
            assert record.desired_state == DESIRED_AFTER.get(action, "running")
            wish.desired = record.desired_state
        if comes_back:
            self.a_manager_comes_back(wait)

    @precondition(lambda self: self.supervisor is not None)
    @rule(data=st.data(), after=MOMENTS, wait=PAUSES)
    def the_manager_is_killed_while_it_starts_a_successor(self, data: st.DataObject, after: float, wait: float) -> None:
        self.end_a_process(data, (1, None), after)
        self.the_manager_is_killed(wait)

    async def fall(self, wait: float, acting: Coroutine[Any, Any, Any] | None = None, after: float = 0.0) -> None:
        if acting is not None:
            # Whatever comes of it, nobody is there to hear it.
            asyncio.create_task(acting).add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.sleep(after)
        await self.machine.lose_manager()
        await asyncio.sleep(wait)

    @precondition(lambda self: self.supervisor is None)
    @rule(wait=PAUSES)
    def a_manager_comes_back(self, wait: float) -> None:
        self.do(self.rise())
        self.do(asyncio.sleep(wait))

    # What must be so.

    @precondition(lambda self: self.supervisor is not None)
    @rule(agent_id=IDS)
    def execute(self, agent_id: str) -> None:
        instance_id = self.do(self.route(agent_id))
        if instance_id is not None:
            wish = self.wishes[agent_id]
            assert wish.is_configured and wish.desired == "running"
            assert instance_id in {each.instance_id for each in self.machine.alive(agent_id)}

    async def route(self, agent_id: str) -> str | None:
        try:
            return (await self.world.routed(agent_id)).instance_id
        except (StateConflict, NotReady, UnknownAgent):
            return None

    @precondition(lambda self: self.supervisor is not None)
    @rule()
    def all_is_as_it_was_wanted(self) -> None:
        self.do(asyncio.sleep(SETTLED_SECONDS))
        assert self.surprises == [], "a process that was told to stop has crashed, they say"
        listed = [supervisor.agent.id for supervisor in self.living.all()]
        assert listed == [key for key, wish in self.wishes.items() if wish.is_configured]
        for agent_id, wish in self.wishes.items():
            adapters = self.machine.alive(agent_id)
            if not wish.is_configured:
                assert adapters == []
                continue
            self.check(agent_id, wish, [each.instance_id for each in adapters])
            assert {each.status.value for each in adapters} <= {wish.desired}
        assert set(self.store.records) == {each.instance_id for each in self.machine.alive()}

    def check(self, agent_id: str, wish: Wish, instances: list[str]) -> None:
        supervisor = self.living.get(agent_id)
        assert supervisor is not None
        assert (supervisor.desired, supervisor.instances_wanted) == (wish.desired, wish.instances)
        assert sorted(instance.instance_id for instance in supervisor.instances) == sorted(instances)
        assert 0 <= supervisor.restarts <= self.machine.starts.get(agent_id, 0)
        if wish.may_be_done and len(instances) < wish.processes:
            assert supervisor.recovery.given_up is not None
            return
        assert (len(instances), supervisor.state) == (wish.processes, AgentState(wish.desired))

    def note(self, agent_id: str, action: AgentAction) -> None:
        wish = self.wishes[agent_id]
        if action is AgentAction.RESTART:
            wish.desired = "running" if wish.desired == "stopped" else wish.desired
        else:
            wish.desired = DESIRED_AFTER[action]
        if action in (AgentAction.START, AgentAction.RESTART):
            wish.may_be_done = wish.may_be_done and action is AgentAction.START and bool(self.machine.alive(agent_id))

    async def accepted(self, asked: Coroutine[Any, Any, Any], wait: float) -> bool:
        try:
            await asked
        except (StateConflict, UnknownAgent):
            return False
        finally:
            await asyncio.sleep(wait)
        return True

    def teardown(self) -> None:
        try:
            if self.supervisor is None:
                self.do(self.rise())
            self.all_is_as_it_was_wanted()
            assert [entry for entry in self.entries if entry["event"] in UNFORESEEN] == []
        finally:
            self.do(self.machine.lose_manager())
            self.logs.__exit__(None, None, None)
            self.patch.undo()
            self.runner.close()


def test_any_order_of_events_ends_where_a_person_wanted_it() -> None:
    run_state_machine_as_test(
        RandomLife, settings=settings(max_examples=15, stateful_step_count=80, deadline=None, phases=[Phase.generate])
    )
