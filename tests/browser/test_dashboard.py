from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from manager.errors import StateConflict
from manager.supervision.states import AgentAction, AgentState, Strategy
from tests.browser.conftest import Watch
from tests.browser.site import Site
from tests.browser.waiting import connected, expect
from tests.unit.web.fakes import instance, view
from web.texts import age_text, left_text

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.full

Serve = Callable[..., Site]
Visit = Callable[..., "Page"]
FOCUSED = "document.activeElement.id"


def button_names(page: Page, agent_id: str) -> list[str]:
    return page.locator(f"#act-{agent_id} > button").all_inner_texts()


def menu_of(page: Page, agent_id: str) -> Locator:
    """Open the menu of an agent's row."""
    page.get_by_role("link", name=f"More for {agent_id}", exact=True).click()
    menu = page.locator("#menu")
    expect(menu).to_be_visible()
    return menu


def test_changes_arrive_without_a_reload(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"), view("echo"))
    page = connected(visit(site))
    page.evaluate("window.sameDocument = true")
    site.change("planner", state=AgentState.FAILED, state_reason="Install stripe, then start it again.")
    expect(page.locator("#summary")).to_have_text(re.compile("2 agents: 1 failed, 1 running"))
    expect(page.locator("#agent-planner .note")).to_have_text("Install stripe, then start it again.")
    expect(page.locator("#events .event").first).to_contain_text("planner changed")
    expect(page).to_have_title("(1!) agent-manager")
    site.run(lambda: site.world.fleet.put(view("late")))
    site.change("late", in_flight=3)
    expect(page.locator("#agent-late")).to_be_visible()
    assert page.evaluate("window.sameDocument")


@pytest.mark.parametrize("state", [*AgentState])
def test_only_the_buttons_that_the_state_allows_are_there(serve: Serve, visit: Visit, state: AgentState) -> None:
    site = serve(view("planner", state))
    allowed = [action.value.capitalize() for action in site.world.fleet.agent("planner").actions]
    page = visit(site)
    assert button_names(page, "planner") == [word for word in allowed if word != "Kill"]
    menu = menu_of(page, "planner")
    assert menu.locator("summary", has_text="Kill…").count() == ("Kill" in allowed)


def test_a_button_is_disabled_from_the_click_to_the_answer_whatever_arrives_meanwhile(
    serve: Serve, visit: Visit
) -> None:
    site = serve(view("planner"))
    hold = site.run(asyncio.Event)
    site.world.fleet.hold = hold
    page = connected(visit(site))
    pause = page.get_by_role("button", name="Pause planner")
    pause.click()
    expect(pause).to_be_disabled()
    expect(page.get_by_role("button", name="Stop planner")).to_be_disabled()
    site.change("planner", in_flight=5)
    expect(page.locator("#agent-planner .c-work")).to_have_text("5")
    assert pause.is_disabled()
    site.run(hold.set)
    resume = page.get_by_role("button", name="Resume planner")
    expect(resume).to_be_enabled()
    expect(page.locator("#outcome-planner")).to_have_text("Pause accepted. The agent is paused.")
    assert site.world.fleet.acts == [("planner", AgentAction.PAUSE, "dashboard", None)]


def test_the_keyboard_keeps_its_place_after_a_click(serve: Serve, visit: Visit) -> None:
    site = serve(view("echo"), view("planner"))
    page = connected(visit(site))
    page.get_by_role("button", name="Pause planner").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Resume planner")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause planner")).to_be_focused()
    assert [act[1] for act in site.world.fleet.acts] == [AgentAction.PAUSE, AgentAction.RESUME]


def test_a_refusal_is_shown_in_the_row_where_the_click_was_and_stays_until_the_next_click(
    serve: Serve, visit: Visit, watch: Watch
) -> None:
    watch.allow("409")
    site = serve(view("echo"), view("planner"))
    site.world.fleet.refusal = StateConflict("planner is draining; wait until it has ended.")
    page = connected(visit(site))
    page.get_by_role("button", name="Restart planner").click()
    told = page.locator("#outcome-planner")
    expect(told).to_have_text("Restart refused. planner is draining; wait until it has ended.")
    assert page.locator("#outcome-echo").inner_text() == ""
    for number in range(1, 4):
        site.change("planner", restarts=number)
        expect(page.locator("#agent-planner .c-restarts")).to_contain_text(str(number))
    expect(told).to_contain_text("planner is draining")
    site.world.fleet.refusal = None
    page.get_by_role("button", name="Restart planner").click()
    expect(told).to_contain_text("Restart accepted")


def test_a_manager_that_cannot_be_reached_is_told_in_the_row(serve: Serve, visit: Visit, watch: Watch) -> None:
    watch.allow("Failed to (load resource|fetch)|ERR_FAILED")
    page = connected(visit(serve(view("planner"))))
    page.route("**/ui/agents/planner/action", lambda route: route.abort())
    page.get_by_role("button", name="Stop planner").click()
    expect(page.locator("#outcome-planner")).to_contain_text("No answer. The manager could not be reached")
    expect(page.get_by_role("button", name="Stop planner")).to_be_enabled()


def test_typed_text_focus_selection_and_what_is_open_survive_fifty_updates(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"), view("echo", instances=[instance(1), instance(2)], instances_wanted=2))
    page = connected(visit(site))
    page.locator("#instances-echo summary").click()
    page.locator("#pick-echo").check()
    menu = menu_of(page, "planner")
    box = menu.get_by_label("Reason, for the history (optional)")
    box.fill("half typed")
    box.evaluate("box => box.setSelectionRange(0, 4)")
    for number in range(1, 51):
        if number % 10 == 0:
            site.run(lambda number=number: site.world.fleet.put(view(f"new-{number}")))
        site.change("planner", restarts=number, in_flight=number)
        expect(page.locator("#agent-planner .c-restarts")).to_have_text(str(number))
    expect(page.locator("#agent-new-50")).to_be_attached()
    expect(menu).to_be_visible()
    assert box.input_value() == "half typed"
    assert page.evaluate(FOCUSED) == "reason-planner"
    assert box.evaluate("box => [box.selectionStart, box.selectionEnd]") == [0, 4]
    assert page.locator("#instances-echo ul").is_visible() and page.locator("#pick-echo").is_checked()
    page.keyboard.type("well")
    assert box.input_value() == "well typed"


def test_selected_text_of_a_row_stays_selected(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner", name="PlannerAgent"))
    page = connected(visit(site))
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#agent-planner .name'))")
    site.change("planner", restarts=1)
    expect(page.locator("#agent-planner .c-restarts")).to_contain_text("1")
    assert page.evaluate("String(getSelection())") == "PlannerAgent"


def test_kill_asks_first_and_the_question_survives_updates(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner", in_flight=2))
    page = connected(visit(site))
    menu = menu_of(page, "planner")
    menu.get_by_text("Kill…").click()
    expect(menu).to_contain_text("2 unfinished tasks will be lost")
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    assert site.world.fleet.acts == []
    menu_of(page, "planner")
    menu.get_by_label("Reason, for the history (optional)").fill("it loops")
    menu.get_by_text("Kill…").click()
    site.change("planner", in_flight=3)
    expect(menu).to_contain_text("3 unfinished tasks")
    menu.get_by_role("button", name="Kill now").click()
    expect(page.locator("#outcome-planner")).to_contain_text("Kill accepted")
    expect(menu).to_be_hidden()
    assert site.world.fleet.acts == [("planner", AgentAction.KILL, "dashboard", "it loops")]


def test_enter_in_the_reason_presses_no_button(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    page = connected(visit(site))
    menu = menu_of(page, "planner")
    box = menu.get_by_label("Reason, for the history (optional)")
    box.fill("not yet")
    box.press("Enter")
    menu.get_by_role("button", name="Pause").click()
    expect(page.locator("#outcome-planner")).to_contain_text("Pause accepted")
    assert site.world.fleet.acts == [("planner", AgentAction.PAUSE, "dashboard", "not yet")]


def test_an_agent_is_scaled_and_recreated_from_its_menu(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    page = connected(visit(site))
    menu = menu_of(page, "planner")
    menu.get_by_label("Instances").fill("3")
    menu.get_by_role("button", name="Scale").click()
    expect(page.locator("#outcome-planner")).to_have_text("Scale accepted. 3 instances wanted.")
    menu_of(page, "planner").get_by_role("button", name="Restart, old one first").click()
    expect(page.locator("#outcome-planner")).to_contain_text("Restart accepted")
    assert site.world.fleet.strategies == [Strategy.RECREATE]


def test_an_opened_list_of_instances_stays_open_and_current(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner", instances=[instance(1), instance(2, ready=False)], instances_wanted=2))
    page = connected(visit(site))
    listed = page.locator("#instances-planner")
    ready = page.locator("#agent-planner .c-reach > span")
    expect(ready).to_have_text("1/2 ready")
    listed.locator("summary").press("Enter")
    expect(listed.locator("li").nth(1)).to_contain_text("not ready")
    for tasks in range(1, 4):
        site.change("planner", instances=[instance(1), instance(2, in_flight=tasks)])
        expect(listed.locator("li").nth(1)).to_contain_text(f"{tasks} task")
    expect(listed.locator("summary")).to_have_text("2 instances: 2 ready")
    expect(listed.locator("summary")).to_be_focused()
    expect(ready).to_have_text("2/2 ready")
    listed.locator("summary").press("Enter")
    site.change("planner", instances=[instance(1), instance(2, ready=False)])
    expect(listed.locator("summary")).to_have_text("2 instances: 1 ready, 1 not ready")
    expect(listed.locator("ul")).to_be_hidden()
    site.change("planner", instances=[instance(1)], instances_wanted=1)
    expect(listed).to_have_count(0)
    expect(page.locator("#agent-planner .c-reach")).to_contain_text(re.compile("^ready"))


def test_a_drain_counts_down_by_itself(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    page = connected(visit(site))
    site.change(
        "planner", state=AgentState.STOPPING, in_flight=3, drain_deadline=datetime.now(UTC) + timedelta(seconds=50)
    )
    drain = page.locator("#agent-planner .drain")
    expect(drain).to_have_text(re.compile(r"^draining: 3 left, (50|49) s$"))
    expect(drain).to_have_text(re.compile(r"^draining: 3 left, 4[5-7] s$"))
    site.change("planner", in_flight=1)
    expect(drain).to_have_text(re.compile(r"^draining: 1 left, [34]\d s$"))


def test_the_browser_writes_ages_and_countdowns_as_the_server_does(serve: Serve, visit: Visit) -> None:
    page = visit(serve(view("planner")))
    seconds = [-3, 0, 0.4, 1, 26.1, 59, 59.9, 60, 61, 90, 599, 3599, 3599.5, 3600, 7500, 86_399, 86_400, 349_200, 1e7]
    written = page.evaluate(
        """async (seconds) => {
            const { ageText, leftText } = await import("/static/ticking.js");
            return seconds.map((each) => [ageText(each), leftText(each)]);
        }""",
        seconds,
    )
    assert written == [[age_text(each), left_text(each)] for each in seconds]


def test_a_browser_whose_clock_is_wrong_still_shows_right_ages(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner", last_heartbeat_at=datetime.now(UTC) - timedelta(minutes=5, seconds=20)))
    page = visit(site, go=False)
    page.clock.install(time=datetime.now(UTC) + timedelta(hours=7))
    page.goto(site.url)
    page.clock.run_for(2_000)
    expect(page.locator("#agent-planner .c-reach time")).to_have_text("5 min ago")


def test_a_lost_connection_is_told_and_caught_up_when_the_manager_is_back(
    serve: Serve, visit: Visit, watch: Watch
) -> None:
    watch.allow("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|Failed to fetch|network error|ERR_CONNECTION_RESET")
    first = serve(view("planner"))
    page = connected(visit(first))
    page.get_by_label("Filter agents").fill("pl")
    banner = page.get_by_role("alert").filter(has_text="Connection lost")
    expect(banner).to_be_hidden()
    first.stop()
    expect(banner).to_be_visible()
    expect(banner).to_have_text(re.compile(r"What you see is from \d\d:\d\d:\d\d\.$"))
    page.get_by_role("button", name="Stop planner").click()
    expect(page.locator("#outcome-planner")).to_contain_text("No answer.")
    page.get_by_label("Filter agents").focus()
    serve(view("planner", AgentState.PAUSED), view("extra"), port=first.port)
    expect(banner).to_be_hidden()
    expect(page.locator("#outcome-planner")).to_be_empty()
    expect(page.locator("#summary")).to_contain_text("2 agents: 1 running, 1 paused")
    expect(page.locator("#agent-extra")).to_be_hidden()
    assert page.get_by_label("Filter agents").input_value() == "pl"
    assert page.evaluate(FOCUSED) == "filter"


def test_a_stream_that_could_not_be_had_at_first_is_asked_for_again(serve: Serve, visit: Visit, watch: Watch) -> None:
    watch.allow("Failed to (load resource|fetch)|ERR_FAILED")
    site = serve(view("planner"))
    page = visit(site, go=False)
    refused: list[str] = []

    def refuse_twice(route: object) -> None:
        refused.append(route.request.url)
        route.abort() if len(refused) <= 2 else route.continue_()

    page.route("**/ui/stream*", refuse_twice)
    page.goto(site.url)
    expect(page.locator("#connection")).to_be_visible()
    expect(page.locator("#connection")).to_be_hidden()
    connected(page)
    site.change("planner", state=AgentState.PAUSED)
    expect(page.locator("#summary")).to_contain_text("1 paused")


def test_a_stream_that_has_gone_silent_is_replaced(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    page = visit(site, go=False)
    page.clock.install()
    page.goto(site.url)
    connected(page)
    with page.expect_request("**/ui/fleet?*"), page.expect_request("**/ui/stream*"):
        page.clock.fast_forward(60_000)
    connected(page)
    expect(page.locator("#connection")).to_be_hidden()


def test_with_a_token_set_one_signs_in_once_and_is_asked_again_when_the_session_ends(
    serve: Serve, visit: Visit, watch: Watch
) -> None:
    watch.allow("401|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|Failed to fetch|network error|ERR_CONNECTION_RESET")
    first = serve(view("planner"), tokens=("correct horse",))
    page = visit(first)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not the manager's token")
    page.get_by_label("Token").fill("correct horse")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#agent-planner")).to_be_visible()
    connected(page).reload()
    expect(page.locator("#agent-planner")).to_be_visible()
    connected(page)
    first.stop()
    serve(view("planner"), tokens=("another",), port=first.port)
    expect(page.get_by_label("Token")).to_be_visible()
    expect(page.locator("#agent-planner")).to_have_count(0)


def test_without_javascript_the_fleet_is_shown_and_can_be_acted_on(serve: Serve, visit: Visit, watch: Watch) -> None:
    watch.allow("409")
    site = serve(view("echo"), view("planner", AgentState.FAILED, state_reason="Install stripe."))
    page = visit(site, java_script_enabled=False)
    expect(page.locator("#summary")).to_contain_text("2 agents: 1 failed, 1 running")
    expect(page.locator("#agent-planner")).to_contain_text("Install stripe.")
    page.get_by_role("button", name="Pause echo").click()
    expect(page.locator("#agent-echo")).to_contain_text("paused")
    assert page.url == f"{site.url}/#agent-echo"
    page.get_by_role("button", name="Stop echo").click()
    expect(page.locator("#agent-echo")).to_contain_text("stopping")
    site.world.fleet.refusal = StateConflict("Install stripe first.")
    page.get_by_role("button", name="Start planner", exact=True).click()
    expect(page.locator("#outcome-planner")).to_have_text("Start refused. Install stripe first.")
    page.locator("#pick-planner").check()
    page.locator("#bulk").get_by_role("button", name="Restart").click()
    expect(page.locator("#outcome-fleet")).to_contain_text("refused by 1. Install stripe first.")


def test_without_javascript_the_rows_are_sorted_and_filtered_by_the_server(serve: Serve, visit: Visit) -> None:
    site = serve(view("b", restarts=1), view("a", AgentState.FAILED, restarts=3), view("c", restarts=2))
    page = visit(site, java_script_enabled=False)
    names = page.locator("#fleet > .agent:visible .name")
    header = page.get_by_role("columnheader", name="Restarts")
    header.get_by_role("button").click()
    expect(names).to_have_text(["a", "c", "b"])
    expect(header).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="running 2").click()
    expect(names).to_have_text(["c", "b"])
    expect(page.locator("#shown")).to_have_text("2 of 3 shown")
    expect(page.locator("#chip-running")).to_have_attribute("aria-pressed", "true")
    header.get_by_role("button").click()
    expect(names).to_have_text(["b", "c"])
    page.get_by_label("Filter agents").fill("c")
    page.get_by_label("Filter agents").press("Enter")
    expect(names).to_have_text(["c"])
    page.get_by_label("Filter agents").fill("nobody")
    page.get_by_label("Filter agents").press("Enter")
    page.get_by_role("link", name="Show all").click()
    expect(names).to_have_text(["b", "a", "c"])


def test_an_address_from_a_browser_without_javascript_means_the_same_with_it(serve: Serve, visit: Visit) -> None:
    site = serve(view("b", restarts=1), view("a", AgentState.FAILED, restarts=3), view("c", restarts=2))
    page = visit(site, go=False)
    page.goto(f"{site.url}/?down=3&state=running&q=")
    connected(page)
    names = page.locator("#fleet > .agent:visible .name")
    expect(names).to_have_text(["c", "b"])
    page.get_by_role("button", name="running 2").click()
    expect(names).to_have_text(["a", "c", "b"])
    for expected in (["b", "c", "a"], ["b", "a", "c"]):
        page.get_by_role("columnheader", name="Restarts").get_by_role("button").click()
        expect(names).to_have_text(expected)
    assert page.url == f"{site.url}/"


@pytest.mark.parametrize("width", [360, 800, 1280, 1440, 1700, 2560, 3840])
def test_the_page_never_scrolls_sideways(serve: Serve, visit: Visit, width: int) -> None:
    long = "The entry point agents.billing:graph cannot be imported: " + "no" * 200
    site = serve(
        view("planner", in_flight=120, queued=1024, cpu_percent=187, rss_bytes=3 * 1024**3, pid=4194304),
        view("x" * 63, AgentState.FAILED, name="N" * 80, state_reason=long),
        view(
            "echo",
            AgentState.UNRESPONSIVE,
            instances=[instance(1, cpu_percent=187, rss_bytes=3 * 1024**3), instance(2, service_url="http://" + long)],
        ),
    )
    page = visit(site, viewport={"width": width, "height": 900})
    page.locator("#instances-echo summary").click()
    page.locator("#pick-echo").check()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    cut = page.evaluate(
        """[...document.querySelectorAll(".button, .agent > div")].filter((one) => one.checkVisibility()
            && one.getBoundingClientRect().right > innerWidth).length"""
    )
    assert cut == 0


def test_an_empty_fleet_helps_and_fills_when_an_agent_comes(serve: Serve, visit: Visit) -> None:
    site = serve()
    page = connected(visit(site))
    expect(page.locator("#fleet")).to_contain_text("No agents yet")
    site.run(lambda: site.world.fleet.put(view("planner")))
    site.change("planner", in_flight=1)
    expect(page.locator("#agent-planner")).to_be_visible()
    expect(page.locator("#fleet-empty")).to_have_count(0)


def test_buttons_of_an_agent_that_came_later_work(serve: Serve, visit: Visit) -> None:
    site = serve(view("echo"))
    page = connected(visit(site))
    site.run(lambda: site.world.fleet.put(view("late")))
    site.change("late", in_flight=1)
    page.get_by_role("button", name="Pause late").click()
    expect(page.locator("#outcome-late")).to_contain_text("Pause accepted")
