from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from agent_service.contract import AdapterAction
from manager.errors import StateConflict, StoreUnavailable
from manager.events import EventKind
from manager.specs.models import AgentConfig
from manager.store.store import DesiredRecord, InstanceRecord
from manager.supervision import adoption
from manager.supervision.agent_supervisor import AgentSupervisor
from manager.supervision.process import Exit, ProcessIdentity
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.supervisor import Supervisor
from tests.unit.manager.fakes import (
    START,
    UNFORESEEN,
    Call,
    FakeClock,
    World,
    advance,
    agent,
    registration,
    run,
    until,
)

URL = "http://127.0.0.1:8100"
RECORD = InstanceRecord("i-old", "echo", 4242, "12345", "boot", START.isoformat(), URL, 17, 3)


class Supervising(World):
    """A world and the supervisor of its agents; `alive` are the pids that an earlier manager's processes still have."""

    supervisor: Supervisor
    alive: frozenset[int] = frozenset()

    def of(self, agent_id: str = "echo") -> AgentSupervisor:
        found = self.supervisor.get(agent_id)
        assert found is not None
        return found

    async def running(self, *agent_ids: str) -> None:
        """Open, and let every one of these agents come up."""
        await self.supervisor.open()
        for port, agent_id in enumerate(agent_ids, start=8100):
            await until(lambda agent_id=agent_id: self.of(agent_id).instances)
            self.register(self.of(agent_id).instances[-1].instance_id, agent_id, port=port)
            await until(lambda agent_id=agent_id: self.of(agent_id).state is AgentState.RUNNING)

    def choose(self, desired: str, agent_id: str = "echo") -> None:
        self.store.desired[agent_id] = DesiredRecord(
            agent_id=agent_id, desired_state=desired, instances=None, reason=None, actor="alice", changed_at=""
        )

    def leave_behind(self, *records: InstanceRecord, alive: bool = True) -> None:
        """What an earlier manager wrote down, and whether those processes still run."""
        for record in records:
            self.store.records[record.instance_id] = record
            if alive:
                self.alive |= {record.pid}
            if record.service_url is not None:
                self.adapters.infos[record.service_url] = {"instance_id": record.instance_id}


@pytest.fixture
def supervising(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def with_supervisor(scenario: Callable[[Supervising], Awaitable[None]], *agents: AgentConfig) -> None:
        clock = FakeClock()

        async def main() -> None:
            world = Supervising(clock)
            monkeypatch.setattr(adoption, "is_running", lambda identity: identity.pid in world.alive)
            world.supervisor = Supervisor(agents or (agent(),), world.tools)
            try:
                await scenario(world)
            finally:
                await asyncio.wait_for(world.supervisor.close(), 10)

        with capture_logs() as logs:
            run(main(), clock)
        assert [entry for entry in logs if entry["event"] in UNFORESEEN] == []

    return with_supervisor


Run = Callable[..., None]


def test_every_agent_that_is_to_start_starts_and_the_others_do_not(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo", "planner")
        await advance(10)
        assert [launch.agent_id for launch in world.spawner.launches] == ["echo", "planner"]
        assert [supervisor.agent.id for supervisor in world.supervisor.all()] == ["echo", "idle", "planner"]
        assert world.of("idle").state is AgentState.STOPPED
        assert world.supervisor.get("nobody") is None
        assert world.supervisor.pids() == [process.identity.pid for process in world.spawner.processes]

    supervising(scenario, agent("echo"), agent("idle", autostart=False), agent("planner"))


@pytest.mark.parametrize(
    ("chosen", "autostart", "launched"), [("running", False, 1), ("paused", True, 1), ("stopped", True, 0)]
)
def test_what_a_person_chose_goes_before_what_the_config_says(
    supervising: Run, chosen: str, autostart: bool, launched: int
) -> None:
    async def scenario(world: Supervising) -> None:
        world.choose(chosen)
        await world.supervisor.open()
        await advance(1)
        assert len(world.spawner.launches) == launched
        assert world.of().desired is DesiredState(chosen)

    supervising(scenario, agent(autostart=autostart))


def test_a_choice_for_an_agent_that_is_no_longer_in_the_config_does_no_harm(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.choose("running", "gone")
        await world.running("echo")
        assert world.supervisor.get("gone") is None

    supervising(scenario)


def test_what_was_desired_must_be_readable(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.store.refusing = True
        with pytest.raises(StoreUnavailable):
            await world.supervisor.open()

    supervising(scenario)


def test_an_id_of_the_config_is_taken_before_anybody_can_register_it(supervising: Run) -> None:
    """HTTP is served before the agents are started: a stranger may come in between."""

    async def scenario(world: Supervising) -> None:
        with pytest.raises(StateConflict):
            world.registry.register(registration("stranger"))

    supervising(scenario)


def test_a_slow_start_of_one_agent_delays_no_other(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.hold = asyncio.Event()
        await world.supervisor.open()
        await until(lambda: len(world.spawner.launches) == 2, within=0.1)

    supervising(scenario, agent("echo"), agent("planner"))


def test_the_address_of_a_process_is_written_down_for_the_next_manager(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        await advance(1)
        (record,) = world.store.records.values()
        assert record.service_url == URL

    supervising(scenario)


def test_so_is_the_address_of_one_that_registers_before_its_start_returns(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.on_spawn = lambda launch, _process: world.register(launch.instance_id)
        await world.supervisor.open()
        await until(lambda: world.of().state is AgentState.RUNNING)
        await advance(1)
        (record,) = world.store.records.values()
        assert record.service_url == URL

    supervising(scenario)


def test_a_full_disk_costs_the_note_of_an_address_only(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.supervisor.open()
        await until(lambda: world.of().instances)
        world.store.refusing = True
        world.register(world.of().instances[0].instance_id)
        await until(lambda: world.of().state is AgentState.RUNNING)

    supervising(scenario)


def test_the_addresses_of_agents_from_elsewhere_are_not_written_down(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        world.register("x-1", "outsider")
        await advance(1)
        assert world.store.journal.count("note_service_url") == 1

    supervising(scenario)


def test_draining_stops_all_at_once_and_returns_when_the_last_has_ended(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo", "planner")
        ends = iter((2, 5))

        async def end(call: Call) -> None:
            port = int(call.url.rpartition(":")[2])
            asyncio.get_running_loop().call_later(next(ends), world.spawner.processes[port - 8100].end, 0)

        world.adapters.on_action = end
        before = world.clock.monotonic()
        await world.supervisor.drain()
        assert world.clock.monotonic() - before == pytest.approx(5, abs=1.1)
        assert [call.action for call in world.adapters.calls] == [AdapterAction.STOP] * 2
        assert {supervisor.state for supervisor in world.supervisor.all()} == {AgentState.STOPPED}
        assert world.supervisor.pids() == []

    supervising(scenario, agent("echo"), agent("planner"))


def test_draining_a_fleet_that_is_stopped_or_failed_returns_at_once(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.supervisor.open()
        await until(lambda: world.of().instances)
        world.process.end(code=78)
        await until(lambda: world.of().state is AgentState.FAILED)
        before = world.clock.monotonic()
        await world.supervisor.drain()
        assert world.clock.monotonic() - before < 2

    supervising(scenario, agent("echo"), agent("idle", autostart=False))


def test_draining_during_a_start_ends_the_process_that_comes_of_it(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.hold = asyncio.Event()
        await world.supervisor.open()
        await until(lambda: world.spawner.launches)
        draining = asyncio.create_task(world.supervisor.drain())
        await advance(3)
        assert not draining.done()
        world.spawner.hold.set()
        await asyncio.wait_for(draining, 10)
        assert world.process.exited.done()

    supervising(scenario)


def test_draining_lets_everything_else_go_on_while_a_process_is_there_that_no_state_tells_of_yet(
    supervising: Run,
) -> None:
    """Of two adopted processes one has just ended: it is struck off before the state is looked at."""

    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD, replace(RECORD, instance_id="i-older", pid=4243, service_url=None))
        await world.supervisor.open()
        world.spawner.adopted[0].end(code=0)
        asyncio.get_running_loop().call_later(1, lambda: world.spawner.adopted[1].end(code=0))
        await world.supervisor.drain()
        assert world.of().state is AgentState.STOPPED

    supervising(scenario)


def test_a_second_signal_ends_every_process_at_once(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo", "planner")
        draining = asyncio.create_task(world.supervisor.drain())
        await advance(1)
        before = world.clock.monotonic()
        world.supervisor.kill_all()
        await draining
        assert world.clock.monotonic() - before < 1.1
        assert [process.signals for process in world.spawner.processes] == [["KILL"], ["KILL"]]

    supervising(scenario, agent("echo"), agent("planner"))


def test_a_second_signal_reaches_the_process_that_is_just_being_started(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.hold = asyncio.Event()
        world.spawner.on_terminate = None
        await world.supervisor.open()
        await until(lambda: world.spawner.launches)
        draining = asyncio.create_task(world.supervisor.drain())
        await advance(1)
        world.supervisor.kill_all()
        world.spawner.hold.set()
        before = world.clock.monotonic()
        await draining
        assert world.clock.monotonic() - before < 2

    supervising(scenario)


def test_closing_leaves_the_processes_to_the_next_manager(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.running("echo")
        await world.supervisor.close()
        await advance(60)
        assert world.process.signals == []
        assert len(world.store.records) == 1

    supervising(scenario)


def test_an_agent_that_still_runs_is_taken_back_with_its_history(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        await world.supervisor.open()
        await until(lambda: world.of().state is AgentState.RUNNING, within=0.1)
        assert world.spawner.launches == []
        (instance,) = world.of().instances
        assert (instance.instance_id, instance.pid, instance.log_offset) == ("i-old", 4242, 17)
        assert instance.started_at == START
        assert world.of().restarts == 3
        assert world.kinds()[:2] == [EventKind.INSTANCE_ADOPTED, EventKind.INSTANCE_REGISTERED]
        assert world.supervisor.pids() == [4242]

    supervising(scenario)


def test_its_status_is_asked_for_rather_than_guessed(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.statuses[URL] = {"status": "paused", "in_flight": 2}
        world.choose("paused")
        await world.supervisor.open()
        await until(lambda: world.of().state is AgentState.PAUSED, within=0.1)
        assert world.adapters.calls == []
        registered = world.registry.get("i-old")
        assert registered is not None
        assert registered.in_flight == 2

    supervising(scenario)


def test_an_agent_that_was_taken_back_and_dies_is_started_again(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        await world.supervisor.open()
        await until(lambda: world.of().state is AgentState.RUNNING)
        world.spawner.adopted[0].end()
        await until(lambda: world.spawner.launches, within=0.1)
        assert world.of().restarts == 4
        assert "i-old" not in world.store.records

    supervising(scenario)


def test_an_agent_that_was_stopped_meanwhile_is_drained(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.choose("stopped")
        await world.supervisor.open()
        await until(lambda: world.adapters.actions == [AdapterAction.STOP], within=0.1)
        world.spawner.adopted[0].end(code=0)
        await until(lambda: world.of().state is AgentState.STOPPED)
        assert world.spawner.launches == []

    supervising(scenario)


def test_a_process_that_is_gone_is_struck_off_and_its_agent_started(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD, alive=False)
        await world.supervisor.open()
        await until(lambda: world.spawner.launches)
        (exited,) = world.of_kind(EventKind.INSTANCE_EXITED)
        assert exited.instance_id == "i-old"
        assert "while no manager was there" in exited.message
        assert "i-old" not in world.store.records

    supervising(scenario)


def test_a_process_of_an_agent_that_left_the_config_is_asked_to_end_and_then_made_to(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(replace(RECORD, agent_id="gone"))
        await world.supervisor.open()
        assert world.spawner.adopted[0].signals == ["TERM", "KILL"]
        assert world.store.records == {}

    supervising(scenario)


@pytest.mark.parametrize("trouble", ["unreachable", "silent"])
def test_an_adopted_agent_that_does_not_answer_yet_is_given_its_time(supervising: Run, trouble: str) -> None:
    """Its process started long ago; that no manager was there to register at is not its fault."""

    async def scenario(world: Supervising) -> None:
        world.clock.advance(86_400)
        world.leave_behind(RECORD)
        setattr(world.adapters, trouble, True)
        await world.supervisor.open()
        await advance(20)
        assert world.spawner.adopted[0].signals == []
        assert world.of().state is AgentState.STARTING
        world.register("i-old")
        await until(lambda: world.of().state is AgentState.RUNNING, within=0.1)

    supervising(scenario, agent(start_timeout_seconds=60))


def test_an_adopted_agent_that_never_registers_is_replaced(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(replace(RECORD, service_url=None))
        await world.supervisor.open()
        await until(lambda: world.spawner.adopted[0].signals, within=61)
        world.spawner.adopted[0].end(signal=15)
        await until(lambda: world.spawner.launches, within=1)

    supervising(scenario, agent(start_timeout_seconds=60))


def test_who_answers_under_an_adopted_address_must_be_the_one(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.infos[URL] = {"instance_id": "somebody else"}
        await world.supervisor.open()
        await advance(1)
        assert world.registry.get("i-old") is None
        assert world.of().state is AgentState.STARTING

    supervising(scenario)


def test_adopted_agents_that_do_not_answer_hold_each_other_up_no_longer_than_one(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        names = [f"a{number}" for number in range(10)]
        world.leave_behind(
            *(
                replace(RECORD, instance_id=f"i-{name}", agent_id=name, pid=5000 + number)
                for number, name in enumerate(names)
            )
        )
        world.adapters.silent = True
        before = world.clock.monotonic()
        await world.supervisor.open()
        assert world.clock.monotonic() - before < 6

    supervising(scenario, *(agent(f"a{number}") for number in range(10)))


def test_an_exit_that_nobody_saw_is_told_as_the_spawner_kept_it(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.spawner.exits = {RECORD.instance_id: Exit(signal=9)}
        await world.supervisor.open()
        event = next(event for event in world.events if event.kind is EventKind.INSTANCE_EXITED)
        assert (event.data["signal"], event.data["pid"]) == (9, RECORD.pid)
        assert world.spawner.adopted == []
        assert world.spawner.forgotten == [RECORD.instance_id]
        assert world.store.records == {} or RECORD.instance_id not in world.store.records

    supervising(scenario)


def test_a_process_that_no_manager_ever_wrote_down_is_ended(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.left_behind = {"i-stray": ("echo", ProcessIdentity(77, "1", "boot"))}
        await world.supervisor.open()
        assert [process.signals for process in world.spawner.adopted] == [["KILL"]]

    supervising(scenario)
