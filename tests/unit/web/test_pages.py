from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from manager.errors import StoreUnavailable
from manager.supervision.states import AgentAction, AgentState
from tests.unit.web.fakes import World, instance, view
from web.session import COOKIE_NAME

HTMX = {"HX-Request": "true", "HX-Current-URL": "http://manager.test/?sort=7#agent-planner"}
TOKEN = "correct horse"


def ask(world: World, *calls: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]], **options: Any) -> Any:
    async def scenario() -> list[httpx.Response]:
        async with world.client(**options) as client:
            return [await call(client) for call in calls]

    answers = asyncio.run(scenario())
    return answers[0] if len(answers) == 1 else answers


def press(
    action: str, agent_id: str = "planner", **form: str
) -> Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]:
    return lambda client: client.post(f"/ui/agents/{agent_id}/action", data={"action": action, **form})


def test_the_page_shows_every_agent_and_the_summary() -> None:
    world = World(view("planner", name="PlannerAgent"), view("echo", AgentState.FAILED, state_reason="No module x."))
    page = ask(world, lambda client: client.get("/"))
    assert page.status_code == 200
    for text in ("PlannerAgent", "No module x.", "2 agents: 1 failed, 1 running", "<title>(1!) agent-manager</title>"):
        assert text in page.text


def test_the_page_shows_the_instances_of_an_agent_that_has_several() -> None:
    world = World(view(instances=[instance(1), instance(2, ready=False)], instances_wanted=2))
    page = ask(world, lambda client: client.get("/"))
    for text in (
        ">1/2 ready<",
        "2 instances: 1 ready, 1 not ready",
        "pid 4002",
        "http://127.0.0.1:8101",
    ):
        assert text in page.text


def test_the_page_of_an_agent_with_one_process_does_not_speak_of_instances() -> None:
    page = ask(World(view(instances=[instance()])), lambda client: client.get("/"))
    assert "1/1" not in page.text and "instances-planner" not in page.text


def test_an_empty_fleet_says_what_to_do_next() -> None:
    page = ask(World(), lambda client: client.get("/"))
    assert "No agents yet" in page.text and "agent-manager init" in page.text


def test_the_page_holds_to_a_strict_policy_and_is_never_cached() -> None:
    page = ask(World(view()), lambda client: client.get("/"))
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';") and "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", page.text)


def rows_of(page: httpx.Response) -> list[tuple[str, bool]]:
    """Every agent in the order of the page, and whether its row is shown."""
    found = re.findall(r'<div role="row"( hidden)? id="agent-([a-z]+)"', page.text)
    return [(agent_id, not hidden) for hidden, agent_id in found]


def test_the_address_sorts_and_filters_the_rows_of_the_page() -> None:
    world = World(view("b", restarts=1), view("a", AgentState.FAILED, restarts=3), view("c", AgentState.FAILED))
    plain, arranged = ask(
        world, lambda client: client.get("/"), lambda client: client.get("/?state=failed&down=3&q=%22a")
    )
    assert rows_of(plain) == [("b", True), ("a", True), ("c", True)] and "data-listed" not in plain.text
    assert rows_of(arranged) == [("a", False), ("b", False), ("c", False)]
    assert 'data-listed="b a c"' in arranged.text and "0 of 3 shown" in arranged.text
    assert 'name="q" value="&#34;a"' in arranged.text and 'aria-pressed="true" value="failed"' in arranged.text
    assert 'data-by="3" aria-sort="descending"' in arranged.text and 'name="sort" value="3"' in arranged.text
    assert '<p id="nothing" class="empty">' in arranged.text and '<p id="nothing" class="empty" hidden>' in plain.text
    some = ask(world, lambda client: client.get("/?state=failed&sort=name"))
    assert rows_of(some) == [("a", True), ("b", False), ("c", True)] and "2 of 3 shown" in some.text


def test_nothing_on_the_page_comes_from_another_host() -> None:
    page = ask(World(view()), lambda client: client.get("/"))
    assert not re.findall(r'(?:src|href|action|hx-[a-z:]+)="(?:https?:)?//', page.text)


def test_what_an_agent_says_of_itself_is_text_and_not_markup() -> None:
    world = World(view(name="<script>alert(1)</script>", state_reason='"><img src=x onerror=alert(1)>'))
    world.logs.lines["planner"] = ["<script>alert(2)</script>"]
    page, logs = ask(
        world, lambda client: client.get("/"), lambda client: client.get("/ui/agents/planner/logs", headers=HTMX)
    )
    assert "<script>alert" not in page.text + logs.text
    assert "<img" not in page.text


def test_a_button_press_from_htmx_answers_with_the_outcome_and_the_row() -> None:
    world = World(view())
    answer = ask(world, press("pause"), headers=HTMX)
    assert answer.status_code == 200
    assert "Pause accepted" in answer.text
    assert '<hx-partial hx-target="#agent-planner" hx-swap="outerMorph">' in answer.text
    assert 'data-state="paused"' in answer.text
    assert world.fleet.acts == [("planner", AgentAction.PAUSE, "dashboard", None)]


def test_who_pressed_is_whom_a_proxy_has_named() -> None:
    world = World(view())
    ask(world, press("pause"), headers={**HTMX, "X-Actor": "ada@example.org"})
    assert world.fleet.acts == [("planner", AgentAction.PAUSE, "ada@example.org", None)]
    refused = ask(World(view()), press("pause"), headers={**HTMX, "X-Actor": "<b>"})
    assert refused.status_code == 400 and "leave it out" in refused.text


def test_a_button_press_without_javascript_leads_back_to_the_row() -> None:
    answer = ask(World(view()), press("stop"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/#agent-planner")


def test_a_reason_is_kept() -> None:
    world = World(view())
    ask(world, press("kill", reason="  it loops "), headers=HTMX)
    assert world.fleet.acts == [("planner", AgentAction.KILL, "dashboard", "it loops")]


@pytest.mark.parametrize(
    ("action", "form", "status", "text"),
    [
        ("resume", {}, 409, "planner is running; start it first."),
        ("explode", {}, 400, "Unknown action &#39;explode&#39;; use one of start, pause"),
        ("", {}, 400, "Unknown action"),
        ("kill", {"reason": "x" * 501}, 400, "Shorten the reason to 500 characters."),
    ],
)
def test_a_refusal_is_told_in_the_row_with_its_remedy(
    action: str, form: dict[str, str], status: int, text: str
) -> None:
    world = World(view())
    answer = ask(world, press(action, **form), headers=HTMX)
    assert answer.status_code == status
    assert "refused" in answer.text and text in answer.text and "#agent-planner" in answer.text
    assert world.fleet.acts == []


def test_a_refusal_without_javascript_is_told_on_the_page() -> None:
    page = ask(World(view()), press("resume"))
    assert page.status_code == 409
    assert "planner is running; start it first." in page.text and 'id="fleet"' in page.text


def test_an_agent_that_is_gone_is_told_with_and_without_javascript() -> None:
    world = World(view())
    with_it = ask(world, press("stop", "ghost"), headers=HTMX)
    without = ask(world, press("stop", "ghost"))
    assert with_it.status_code == without.status_code == 404
    assert "There is no agent &#39;ghost&#39;." in with_it.text and "There is no agent &#39;ghost&#39;." in without.text


def test_the_status_of_a_refusal_is_the_apis_own() -> None:
    world = World(view())
    world.fleet.refusal = StoreUnavailable("The disk is full; make room.")
    answer = ask(world, press("stop"), headers=HTMX)
    assert answer.status_code == 503 and "The disk is full; make room." in answer.text


def test_a_selection_is_told_together() -> None:
    world = World(view("a"), view("b"))
    body = "agent=a&agent=b&action=stop&reason=lunch"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    told = ask(world, lambda client: client.post("/ui/fleet/action", content=body, headers=form), headers=HTMX)
    assert told.status_code == 200 and "Stop accepted by 2 agents" in told.text and "<html" not in told.text
    assert world.fleet.acts == [
        ("a", AgentAction.STOP, "dashboard", "lunch"),
        ("b", AgentAction.STOP, "dashboard", "lunch"),
    ]


def test_a_selection_without_javascript_is_answered_with_the_page() -> None:
    world = World(view("a", AgentState.STOPPED))
    page = ask(world, lambda client: client.post("/ui/fleet/action", data={"agent": "a", "action": "pause"}))
    assert page.status_code == 409 and "a is stopped; start it first." in page.text and 'id="fleet"' in page.text


def test_a_selection_that_is_told_nonsense_is_told_what_can_be_asked() -> None:
    told = ask(World(view()), lambda client: client.post("/ui/fleet/action", data={"agent": "planner"}), headers=HTMX)
    assert told.status_code == 409 and "use one of start, pause" in told.text


def test_the_menu_has_what_the_state_allows_and_where_more_is() -> None:
    menu = ask(World(view(in_flight=2)), lambda client: client.get("/ui/agents/planner/menu"), headers=HTMX)
    assert 'value="recreate"' in menu.text and "2 unfinished tasks" in menu.text
    assert 'href="/logs?agent=planner"' in menu.text and 'href="/agents/planner#execute"' in menu.text
    sidecar = ask(World(view(sidecar=True)), lambda client: client.get("/ui/agents/planner/menu"), headers=HTMX)
    assert "#execute" not in sidecar.text and 'value="scale"' not in sidecar.text


def test_the_menu_of_an_agent_that_is_gone_says_so() -> None:
    gone = ask(World(view()), lambda client: client.get("/ui/agents/ghost/menu"), headers=HTMX)
    assert gone.status_code == 404 and "There is no agent &#39;ghost&#39;." in gone.text


def test_the_answer_to_a_button_of_another_page_brings_no_row_along() -> None:
    elsewhere = {**HTMX, "HX-Current-URL": "http://manager.test/agents/planner"}
    answer = ask(World(view()), press("pause"), headers=elsewhere)
    assert "Pause accepted" in answer.text and "#agent-planner" not in answer.text


def test_the_page_and_the_static_files_are_sent_smaller_to_those_who_take_them_so() -> None:
    page, sheet = ask(World(view()), lambda client: client.get("/"), lambda client: client.get("/static/base.css"))
    assert page.headers["content-encoding"] == sheet.headers["content-encoding"] == "gzip"


def test_a_sidecar_is_named_as_one_and_shows_no_tasks() -> None:
    page = ask(World(view("llm", sidecar=True, in_flight=3)), lambda client: client.get("/"))
    assert ">sidecar</span>" in page.text and 'title="in flight"' not in page.text


@pytest.mark.parametrize("path", ["/ui/agents/planner/action", "/ui/fleet/action", "/ui/login", "/ui/logout"])
def test_a_get_changes_nothing(path: str) -> None:
    world = World(view())
    assert ask(world, lambda client: client.get(path)).status_code == 405
    assert world.fleet.acts == []


def test_the_fleet_fragment_tells_all_at_once() -> None:
    fragment = ask(
        World(view("planner"), view("echo")), lambda client: client.get("/ui/fleet?view=fleet"), headers=HTMX
    )
    assert 'hx-target="#fleet"' in fragment.text and 'id="agent-echo"' in fragment.text


def test_with_a_token_set_a_stranger_sees_the_form_and_nothing_of_the_fleet() -> None:
    world = World(view("planner"), tokens=(TOKEN,))
    page = ask(world, lambda client: client.get("/"))
    assert page.status_code == 200 and 'action="/ui/login"' in page.text and "planner" not in page.text


@pytest.mark.parametrize("path", ["/ui/fleet", "/ui/stream", "/ui/agents/planner/menu"])
@pytest.mark.parametrize("headers", [HTMX, {}])
def test_with_a_token_set_the_fragments_answer_401_to_a_stranger(path: str, headers: dict[str, str]) -> None:
    answer = ask(World(view(), tokens=(TOKEN,)), lambda client: client.get(path), headers=headers)
    assert answer.status_code == 401 and "Sign in" in answer.text and "data-state" not in answer.text


def test_with_a_token_set_a_stranger_cannot_act() -> None:
    world = World(view(), tokens=(TOKEN,))
    assert ask(world, press("stop"), headers=HTMX).status_code == 401
    assert world.fleet.acts == []


def test_signing_in_gives_a_cookie_that_opens_the_page_and_signing_out_takes_it_away() -> None:
    world = World(view("planner"), tokens=("old", TOKEN))
    signed_in, page, acted, signed_out, after = ask(
        world,
        lambda client: client.post("/ui/login", data={"token": TOKEN}),
        lambda client: client.get("/"),
        press("pause"),
        lambda client: client.post("/ui/logout"),
        lambda client: client.get("/"),
    )
    cookie = signed_in.headers["set-cookie"]
    assert signed_in.status_code == 303 and cookie.startswith(f"{COOKIE_NAME}=")
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Max-Age=43200" in cookie and "Path=/" in cookie
    assert TOKEN not in cookie and "Secure" not in cookie
    assert "planner" in page.text and "Sign out" in page.text
    assert acted.status_code == 303 and signed_out.status_code == 303
    assert "planner" not in after.text


def test_over_https_the_cookie_is_secure() -> None:
    answer = ask(
        World(tokens=(TOKEN,)), lambda client: client.post("https://manager.test/ui/login", data={"token": TOKEN})
    )
    assert "Secure" in answer.headers["set-cookie"]


def test_a_header_that_anybody_can_send_does_not_make_the_cookie_secure() -> None:
    answer = ask(
        World(tokens=(TOKEN,)),
        lambda client: client.post("/ui/login", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"}),
    )
    assert answer.status_code == 303 and "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize("form", [{"token": "wrong"}, {"token": ""}, {}])
def test_a_wrong_token_is_told_and_gives_no_cookie(form: dict[str, str]) -> None:
    answer = ask(World(tokens=(TOKEN,)), lambda client: client.post("/ui/login", data=form))
    assert answer.status_code == 401 and "MANAGER_TOKEN" in answer.text and "set-cookie" not in answer.headers


def test_a_session_that_has_run_out_asks_for_the_token_again() -> None:
    world = World(view(), tokens=(TOKEN,))
    cookies = {COOKIE_NAME: world.session.issue(TOKEN) or ""}
    world.clock.move(hours=13)
    answer = ask(world, press("stop"), headers=HTMX, cookies=cookies)
    assert answer.status_code == 401 and "You are signed out." in answer.text


def test_a_body_that_is_not_a_form_is_refused_like_an_empty_one() -> None:
    answer = ask(
        World(view()), lambda client: client.post("/ui/agents/planner/action", content=b"\xff\xfe\x00"), headers=HTMX
    )
    assert answer.status_code == 400
