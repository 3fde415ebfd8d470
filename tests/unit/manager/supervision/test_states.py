from __future__ import annotations

import pytest

from manager.supervision import states
from manager.supervision.states import HARMLESS, LEGAL_ACTIONS, NEEDS_PROCESS, TRANSITIONS, AgentAction, AgentState

S = AgentState

# The arrows of the diagram in states.py.
DIAGRAM = [
    (S.STOPPED, S.STARTING),
    (S.PAUSED, S.STARTING),
    (S.STARTING, S.RUNNING),
    (S.STARTING, S.FAILED),
    (S.STARTING, S.BACKOFF),
    (S.BACKOFF, S.STARTING),
    (S.BACKOFF, S.FAILED),
    (S.RUNNING, S.PAUSED),
    (S.PAUSED, S.RUNNING),
    (S.RUNNING, S.UNRESPONSIVE),
    (S.UNRESPONSIVE, S.RUNNING),
    (S.RUNNING, S.BACKOFF),
    (S.PAUSED, S.BACKOFF),
    (S.UNRESPONSIVE, S.BACKOFF),
    (S.STARTING, S.STOPPING),
    (S.RUNNING, S.STOPPING),
    (S.PAUSED, S.STOPPING),
    (S.UNRESPONSIVE, S.STOPPING),
    (S.STOPPING, S.STOPPED),
    (S.RUNNING, S.LOST),
    (S.PAUSED, S.LOST),
    (S.STOPPING, S.LOST),
]


@pytest.mark.parametrize("table", [TRANSITIONS, LEGAL_ACTIONS, HARMLESS], ids=["transitions", "legal", "harmless"])
def test_every_state_is_in_every_table(table: dict[AgentState, object]) -> None:
    assert set(table) == set(AgentState)


@pytest.mark.parametrize(("before", "after"), DIAGRAM)
def test_every_arrow_of_the_diagram_is_a_transition(before: AgentState, after: AgentState) -> None:
    assert after in TRANSITIONS[before]


def test_every_state_stands_in_the_diagram() -> None:
    assert states.__doc__ is not None
    assert [state for state in AgentState if state not in states.__doc__] == []


def test_no_state_leads_to_itself() -> None:
    assert [state for state in AgentState if state in TRANSITIONS[state]] == []


def test_every_state_can_be_reached_and_left() -> None:
    reached, new = {S.STOPPED}, {S.STOPPED}
    while new:
        new = {after for state in new for after in TRANSITIONS[state]} - reached
        reached |= new
    assert reached == set(AgentState)
    assert all(TRANSITIONS[state] for state in AgentState)


def test_an_agent_that_fell_silent_may_do_so_whatever_it_did_with_its_process() -> None:
    for state in (S.STARTING, S.RUNNING, S.PAUSED, S.STOPPING):
        assert S.UNRESPONSIVE in TRANSITIONS[state]


def test_only_who_has_been_heard_of_can_be_lost() -> None:
    assert {state for state in AgentState if S.LOST in TRANSITIONS[state]} == {S.RUNNING, S.PAUSED, S.STOPPING}


def test_an_action_is_legal_or_harmless_never_both() -> None:
    assert [state for state in AgentState if LEGAL_ACTIONS[state] & HARMLESS[state]] == []


@pytest.mark.parametrize(
    ("action", "states_"),
    [
        (AgentAction.START, {S.STOPPED, S.STOPPING, S.BACKOFF, S.FAILED}),
        (AgentAction.KILL, {S.STARTING, S.RUNNING, S.PAUSED, S.STOPPING, S.UNRESPONSIVE}),
        (AgentAction.PAUSE, {S.STARTING, S.RUNNING, S.BACKOFF, S.UNRESPONSIVE}),
        (AgentAction.RESUME, {S.PAUSED}),
        (AgentAction.STOP, set(AgentState) - {S.STOPPED, S.LOST}),
        (AgentAction.RESTART, set(AgentState) - {S.STOPPED, S.STOPPING, S.LOST}),
    ],
)
def test_where_an_action_changes_something(action: AgentAction, states_: set[AgentState]) -> None:
    assert {state for state in AgentState if action in LEGAL_ACTIONS[state]} == states_


def test_where_a_pause_is_taken_so_is_the_resume_that_takes_it_back() -> None:
    allowed = {state: LEGAL_ACTIONS[state] | HARMLESS[state] for state in AgentState}
    assert [
        state
        for state in AgentState
        if AgentAction.PAUSE in allowed[state] and AgentAction.RESUME not in allowed[state]
    ] == []


def test_repeating_an_action_in_the_state_that_it_leads_to_is_no_conflict() -> None:
    for action, state in [
        (AgentAction.START, S.STARTING),
        (AgentAction.START, S.RUNNING),
        (AgentAction.PAUSE, S.PAUSED),
        (AgentAction.RESUME, S.RUNNING),
        (AgentAction.STOP, S.STOPPING),
        (AgentAction.STOP, S.STOPPED),
    ]:
        assert action in LEGAL_ACTIONS[state] | HARMLESS[state]


def test_what_needs_a_process_of_ours_is_starting_and_killing() -> None:
    assert {AgentAction.START, AgentAction.KILL} == NEEDS_PROCESS
