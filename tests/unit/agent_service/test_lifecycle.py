from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from agent_service.contract import AdapterAction, AdapterStatus
from agent_service.errors import StateConflict
from agent_service.lifecycle import TRANSITIONS, Ending, Lifecycle
from tests.unit.agent_service.harness import STARTED_AT, Clock

PAUSE, RESUME, STOP, RESTART = AdapterAction.PAUSE, AdapterAction.RESUME, AdapterAction.STOP, AdapterAction.RESTART


def lifecycle(clock: Clock | None = None, *, hands_over: bool = False) -> Lifecycle:
    clock = clock or Clock()
    return Lifecycle(drain_timeout_seconds=30, hands_over=hands_over, now=clock.now, monotonic=clock.monotonic)


def test_pause_and_resume_go_to_and_fro_and_repeating_them_is_harmless() -> None:
    subject = lifecycle()
    statuses = [subject.act(action) for action in (RESUME, PAUSE, PAUSE, RESUME, RESUME)]
    assert statuses == ["running", "paused", "paused", "running", "running"]


@pytest.mark.parametrize("before", [[], [PAUSE]])
@pytest.mark.parametrize("action", [STOP, RESTART])
def test_stopping_begins_from_running_and_paused_with_a_deadline(
    before: list[AdapterAction], action: AdapterAction
) -> None:
    subject = lifecycle()
    for each in before:
        subject.act(each)
    assert subject.act(action) is AdapterStatus.STOPPING
    assert subject.ending_asked.is_set()
    assert subject.ending == Ending(action.value)
    assert subject.drain_deadline == STARTED_AT + timedelta(seconds=30)
    assert subject.drain_seconds_left() == 30


@pytest.mark.parametrize("action", [PAUSE, RESUME])
def test_a_stopping_agent_refuses_to_pause_and_to_resume(action: AdapterAction) -> None:
    subject = lifecycle()
    subject.act(STOP)
    with pytest.raises(StateConflict, match=r"stopping and cannot become .*; wait until"):
        subject.act(action)
    subject.finish()
    with pytest.raises(StateConflict, match="stopped and cannot become"):
        subject.act(action)


def test_the_timeout_of_an_action_overrides_the_drain_timeout() -> None:
    subject = lifecycle()
    subject.act(STOP, 2.5)
    assert subject.drain_deadline == STARTED_AT + timedelta(seconds=2.5)


def test_repeating_a_stop_brings_the_deadline_nearer_but_never_puts_it_off() -> None:
    subject = lifecycle()
    subject.act(STOP)
    subject.act(STOP)
    subject.act(STOP, 100)
    assert subject.drain_seconds_left() == 30
    subject.act(STOP, 0)
    assert subject.drain_seconds_left() == 0


def test_a_stop_outranks_a_restart_and_not_the_other_way_round() -> None:
    subject = lifecycle()
    subject.act(RESTART)
    subject.act(RESTART)
    assert subject.ending == Ending.RESTART.value
    subject.act(STOP)
    with pytest.raises(StateConflict, match="will not come back"):
        subject.act(RESTART)
    assert subject.ending is Ending.STOP


def test_the_deadline_passes_with_the_clock() -> None:
    clock = Clock()
    subject = lifecycle(clock)
    subject.act(STOP)
    clock.seconds += 31
    assert subject.drain_seconds_left() == 0


def test_only_the_moves_of_the_table_are_possible() -> None:
    allowed = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    for before, after in itertools.product(AdapterStatus, AdapterStatus):
        subject = Lifecycle(before, drain_timeout_seconds=1)
        if before is after or (before, after) in allowed:
            subject._move(after)
            assert subject.status is after
        else:
            with pytest.raises(StateConflict):
                subject._move(after)


@pytest.mark.parametrize(
    ("hands_over", "actions", "handing_over"),
    [
        (True, [RESTART], True),
        (True, [RESTART, RESTART], True),
        (True, [RESTART, STOP], False),
        (True, [STOP], False),
        (True, [PAUSE, RESTART], False),
        (False, [RESTART], False),
    ],
)
def test_only_a_running_agent_that_restarts_hands_its_shared_port_over(
    hands_over: bool, actions: list[AdapterAction], handing_over: bool
) -> None:
    subject = lifecycle(hands_over=hands_over)
    for action in actions:
        subject.act(action)
    assert subject.handing_over is handing_over
