from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_service.contract import AdapterAction
from manager.events import EventKind
from manager.supervision.process import Exit, ProcessIdentity
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.clock import START, advance, until
from tests.unit.manager.fakes.world import agent
from tests.unit.manager.supervision.conftest import RECORD, URL, Run, Supervising


def test_an_agent_that_still_runs_is_taken_back_with_its_history(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        await world.open()
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
        await world.open()
        await until(lambda: world.of().state is AgentState.PAUSED, within=0.1)
        assert world.adapters.calls == []
        registered = world.registry.get("i-old")
        assert registered is not None
        assert registered.in_flight == 2

    supervising(scenario)


def test_an_agent_that_was_taken_back_and_dies_is_started_again(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        await world.open()
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
        await world.open()
        await until(lambda: world.adapters.actions == [AdapterAction.STOP], within=0.1)
        world.spawner.adopted[0].end(code=0)
        await until(lambda: world.of().state is AgentState.STOPPED)
        assert world.spawner.launches == []

    supervising(scenario)


def test_a_process_that_is_gone_is_struck_off_and_its_agent_started(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD, alive=False)
        await world.open()
        await until(lambda: world.spawner.launches)
        (exited,) = world.of_kind(EventKind.INSTANCE_EXITED)
        assert exited.instance_id == "i-old"
        assert "while no manager was there" in exited.message
        assert "i-old" not in world.store.records

    supervising(scenario)


def test_a_process_of_an_agent_that_left_the_config_is_asked_to_end_and_then_made_to(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(replace(RECORD, agent_id="gone"))
        await world.open()
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
        await world.open()
        await advance(20)
        assert world.spawner.adopted[0].signals == []
        assert world.of().state is AgentState.STARTING
        world.register("i-old")
        await until(lambda: world.of().state is AgentState.RUNNING, within=0.1)

    supervising(scenario, agent(start_timeout_seconds=60))


def test_an_adopted_agent_that_never_registers_is_replaced(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(replace(RECORD, service_url=None))
        await world.open()
        await until(lambda: world.spawner.adopted[0].signals, within=61)
        world.spawner.adopted[0].end(signal=15)
        await until(lambda: world.spawner.launches, within=1)

    supervising(scenario, agent(start_timeout_seconds=60))


def test_who_answers_under_an_adopted_address_must_be_the_one(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.infos[URL] = {"instance_id": "somebody else"}
        await world.open()
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
        await world.open()
        assert world.clock.monotonic() - before < 6

    supervising(scenario, *(agent(f"a{number}") for number in range(10)))


def test_an_exit_that_nobody_saw_is_told_as_the_spawner_kept_it(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.spawner.exits = {RECORD.instance_id: Exit(signal=9)}
        await world.open()
        event = next(event for event in world.events if event.kind is EventKind.INSTANCE_EXITED)
        assert (event.data["signal"], event.data["pid"]) == (9, RECORD.pid)
        assert world.spawner.adopted == []
        assert world.spawner.forgotten == [RECORD.instance_id]
        assert world.store.records == {} or RECORD.instance_id not in world.store.records

    supervising(scenario)


def test_a_process_that_no_manager_ever_wrote_down_is_ended(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.left_behind = {"i-stray": ("echo", ProcessIdentity(77, "1", "boot"))}
        await world.open()
        assert [process.signals for process in world.spawner.adopted] == [["KILL"]]

    supervising(scenario)


def test_an_adopted_agent_is_told_where_the_manager_is_now(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        await world.open()
        assert world.adapters.locations == {URL: "http://127.0.0.1:8000"}

    supervising(scenario)


def test_a_program_that_cannot_be_told_is_adopted_all_the_same(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.knows_no_location = True
        await world.open()
        await until(lambda: world.of().state is AgentState.RUNNING, within=0.1)

    supervising(scenario)


def test_nobody_but_the_one_on_record_is_told(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.infos[URL] = {"instance_id": "somebody else"}
        await world.open()
        assert world.adapters.locations == {}

    supervising(scenario)


@pytest.mark.parametrize("desired", ["running", "stopped"])
@pytest.mark.parametrize("configured", [5, 120])
def test_a_drain_that_an_earlier_manager_began_goes_on_by_its_deadline(
    supervising: Run, desired: str, configured: float
) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.choose(desired)
        deadline = world.clock.now() + timedelta(seconds=20)
        world.adapters.statuses[URL] = {"status": "stopping", "in_flight": 1, "drain_deadline": deadline.isoformat()}
        await world.open()
        await advance(0.1)
        (old, *_) = world.of().instances
        assert old.stop is not None
        assert abs(old.stop.deadline_at - deadline) < timedelta(seconds=0.1)
        assert world.adapters.calls[0].timeout_seconds == pytest.approx(20, abs=0.1)

    supervising(scenario, agent(drain_timeout_seconds=configured))


@pytest.mark.parametrize("policy", ["always", "on-failure", "never"])
def test_the_end_of_such_a_drain_is_no_crash_and_its_agent_is_not_lost(supervising: Run, policy: str) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.adapters.statuses[URL] = {"status": "stopping"}
        await world.open()
        await until(lambda: len(world.spawner.launches) == 1, within=0.1)
        world.spawner.adopted[0].end(code=0)
        await advance(1)
        assert world.of_kind(EventKind.RESTART_SCHEDULED) == []
        assert [event.data["expected"] for event in world.of_kind(EventKind.INSTANCE_EXITED)] == [True]
        assert (len(world.spawner.launches), world.of().state) == (1, AgentState.STARTING)

    supervising(scenario, agent(restart={"policy": policy}))


def test_an_exit_that_was_missed_counts_as_if_it_had_been_seen(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.spawner.exits = {RECORD.instance_id: Exit(signal=9)}
        await world.open()
        await until(lambda: world.spawner.launches, within=0.1)
        last = world.of().last_exit
        assert last is not None
        assert (last.signal, "while no manager was there" in last.reason) == (9, True)
        assert world.of().restarts == RECORD.restarts + 1

    supervising(scenario)


@pytest.mark.parametrize(
    ("exit_", "policy", "state"),
    [
        (Exit(code=0), "never", AgentState.STOPPED),
        (Exit(code=0), "on-failure", AgentState.STOPPED),
        (Exit(code=1), "never", AgentState.FAILED),
        (Exit(code=78), "always", AgentState.FAILED),
    ],
)
def test_one_that_is_not_wanted_back_is_not_started_for_having_ended_unseen(
    supervising: Run, exit_: Exit, policy: str, state: AgentState
) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(RECORD)
        world.spawner.exits = {RECORD.instance_id: exit_}
        await world.open()
        await until(lambda: world.of().state_reason is not None)
        await advance(10)
        assert (world.of().state, world.spawner.launches) == (state, [])

    supervising(scenario, agent(restart={"policy": policy}))


def test_what_ended_with_the_machine_is_started_as_if_for_the_first_time(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.leave_behind(replace(RECORD, boot_id="an earlier one"), alive=False)
        await world.open()
        await until(lambda: world.spawner.launches, within=0.1)
        assert (world.of().restarts, world.of().last_exit) == (0, None)

    supervising(scenario, agent(restart={"policy": "never"}))


PUBLIC = agent("echo", port=8200)


def test_an_adopted_process_is_asked_for_its_agent_s_own_port(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.shares_ports = True
        world.leave_behind(RECORD)
        await world.open()
        assert world.spawner.reclaimed == [("echo", 8200, 4242)]
        assert (world.of().can_roll, world.of().port_conflict) == (True, None)

    supervising(scenario, PUBLIC)


def test_an_agent_without_a_shared_port_has_none_to_reclaim(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.shares_ports = True
        world.leave_behind(RECORD)
        await world.open()
        assert world.spawner.reclaimed == []

    supervising(scenario, agent("echo", port=8200, command=("serve",)))


def test_a_port_that_an_adopted_process_keeps_to_itself_is_had_by_recreating(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        world.spawner.shares_ports, world.spawner.can_reclaim = True, False
        world.leave_behind(RECORD)
        await world.open()
        await until(lambda: world.of().state is AgentState.RUNNING)
        assert world.of().state_reason is None, "nothing is missing yet"
        world.of().scale(2)
        await advance(60)
        assert world.spawner.launches == []
        assert world.of().state_reason == (
            "its own older process (pid 4242) holds port 8200 alone, so no other can be started beside it; "
            "restart it with strategy recreate"
        )
        world.of().restart(DesiredState.RUNNING, reason="restart by alice")
        await until(lambda: world.adapters.actions == [AdapterAction.RESTART], within=0.1)
        assert world.spawner.launches == []
        world.spawner.adopted[0].end(code=0)
        await until(lambda: len(world.spawner.launches) == 2, within=0.1)
        assert world.of().port_conflict is None

    supervising(scenario, PUBLIC)
