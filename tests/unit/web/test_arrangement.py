from __future__ import annotations

import pytest

from manager.supervision.states import AgentState
from tests.unit.web.fakes import view
from web.arrangement import BY_NAME, Arrangement
from web.figures import NO_FIGURES
from web.view_models import SORTED_BY

CPU = str(SORTED_BY.index("cpu"))
VIEWS = {
    one.id: one
    for one in (
        view("b", cpu_percent=5.0),
        view("none", name="Zebra"),
        view("a", cpu_percent=90.0),
        view("c", AgentState.FAILED, cpu_percent=1.0, state_reason="No module STRIPE."),
    )
}


def order(**params: str) -> str:
    return " ".join(Arrangement.read(params).in_order(VIEWS, dict.fromkeys(VIEWS, NO_FIGURES)))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, "b none a c"),
        ({"down": CPU}, "a b c none"),
        ({"sort": CPU}, "c b a none"),
        ({"sort": CPU, "down": ""}, "a b c none"),
        ({"sort": BY_NAME}, "a b c none"),
        ({"down": BY_NAME}, "none c b a"),
        ({"sort": "3"}, "b none a c"),
        ({"sort": "99"}, "b none a c"),
        ({"sort": "-1", "down": ""}, "b none a c"),
    ],
)
def test_rows_stand_in_the_order_that_the_address_asks_for(params: dict[str, str], expected: str) -> None:
    assert order(**params) == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"a", "b", "c", "none"}),
        ({"state": "failed"}, {"c"}),
        ({"state": "nonsense"}, set()),
        ({"q": " stripe  FAIL "}, {"c"}),
        ({"q": "zeb"}, {"none"}),
        ({"q": "stripe", "state": "running"}, set()),
    ],
)
def test_rows_are_shown_that_have_all_words_and_the_state(params: dict[str, str], expected: set[str]) -> None:
    arrangement = Arrangement.read(params)
    assert {agent_id for agent_id, one in VIEWS.items() if arrangement.shows(one)} == expected


def test_a_press_sorts_then_turns_it_round_then_ends_it() -> None:
    for by, steps in ((CPU, ["down", "sort", None]), (BY_NAME, ["sort", "down", None])):
        found, params = [], dict[str, str]()
        for _ in steps:
            step = Arrangement.read(params).next_step(by)
            found.append(step)
            params = {step: by} if step else {}
        assert found == steps
        assert Arrangement.read({"sort": "4"}).next_step(by) == steps[0]
