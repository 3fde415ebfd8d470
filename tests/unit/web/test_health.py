from __future__ import annotations

import pytest

from manager.supervision.states import AgentState
from manager.supervision.views import AgentView
from manager.telemetry.traffic import Recent
from tests.unit.web.fakes import view
from web.figures import NO_FIGURES, NO_SPARKS, figures_of
from web.health import TROUBLES_SHOWN, fleet_health, fleet_vitals, state_counts
from web.tones import Tone


@pytest.mark.parametrize(
    ("views", "verdict", "tone"),
    [
        ([], "No agents yet", Tone.IDLE),
        ([view()], "All is well", Tone.GOOD),
        ([view(), view("late", AgentState.STARTING)], "All is well", Tone.BUSY),
        ([view(state=AgentState.STOPPED)], "All is well", Tone.IDLE),
        ([view(), view("bad", AgentState.FAILED)], "1 of 2 agents needs attention", Tone.BAD),
        ([view(state=AgentState.BACKOFF), view("b", AgentState.LOST)], "2 of 2 agents need attention", Tone.BAD),
        ([view(state_reason="the restart failed")], "1 of 1 agent needs attention", Tone.WARN),
    ],
)
def test_the_verdict_is_one_sentence(views: list[AgentView], verdict: str, tone: Tone) -> None:
    health = fleet_health(views)
    assert (health.verdict, health.tone) == (verdict, tone)


def test_the_worst_are_named_first_with_their_reason() -> None:
    late = view("late", AgentState.BACKOFF, name="Late")
    bad = view("bad", AgentState.FAILED, state_reason="No module x.")
    health = fleet_health([late, view(), bad])
    assert [(each.id, each.reason) for each in health.troubles] == [("bad", "No module x."), ("late", "")]
    assert health.more == 0


def test_of_many_troubles_a_few_are_named() -> None:
    health = fleet_health([view(f"a{number}", AgentState.FAILED) for number in range(9)])
    assert (len(health.troubles), health.more) == (TROUBLES_SHOWN, 9 - TROUBLES_SHOWN)


def test_every_state_is_counted_those_without_an_agent_too() -> None:
    counts = {each.state: each.count for each in state_counts([view(), view("b"), view("c", AgentState.LOST)])}
    assert counts.pop("running") == 2 and counts.pop("lost") == 1
    assert len(counts) == len(AgentState) - 2 and set(counts.values()) == {0}


def test_the_vitals_are_of_the_whole_fleet() -> None:
    views = [
        view("a", in_flight=2, cpu_percent=30.0, rss_bytes=2**30),
        view("b", in_flight=1, queued=4, cpu_percent=80.0, rss_bytes=2**29),
        view("c"),
    ]
    busy = figures_of(Recent(300, 3.0, 30, 0.1, 5.0, 9.0), NO_SPARKS)
    calm = figures_of(Recent(100, 1.0, 0, 0.0, 5.0, 9.0), NO_SPARKS)
    vitals = {each.name: each for each in fleet_vitals(views, {"a": busy, "b": calm, "c": NO_FIGURES})}
    assert {name: each.text for name, each in vitals.items()} == {
        "In flight": "3",
        "Queued": "4",
        "Requests": "4.0/s",
        "Errors": "7.5 %",
        "CPU": "110 %",
        "Memory": "1.5 GiB",
    }
    assert vitals["Errors"].tone is Tone.BAD and vitals["Queued"].tone is Tone.WARN


def test_an_idle_fleet_has_figures_too() -> None:
    texts = [each.text for each in fleet_vitals([view()], {"planner": NO_FIGURES})]
    assert texts == ["0", "0", "0", "0 %", "0.0 %", "0 MiB"]
