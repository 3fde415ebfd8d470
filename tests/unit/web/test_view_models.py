from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from manager.registry.circuit import CircuitState
from manager.supervision.states import AgentState, DesiredState
from manager.supervision.views import LastExit
from tests.unit.web.fakes import NOW, view
from web.figures import Figures
from web.tones import Tone
from web.view_models import SORTED_BY, agent_row, fleet_summary, trouble_of


def test_a_row_tells_the_figures_as_texts() -> None:
    row = agent_row(
        view(started_at=NOW - timedelta(minutes=3), cpu_percent=3.14, rss_bytes=85 * 1024**2, in_flight=2, queued=1),
        NOW + timedelta(seconds=2),
    )
    assert row.uptime is not None and (row.uptime.text, row.uptime.at) == ("3 min", "2026-03-04T11:57:00.000Z")
    assert row.heartbeat is not None and row.heartbeat.text == "2 s"
    assert (row.cpu, row.memory, row.in_flight, row.queued) == ("3.1 %", "85 MiB", 2, 1)


def test_a_row_without_a_process_has_no_uptime_and_no_figures() -> None:
    row = agent_row(view(state=AgentState.STOPPED, pid=None, last_heartbeat_at=None), NOW)
    assert (row.uptime, row.heartbeat, row.cpu, row.memory) == (None,) * 4


@pytest.mark.parametrize(
    ("state", "labels"),
    [
        (AgentState.STOPPED, ["Start"]),
        (AgentState.RUNNING, ["Pause", "Stop", "Restart"]),
        (AgentState.PAUSED, ["Resume", "Stop", "Restart"]),
        (AgentState.STOPPING, ["Start", "Stop"]),
        (AgentState.LOST, []),
    ],
)
def test_the_buttons_are_the_actions_of_the_view_with_kill_apart(state: AgentState, labels: list[str]) -> None:
    row = agent_row(view(state=state), NOW)
    assert [button.label for button in row.buttons] == labels
    assert ("kill" in row.actions.split()) == (state in (AgentState.RUNNING, AgentState.PAUSED, AgentState.STOPPING))


@pytest.mark.parametrize(
    ("desired", "managed", "label"),
    [
        (DesiredState.STOPPED, True, "Stop now"),
        # The drain of a restart: a stop changes what follows it. Elsewhere: a stop that is repeated changes nothing.
        (DesiredState.RUNNING, True, "Stop"),
        (DesiredState.STOPPED, False, "Stop"),
    ],
)
def test_a_second_stop_says_that_it_ends_the_drain_where_it_does(
    desired: DesiredState, managed: bool, label: str
) -> None:
    row = agent_row(view(state=AgentState.STOPPING, desired_state=desired, managed=managed), NOW)
    stop = next(button for button in row.buttons if button.action == "stop")
    assert stop.label == label
    assert ("drain at once" in stop.hint) == (label == "Stop now")


@pytest.mark.parametrize(
    ("state", "reason", "tone"),
    [
        (AgentState.RUNNING, "the restart failed and the old process stays: exit 1", Tone.WARN),
        (AgentState.PAUSED, "the restart failed and the old process stays: exit 1", Tone.WARN),
        (AgentState.RUNNING, None, Tone.GOOD),
        (AgentState.STOPPED, "it is not restarted: exit 0", Tone.IDLE),
        (AgentState.FAILED, "No module x.", Tone.BAD),
    ],
)
def test_a_setback_of_an_agent_that_serves_stands_out(state: AgentState, reason: str | None, tone: Tone) -> None:
    row = agent_row(view(state=state, state_reason=reason), NOW)
    assert (row.reason, row.note_tone) == (reason, tone)


@pytest.mark.parametrize(
    ("circuit", "text", "tone"),
    [
        (CircuitState.CLOSED, None, Tone.GOOD),
        (CircuitState.OPEN, "does not answer", Tone.WARN),
        (CircuitState.HALF_OPEN, "does not answer, being tried", Tone.WARN),
    ],
)
def test_an_agent_that_does_not_answer_stands_out(circuit: CircuitState, text: str | None, tone: Tone) -> None:
    row = agent_row(view(circuit=circuit), NOW)
    assert (row.circuit, row.note_tone) == (text, tone)


def test_a_stopping_agent_tells_how_many_tasks_and_seconds_are_left() -> None:
    stopping = view(
        state=AgentState.STOPPING,
        in_flight=2,
        queued=1,
        drain_deadline=NOW + timedelta(seconds=26, milliseconds=400),
        stop_deadline=NOW + timedelta(seconds=31, milliseconds=400),
    )
    row = agent_row(stopping, NOW)
    assert row.draining == 3
    assert row.drain_left is not None and row.drain_left.text == "27 s"
    assert row.kill_left is not None and row.kill_left.text == "32 s"


def test_a_deadline_that_is_left_over_is_not_told_of_a_running_agent() -> None:
    row = agent_row(view(drain_deadline=NOW + timedelta(seconds=5), next_start_at=NOW), NOW)
    assert (row.draining, row.drain_left, row.next_start) == (None, None, None)


def test_a_backoff_counts_down_to_the_next_start() -> None:
    row = agent_row(view(state=AgentState.BACKOFF, next_start_at=NOW + timedelta(seconds=14)), NOW)
    assert row.next_start is not None and row.next_start.text == "14 s"


@pytest.mark.parametrize(
    ("code", "signal", "short"),
    [(1, None, "exit 1"), (0, None, "exit 0"), (None, 9, "signal 9"), (None, None, "ended")],
)
def test_the_last_exit_is_told_in_two_words(code: int | None, signal: int | None, short: str) -> None:
    last = LastExit(code=code, signal=signal, reason="It fell.", at=NOW - timedelta(hours=2))
    row = agent_row(view(last_exit=last), NOW)
    assert row.last_exit is not None
    assert (row.last_exit.short, row.last_exit.reason, row.last_exit.since.text) == (short, "It fell.", "2 h 0 min")


@pytest.mark.parametrize(
    ("state", "desired", "wanted"),
    [
        (AgentState.RUNNING, DesiredState.RUNNING, None),
        (AgentState.RUNNING, DesiredState.PAUSED, "paused"),
        (AgentState.STOPPED, DesiredState.RUNNING, "running"),
        (AgentState.STOPPING, DesiredState.STOPPED, None),
        (AgentState.FAILED, DesiredState.RUNNING, None),
    ],
)
def test_what_is_wanted_is_told_only_where_the_agent_rests_in_another_state(
    state: AgentState, desired: DesiredState, wanted: str | None
) -> None:
    assert agent_row(view(state=state, desired_state=desired), NOW).wanted == wanted


def test_the_summary_counts_the_states_with_running_first() -> None:
    views = [view(f"a{index}") for index in range(5)] + [view("b", AgentState.FAILED)]
    summary = fleet_summary(views)
    assert (summary.text, summary.tone, summary.troubled) == ("6 agents: 1 failed, 5 running", Tone.BAD, 1)


@pytest.mark.parametrize(
    ("states", "text", "tone"),
    [
        ([], "No agents", Tone.IDLE),
        ([AgentState.RUNNING], "1 agent: 1 running", Tone.GOOD),
        ([AgentState.RUNNING, AgentState.STARTING], "2 agents: 1 running, 1 starting", Tone.BUSY),
        ([AgentState.RUNNING, AgentState.BACKOFF], "2 agents: 1 backoff, 1 running", Tone.WARN),
        (
            [AgentState.RUNNING, AgentState.BACKOFF, AgentState.FAILED],
            "3 agents: 1 failed, 1 backoff, 1 running",
            Tone.BAD,
        ),
        ([AgentState.STOPPED, AgentState.LOST], "2 agents: 1 lost, 1 stopped", Tone.BAD),
        ([AgentState.STOPPED], "1 agent: 1 stopped", Tone.IDLE),
    ],
)
def test_the_summary_takes_the_tone_of_its_worst_agent(states: list[AgentState], text: str, tone: Tone) -> None:
    summary = fleet_summary([view(f"a{index}", state) for index, state in enumerate(states)])
    assert (summary.text, summary.tone) == (text, tone)


@pytest.mark.parametrize(
    ("changes", "troubled"),
    [
        ({}, False),
        ({"state_reason": "the restart failed and the old process stays"}, True),
        ({"circuit": CircuitState.OPEN}, True),
        ({"state": AgentState.STOPPED, "state_reason": "it is not restarted: exit 0"}, False),
        ({"state": AgentState.BACKOFF}, True),
        ({"state": AgentState.STARTING, "state_reason": "waits for llm"}, False),
    ],
)
def test_an_agent_wants_attention_while_it_fails_or_has_met_a_setback(changes: dict[str, Any], troubled: bool) -> None:
    assert (trouble_of(view(**changes)) is not None) == troubled
    assert fleet_summary([view(**changes)]).troubled == troubled


def test_rows_are_sorted_by_numbers_with_the_most_urgent_state_first() -> None:
    figures = Figures(p95_ms=80.5, error_ratio=0.25)
    late = view(restarts=3, in_flight=2, queued=1, cpu_percent=3.5, rss_bytes=2**40)
    assert agent_row(late, NOW, figures).order == f"4 {NOW.timestamp():.0f} 4242 3 3 80.5 0.25 3.5 1.099511628e+12"
    bare = view(state=AgentState.FAILED, pid=None, last_heartbeat_at=None)
    order = agent_row(bare, NOW).order.split()
    assert order == ["0", "-", "-", "0", "0", "-", "-", "-", "-"] and len(order) == len(SORTED_BY)


def test_every_state_can_be_shown() -> None:
    rows = [agent_row(view(state=state), NOW) for state in AgentState]
    assert [row.state for row in rows] == [state.value for state in AgentState]
