from __future__ import annotations

from datetime import timedelta

import pytest

from manager.supervision.states import AgentState, DesiredState
from manager.supervision.views import InstanceView
from tests.unit.web.fakes import NOW, instance, view
from web.instance_rows import Instances, Phase, instances_of

STARTING = {"ready": False, "last_heartbeat_at": None}
DRAINING = {"ready": False, "draining": True}
SILENT = {"ready": False}


def shown(
    *instances: InstanceView, wanted: int = 1, state: AgentState = AgentState.RUNNING, **changes: object
) -> Instances:
    found = instances_of(view(state=state, instances=[*instances], instances_wanted=wanted, **changes), NOW)
    assert found is not None
    return found


def test_an_agent_of_one_process_says_nothing_of_instances() -> None:
    assert instances_of(view(instances=[instance()]), NOW) is None
    assert instances_of(view(state=AgentState.STOPPED, instances=[]), NOW) is None


def test_of_three_wanted_two_are_ready() -> None:
    found = shown(instance(1), instance(2), instance(3, **STARTING), wanted=3)
    assert (found.ready, found.summary) == ("2/3", "3 instances: 2 ready, 1 starting")
    assert [row.phase for row in found.rows] == [Phase.READY, Phase.READY, Phase.STARTING]


@pytest.mark.parametrize(("alive", "ready"), [((), "0/3"), ((instance(),), "1/3")])
def test_while_no_more_than_one_is_alive_the_fraction_tells_enough(alive: tuple[InstanceView, ...], ready: str) -> None:
    found = shown(*alive, wanted=3)
    assert (found.ready, found.summary) == (ready, None)


def test_a_rolling_restart_shows_the_successor_beside_the_old_process_and_then_how_that_drains() -> None:
    coming = shown(instance(1), instance(2, **STARTING))
    assert (coming.ready, coming.summary, coming.tasks_left) == ("1/1", "2 instances: 1 ready, 1 starting", None)
    going = shown(
        instance(1, **DRAINING, in_flight=2), instance(2, in_flight=5), drain_deadline=NOW + timedelta(seconds=20)
    )
    assert (going.ready, going.summary) == ("1/1", "2 instances: 1 ready, 1 draining")
    assert going.tasks_left == "2 tasks left"
    assert going.drain_left is not None and going.drain_left.text == "20 s"


def test_the_drain_of_a_whole_agent_is_told_in_its_note_alone() -> None:
    deadline = NOW + timedelta(seconds=20)
    found = shown(instance(1, **DRAINING), instance(2, **DRAINING), state=AgentState.STOPPING, drain_deadline=deadline)
    assert (found.summary, found.tasks_left, found.drain_left) == ("2 instances: 2 draining", None, None)


@pytest.mark.parametrize(
    ("state", "desired", "phase"),
    [
        (AgentState.RUNNING, DesiredState.RUNNING, Phase.SILENT),
        (AgentState.RUNNING, DesiredState.PAUSED, Phase.PAUSED),
        (AgentState.PAUSED, DesiredState.RUNNING, Phase.PAUSED),
        (AgentState.STOPPING, DesiredState.STOPPED, Phase.DRAINING),
    ],
)
def test_an_instance_that_is_heard_of_and_takes_no_work_is_told_by_what_the_agent_is(
    state: AgentState, desired: DesiredState, phase: Phase
) -> None:
    found = shown(instance(1, **SILENT), instance(2, **SILENT), state=state, desired_state=desired)
    assert [row.phase for row in found.rows] == [phase, phase]


def test_each_instance_tells_its_own_figures() -> None:
    one = instance(1, in_flight=1, cpu_percent=3.14, rss_bytes=85 * 1024**2, started_at=NOW - timedelta(minutes=3))
    row = shown(one, instance(2)).rows[0]
    assert (row.pid, row.address, row.tasks) == (4001, "http://127.0.0.1:8101", "1 task")
    assert (row.cpu, row.memory) == ("3.1 %", "85 MiB")
    assert row.uptime is not None and row.uptime.text == "3 min"


def test_an_instance_from_elsewhere_has_no_process_to_show() -> None:
    row = shown(instance(1, pid=None, started_at=None), instance(2)).rows[0]
    assert (row.pid, row.uptime, row.cpu, row.memory) == (None,) * 4
