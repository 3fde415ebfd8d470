from __future__ import annotations

import pytest

from manager.registry.routing import Admission, Route, RoutePolicy
from manager.supervision.routes import admission_of, route_of, waiting_route
from manager.supervision.states import HARMLESS, LEGAL_ACTIONS, AgentAction, AgentState, DesiredState

S, D = AgentState, DesiredState
OPEN, COMING_BACK, REFUSED, DOWN = Admission.OPEN, Admission.COMING_BACK, Admission.REFUSED, Admission.DOWN
POLICY = RoutePolicy(300, 10, 1024)

# state: (wanted running, wanted paused, wanted stopped)
TABLE = {
    S.STARTING: (COMING_BACK, REFUSED, REFUSED),
    S.RUNNING: (OPEN, REFUSED, REFUSED),
    S.PAUSED: (COMING_BACK, REFUSED, REFUSED),
    S.STOPPING: (COMING_BACK, REFUSED, REFUSED),
    S.STOPPED: (DOWN, DOWN, DOWN),
    S.BACKOFF: (COMING_BACK, REFUSED, REFUSED),
    S.FAILED: (DOWN, DOWN, DOWN),
    S.UNRESPONSIVE: (DOWN, REFUSED, REFUSED),
    S.LOST: (DOWN, REFUSED, REFUSED),
}
CASES = [
    (state, desired, admission)
    for state, row in TABLE.items()
    for desired, admission in zip((D.RUNNING, D.PAUSED, D.STOPPED), row, strict=True)
]


def route(state: AgentState, desired: DesiredState, *, reason: str | None = None, closing: str | None = None) -> Route:
    return route_of("echo", POLICY, state, reason, desired, closing=closing)


def test_the_table_is_complete() -> None:
    assert len(CASES) == len(AgentState) * len(DesiredState)


@pytest.mark.parametrize(("state", "desired", "admission"), CASES)
def test_what_becomes_of_a_request(state: AgentState, desired: DesiredState, admission: Admission) -> None:
    assert admission_of(state, desired, closing=None) is admission
    assert route(state, desired).admission is admission


@pytest.mark.parametrize("state", AgentState)
@pytest.mark.parametrize("desired", DesiredState)
def test_an_agent_that_ends_for_good_refuses_everything_and_says_why(state: AgentState, desired: DesiredState) -> None:
    closing = route(state, desired, closing="it was taken out of the config")
    assert closing.admission is REFUSED
    assert closing.state == "stopping"
    assert closing.detail == ("echo takes no new work: it was taken out of the config. Try again when it is back.")


@pytest.mark.parametrize(("state", "desired", "admission"), CASES)
def test_every_sentence_names_the_agent_and_something_to_do(
    state: AgentState, desired: DesiredState, admission: Admission
) -> None:
    detail = route(state, desired).detail
    assert detail.startswith(f"echo {state.in_words}") or detail.startswith("echo is ")
    assert any(advice in detail for advice in ("start it", "resume it", "try again"))


@pytest.mark.parametrize(("state", "desired", "admission"), CASES)
def test_nobody_is_told_to_resume_what_cannot_be_resumed(
    state: AgentState, desired: DesiredState, admission: Admission
) -> None:
    if "resume it" in route(state, desired).detail:
        assert AgentAction.RESUME in LEGAL_ACTIONS[state] | HARMLESS[state] or state in (S.STOPPING, S.LOST)


@pytest.mark.parametrize("desired", DesiredState)
def test_who_is_down_for_good_must_be_started(desired: DesiredState) -> None:
    assert route(S.STOPPED, desired).detail == "echo is stopped; start it first."
    assert route(S.FAILED, desired).detail == "echo is failed; mend it, then start it."


def test_who_waits_for_what_does_not_come_waits_for_a_person() -> None:
    reason = "waits for llm, which is failed: no model"
    waiting = waiting_route(route(S.STARTING, D.RUNNING, reason=reason), "echo", reason, "mend and start llm")
    assert (waiting.admission, waiting.state) == (Admission.DOWN, "starting")
    assert waiting.detail == f"echo is starting ({reason}); mend and start llm."
    paused = route(S.STARTING, D.PAUSED, reason=reason)
    assert waiting_route(paused, "echo", reason, "mend and start llm") is paused


def test_the_reason_is_told() -> None:
    assert route(S.FAILED, D.RUNNING, reason="crash loop: 6 crashes.").detail == (
        "echo is failed (crash loop: 6 crashes); mend it, then start it."
    )
    assert route(S.BACKOFF, D.RUNNING, reason="exited with status 1").detail == (
        "echo waits to start again (exited with status 1); try again in a moment."
    )


@pytest.mark.parametrize(("desired", "shown"), [(D.RUNNING, "running"), (D.PAUSED, "paused"), (D.STOPPED, "stopping")])
def test_a_running_agent_is_shown_as_what_it_is_about_to_be(desired: DesiredState, shown: str) -> None:
    assert route(S.RUNNING, desired).state == shown


def test_the_agent_s_limits_go_with_its_route() -> None:
    assert route(S.RUNNING, D.RUNNING).policy is POLICY
