from __future__ import annotations

import pytest

from manager.supervision.states import AgentState
from tests.unit.web.fakes import instance, view
from web.agent_actions import agent_actions


def words(**changes: object) -> list[str]:
    return [button.action for button in agent_actions(view(**changes)).buttons]


def test_the_menu_has_the_rows_buttons_and_the_other_restart() -> None:
    assert words() == ["pause", "stop", "restart", "recreate"]
    assert words(state=AgentState.STOPPED) == ["start"]


def test_an_agent_from_elsewhere_has_no_second_way_to_restart_and_is_scaled_elsewhere() -> None:
    assert "recreate" not in words(managed=False)
    assert agent_actions(view(managed=False)).scale_from is None


def test_a_sidecar_has_one_process() -> None:
    assert agent_actions(view(sidecar=True)).scale_from is None
    assert agent_actions(view(instances_wanted=4)).scale_from == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "The process of Planner ends at once. The agent stays stopped"),
        ({"instances": [instance(1), instance(2), instance(3)]}, "All 3 processes of Planner end at once."),
        ({"in_flight": 1}, "ends at once, and 1 unfinished task will be lost."),
        ({"in_flight": 2, "queued": 1}, "3 unfinished tasks will be lost."),
    ],
)
def test_a_kill_says_what_it_ends_and_what_it_loses(changes: dict[str, object], told: str) -> None:
    kill = agent_actions(view(name="Planner", **changes)).kill
    assert kill is not None and told in kill


def test_where_nothing_runs_there_is_nothing_to_kill() -> None:
    assert agent_actions(view(state=AgentState.FAILED)).kill is None
