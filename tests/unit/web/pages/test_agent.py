from __future__ import annotations

import pytest

from agent_service.contract import DefinitionSummary, ThreadEntry, ThreadPage
from manager.errors import NotReady, StateConflict
from manager.specs.models import AgentConfig
from manager.supervision.states import AgentState
from manager.supervision.views import LastExit
from tests.unit.web.asking import HTMX, get, text_of
from tests.unit.web.fakes import NOW, World, instance, view

SUMMARY = DefinitionSummary.model_validate(
    {
        "model": {"provider": "openai", "model": "gpt", "base_url": None},
        "memory": "thread",
        "servers": [],
        "structured_output": False,
        "guardrails": False,
        "revision": 0,
    }
)


def test_the_page_tells_what_is_known_of_the_agent() -> None:
    world = World(
        view(name="PlannerAgent", description="Plans.", instances=[instance(1), instance(2)], instances_wanted=2)
    )
    world.happen("planner is running")
    page = text_of(get(world, "/agents/planner"))
    for piece in ("PlannerAgent", "Plans.", "http://127.0.0.1:8101", "planner is running", "The last hour"):
        assert piece in page


def test_the_spec_shows_references_and_no_secrets() -> None:
    world = World(view())
    agent = AgentConfig(id="planner", env={"API_KEY": "s3cret", "TEAM_KEY": "env:TEAM"})
    world.reloader.running = type(world.reloader.running)(
        world.reloader.running.runtime, (agent,), world.reloader.running.path, world.reloader.running.project_directory
    )
    page = get(world, "/agents/planner").text
    assert "env:TEAM" in page and "s3cret" not in page


def test_an_agent_from_elsewhere_has_no_spec() -> None:
    assert "spec-heading" not in get(World(view(managed=False)), "/agents/planner").text


def test_a_sidecar_takes_no_tasks_and_is_offered_none() -> None:
    page = get(World(view(sidecar=True)), "/agents/planner").text
    assert 'id="execute"' not in page and "execute.js" not in page and "sidecar" in page


@pytest.mark.parametrize(
    ("state", "takes"),
    [(AgentState.RUNNING, "yes"), (AgentState.STARTING, "yes"), (AgentState.STOPPED, "no"), (AgentState.PAUSED, "no")],
)
def test_the_overview_says_whether_it_takes_work(state: AgentState, takes: str) -> None:
    overview = get(World(view(state=state)), "/ui/agents/planner/overview", headers=HTMX).text
    assert f'data-takes-work="{takes}"' in overview


def test_the_panel_begins_with_the_example_of_the_description_and_its_curl() -> None:
    page = get(World(view(description='Try {"goal": "tea"}.'), tokens=()), "/agents/planner").text
    assert "{\n  &#34;goal&#34;: &#34;tea&#34;\n}" in page
    assert "curl -N http://manager.test/api/agent-services/planner/execute" in page


def test_a_drain_a_reason_and_the_next_start_are_told() -> None:
    failed = view(state=AgentState.FAILED, state_reason="No module x.")
    assert "No module x." in get(World(failed), "/ui/agents/planner/overview").text
    draining = view(state=AgentState.STOPPING, in_flight=3, drain_deadline=NOW)
    assert "draining: 3 left" in text_of(get(World(draining), "/ui/agents/planner/overview"))


@pytest.mark.parametrize(
    ("state_reason", "times"), [("It fell.", 1), ("gave up: It fell (3 times)", 1), ("Install stripe.", 2), (None, 1)]
)
def test_how_it_ended_is_told_once(state_reason: str | None, times: int) -> None:
    last = LastExit(code=1, signal=None, reason="It fell.", at=NOW)
    failed = view(state=AgentState.FAILED, state_reason=state_reason, last_exit=last)
    told = text_of(get(World(failed), "/ui/agents/planner/overview"))
    assert told.count("It fell") + told.count("Install stripe") == times
    assert "exit 1 0 s ago" in told


def test_how_many_of_those_done_have_failed_is_told_beside_them() -> None:
    some = view(tasks_total=2, tasks_failed=2)
    assert "Done 2 (2 failed) Heartbeat" in text_of(get(World(some), "/ui/agents/planner/overview"))
    assert "2 (2 failed)" in text_of(get(World(some), "/metrics-overview"))
    assert "Done 3 Heartbeat" in text_of(get(World(view(tasks_total=3)), "/ui/agents/planner/overview"))


def test_the_charts_are_a_fragment_with_their_tables() -> None:
    world = World(view())
    world.series.points["planner"] = {"p50_ms": [3.0, 4.0], "p95_ms": [9.0, None]}
    charts = get(world, "/ui/agents/planner/charts").text
    assert "p50 now 4.0 ms; p95 now 9.0 ms" in charts and "<table" in charts


def test_only_an_agent_from_data_is_asked_for_its_definition() -> None:
    assert 'id="definition"' not in get(World(view()), "/agents/planner").text
    page = get(World(view(entry_point="react")), "/agents/planner").text
    assert 'hx-trigger="load, live"' in page and 'href="?all"' in page


def test_without_scripts_the_page_asks_before_it_answers() -> None:
    world = World(view(entry_point="react"))
    world.introspection.definitions["planner"] = SUMMARY
    world.introspection.pages["planner"] = ThreadPage(
        threads=[ThreadEntry(thread_id="mon:day", updated_at=NOW)], next=None
    )
    page = get(world, "/agents/planner?all").text
    assert "openai gpt" in page and "/api/agent-services/planner/threads/mon%3Aday" in page


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotReady("planner is stopped; start it."), "planner is stopped; start it."),
        (StateConflict("a sidecar"), "says nothing"),
    ],
)
def test_an_agent_that_cannot_be_asked_says_why(error: Exception, words: str) -> None:
    world = World(view(entry_point="react"))
    world.introspection.definitions["planner"] = error
    assert words in get(world, "/ui/agents/planner/definition").text


def test_an_agent_that_is_not_there_is_told_as_page_and_as_fragment() -> None:
    page, fragment = get(World(), "/agents/ghost"), get(World(), "/ui/agents/ghost/overview", headers=HTMX)
    assert page.status_code == fragment.status_code == 404
    assert "There is no agent" in page.text and "<html" in page.text
    assert "There is no agent" in fragment.text and "<html" not in fragment.text


@pytest.mark.parametrize("path", ["/agents/planner", "/ui/agents/planner/overview", "/ui/agents/planner/definition"])
def test_a_stranger_sees_nothing_of_it(path: str) -> None:
    answer = get(World(view(description="Plans."), tokens=("secret",)), path)
    assert answer.status_code == 401 and "Plans." not in answer.text


def test_what_an_agent_says_of_itself_is_text_and_not_markup() -> None:
    page = get(
        World(view(name="<script>alert(1)</script>", description='</textarea><img src=x> {"a": "</textarea>"}')),
        "/agents/planner",
    ).text
    assert "<script>alert" not in page and "<img" not in page and page.count("</textarea>") == 1
