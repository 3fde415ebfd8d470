"""The fleet page under the hand: sorting, filtering, selecting, walking by keyboard, two hundred agents."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from manager.clock import SystemClock
from manager.errors import StateConflict
from manager.supervision.states import AgentAction, AgentState
from manager.supervision.views import LastExit
from manager.telemetry.traffic import Recent
from tests.browser.axe import axe
from tests.browser.conftest import Watch
from tests.browser.site import Site
from tests.browser.waiting import connected, expect
from tests.unit.web.fakes import instance, view

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.full

Serve = Callable[..., Site]
Visit = Callable[..., "Page"]
FOCUSED = "document.activeElement.id"
# What each test of looks shows: every state, a sidecar, an agent from elsewhere, instances, charts.
STATES = [view(f"a-{state}", state, state_reason=f"Why it is {state}.") for state in AgentState]
VARIED = [
    *STATES,
    view("llm", sidecar=True, name="LocalModel"),
    view("outside", managed=False, pid=None),
    view("several", instances=[instance(1), instance(2, ready=False)], instances_wanted=2),
    view("busy", in_flight=3, queued=2, cpu_percent=12.5, rss_bytes=64 << 20),
]


def varied(serve: Serve) -> Site:
    site = serve(*VARIED)

    def fill() -> None:
        series = site.world.series
        series.points["busy"] = {
            name: [float(n % 7) for n in range(30)]
            for name in ("requests_per_second", "error_ratio", "cpu_percent", "rss_bytes")
        }
        series.requests["busy"] = Recent(100, 2.0, 30, 0.3, 12.0, 80.0)
        series.version += 1

    site.run(fill)
    return site


def order(page: Page) -> list[str]:
    ids: list[str] = page.locator("#fleet > .agent:not([hidden])").evaluate_all("rows => rows.map(row => row.id)")
    return [each.removeprefix("agent-") for each in ids]


def test_a_column_sorts_with_the_highest_first_then_the_lowest_then_not_at_all(serve: Serve, visit: Visit) -> None:
    site = serve(view("b", cpu_percent=5.0), view("none"), view("a", cpu_percent=90.0), view("c", cpu_percent=1.0))
    page = connected(visit(site))
    header = page.get_by_role("columnheader", name="CPU")
    header.get_by_role("button").click()
    assert order(page) == ["a", "b", "c", "none"]
    expect(header).to_have_attribute("aria-sort", "descending")
    page.reload()
    assert order(connected(page)) == ["a", "b", "c", "none"]
    header.get_by_role("button").click()
    assert order(page) == ["c", "b", "a", "none"]
    header.get_by_role("button").click()
    assert order(page) == ["b", "none", "a", "c"]
    page.get_by_role("columnheader", name="Agent").get_by_role("button").click()
    assert order(page) == ["a", "b", "c", "none"]


def test_rows_stay_sorted_as_figures_change_but_never_under_the_hand(serve: Serve, visit: Visit) -> None:
    site = serve(view("a", restarts=3), view("b", restarts=2), view("c", restarts=1))
    page = connected(visit(site))
    page.get_by_role("columnheader", name="Restarts").get_by_role("button").click()
    page.locator("#agent-c").hover()
    site.change("c", restarts=9)
    expect(page.locator("#agent-c .c-restarts")).to_have_text("9")
    # Longer than rows wait for the hand to go away.
    page.wait_for_timeout(2_500)
    assert order(page) == ["a", "b", "c"]
    page.mouse.move(0, 0)
    expect(page.locator("#fleet > .agent .name")).to_have_text(["c", "a", "b"])
    site.run(lambda: site.world.fleet.put(view("d", restarts=5)))
    site.change("a", restarts=4)
    expect(page.locator("#fleet > .agent .name")).to_have_text(["c", "d", "a", "b"])


def test_the_filter_finds_words_in_names_states_and_reasons_and_outlives_updates(serve: Serve, visit: Visit) -> None:
    site = serve(
        view("planner", name="PlannerAgent"), view("echo", AgentState.FAILED, state_reason="No module STRIPE.")
    )
    page = connected(visit(site))
    box = page.get_by_label("Filter agents")
    box.fill("stripe fail")
    assert order(page) == ["echo"]
    expect(page.locator("#shown")).to_have_text("1 of 2 shown")
    site.change("echo", restarts=1)
    expect(page.locator("#agent-echo .c-restarts")).to_have_text("1")
    assert order(page) == ["echo"] and box.input_value() == "stripe fail"
    page.reload()
    assert order(connected(page)) == ["echo"]
    box.fill("nobody")
    expect(page.locator("#nothing")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    assert order(page) == ["planner", "echo"]


def test_a_state_is_picked_out_by_its_chip_which_stays_when_the_last_of_them_leaves(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"), view("echo", AgentState.FAILED))
    page = connected(visit(site))
    chip = page.get_by_role("button", name="failed 1")
    chip.click()
    assert order(page) == ["echo"]
    site.change("echo", state=AgentState.RUNNING)
    none = page.get_by_role("button", name="failed 0")
    expect(none).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#nothing")).to_be_visible()
    none.click()
    assert order(page) == ["planner", "echo"]


def test_a_selection_is_told_together_and_shows_only_what_one_of_them_allows(
    serve: Serve, visit: Visit, watch: Watch
) -> None:
    watch.allow("409")
    site = serve(view("a"), view("b"), view("c", AgentState.STOPPED))
    page = connected(visit(site))
    bar = page.get_by_role("form", name="Selected agents")
    expect(bar).to_be_hidden()
    page.get_by_label("Select a", exact=True).check()
    page.get_by_label("Select b", exact=True).check()
    expect(bar).to_contain_text("2 selected")
    assert bar.get_by_role("button").all_inner_texts() == ["Pause", "Stop", "Restart", "Clear"]
    bar.get_by_label("Reason, for the history (optional)").fill("lunch")
    bar.get_by_role("button", name="Pause").click()
    expect(page.locator("#outcome-fleet")).to_have_text("Pause accepted by 2 agents.")
    expect(page.locator("#agent-b .c-state")).to_contain_text("paused")
    assert sorted(site.world.fleet.acts) == [
        ("a", AgentAction.PAUSE, "dashboard", "lunch"),
        ("b", AgentAction.PAUSE, "dashboard", "lunch"),
    ]
    page.get_by_label("Select every agent that is shown").check()
    expect(bar).to_contain_text("3 selected")
    bar.get_by_text("Kill…").click()
    bar.get_by_role("button", name="Kill now").click()
    expect(page.locator("#outcome-fleet")).to_contain_text("Kill accepted by 2 agents, refused by 1.")
    expect(page.locator("#outcome-fleet")).to_contain_text("c is stopped")
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()


def test_all_are_paused_and_resumed_with_one_click(serve: Serve, visit: Visit) -> None:
    site = serve(view("a"), view("b"), view("c", AgentState.STOPPED))
    page = connected(visit(site))
    page.get_by_role("button", name="Pause all").click()
    expect(page.locator("#outcome-fleet")).to_have_text("Pause accepted by 2 agents.")
    expect(page.locator("#agent-a .c-state")).to_contain_text("paused")
    page.get_by_role("button", name="Resume all").click()
    expect(page.locator("#outcome-fleet")).to_have_text("Resume accepted by 2 agents.")
    expect(page.locator("#agent-b .c-state")).to_contain_text("running")


def test_everything_can_be_done_by_keyboard(serve: Serve, visit: Visit) -> None:
    site = serve(view("echo"), view("planner"), view("worker"))
    page = connected(visit(site))
    page.keyboard.press("/")
    assert page.evaluate(FOCUSED) == "filter"
    page.keyboard.type("e")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == "agent-echo"
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED) == "agent-planner"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(page.get_by_role("form", name="Selected agents")).to_contain_text("1 selected")
    page.keyboard.press(".")
    menu = page.locator("#menu")
    expect(menu).to_be_visible()
    expect(menu.get_by_label("Reason, for the history (optional)")).to_be_focused()
    page.keyboard.type("maintenance")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#outcome-planner")).to_contain_text("Pause accepted")
    assert site.world.fleet.acts == [("planner", AgentAction.PAUSE, "dashboard", "maintenance")]
    expect(page.locator("#more-planner")).to_be_focused()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("Tab")
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/events")
    connected(page).keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url(f"{site.url}/")


def test_single_keys_can_be_switched_off_for_good(serve: Serve, visit: Visit) -> None:
    page = connected(visit(serve(view("echo"))))
    page.keyboard.press("?")
    page.get_by_label("Single keys act at once").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    connected(page).keyboard.press("/")
    assert page.evaluate(FOCUSED) == ""
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.get_by_label("Single keys act at once")).not_to_be_checked()


def test_the_menu_gives_the_keyboard_back_where_it_was_opened(serve: Serve, visit: Visit) -> None:
    page = connected(visit(serve(view("echo"), view("planner"))))
    opener = page.get_by_role("link", name="More for planner")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#menu")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#menu")).to_be_hidden()
    expect(opener).to_be_focused()


@pytest.mark.parametrize("height", [450, 600])
def test_a_menu_that_grows_stays_within_reach(serve: Serve, visit: Visit, height: int) -> None:
    page = connected(visit(serve(*(view(f"a-{n}") for n in range(9))), viewport={"width": 1440, "height": height}))
    opener = page.get_by_role("link", name="More for a-8")
    # At the lower edge of the window, as far as rows go.
    opener.evaluate("opener => opener.scrollIntoView({block: 'end'})")
    opener.click()
    page.locator("#menu summary").click()
    kill = page.locator("#menu").get_by_role("button", name="Kill now")
    kill.scroll_into_view_if_needed()
    expect(kill).to_be_in_viewport(ratio=1)


def test_a_refusal_of_the_menu_is_told_in_the_row(serve: Serve, visit: Visit, watch: Watch) -> None:
    watch.allow("409")
    site = serve(view("planner"))
    site.world.fleet.refusal = StateConflict("planner has a port of its own; take `port` out of its config.")
    page = connected(visit(site))
    page.get_by_role("link", name="More for planner").click()
    page.get_by_label("Instances").fill("2")
    page.get_by_role("button", name="Scale").click()
    told = page.locator("#outcome-planner")
    expect(told).to_have_text("Scale refused. planner has a port of its own; take `port` out of its config.")
    site.change("planner", restarts=7)
    expect(page.locator("#agent-planner .c-restarts")).to_have_text("7")
    expect(told).to_contain_text("Scale refused")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 900, 1440])
def test_nothing_keeps_people_with_a_disability_out(serve: Serve, visit: Visit, scheme: str, width: int) -> None:
    site = varied(serve)
    page = connected(visit(site, color_scheme=scheme, viewport={"width": width, "height": 900}))
    axe(page)
    page.locator("#pick-a-running").check()
    page.locator("#instances-several summary").click()
    page.get_by_role("link", name="More for busy").click()
    expect(page.locator("#menu")).to_be_visible()
    page.locator("#menu summary").click()
    axe(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    axe(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out_of_an_empty_fleet_or_the_sign_in(serve: Serve, visit: Visit, scheme: str) -> None:
    axe(connected(visit(serve(), color_scheme=scheme)))
    axe(visit(serve(tokens=("secret",)), color_scheme=scheme))


def test_the_theme_that_was_chosen_is_kept(serve: Serve, visit: Visit) -> None:
    page = connected(visit(serve(view()), color_scheme="light"))
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    button = page.get_by_role("button", name=re.compile("^Theme"))
    button.click()
    expect(button).to_have_attribute("aria-label", "Theme: light")
    assert page.evaluate(background) == light
    button.click()
    expect(button).to_have_attribute("aria-label", "Theme: dark")
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark
    axe(connected(page))


def test_a_hidden_tab_lets_its_stream_go_and_catches_up_when_it_is_shown(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    page = connected(visit(site))
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    while site.run(lambda: site.world.live.tabs):
        page.wait_for_timeout(50)
    asked = site.world.fleet.asked
    for number in range(5):
        site.change("planner", restarts=number)
    page.wait_for_timeout(1_000)
    assert site.world.fleet.asked == asked
    page.evaluate(hide, False)
    expect(page.locator("#agent-planner .c-restarts")).to_have_text("4")
    expect(page.locator("#connection")).to_be_hidden()


def test_two_hundred_agents_stay_smooth(serve: Serve, visit: Visit) -> None:
    site = serve(*(view(f"agent-{number:03}", cpu_percent=1.0, rss_bytes=64 << 20) for number in range(200)))
    page = connected(visit(site, viewport={"width": 1440, "height": 900}))
    devtools = page.context.new_cdp_session(page)
    # The CPU time of the page's thread: how long others keep it waiting is not the page's doing.
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy_seconds() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")

    before = busy_seconds()
    for number in range(1, 11):

        def beat(number: int = number) -> None:
            for each in range(number % 5, 200, 5):
                site.world.fleet.change(f"agent-{each:03}", in_flight=number)
            site.world.happen("beat", None)

        site.run(beat)
        expect(page.locator(f"#agent-agent-{195 + number % 5:03} .c-work")).to_have_text(str(number))
        page.mouse.wheel(0, 400)
    each_update = (busy_seconds() - before) / 10
    assert each_update < 0.2, f"An update of 40 rows takes {each_update * 1000:.0f} ms of the page's thread."
    page.get_by_label("Filter agents").fill("agent-19")
    assert len(order(page)) == 10


@pytest.mark.parametrize("width", [1280, 1400, 1700])
def test_the_last_exit_and_its_age_are_read_whole(serve: Serve, visit: Visit, width: int) -> None:
    fell = LastExit(code=78, signal=None, reason="It fell.", at=SystemClock().now() - timedelta(hours=23, minutes=59))
    page = visit(serve(view(restarts=1, last_exit=fell)), viewport={"width": width, "height": 900})
    told = page.locator("#agent-planner .c-restarts small")
    expect(told).to_contain_text("exit 78")
    assert told.evaluate("(small) => small.scrollWidth - small.clientWidth") <= 0


def test_between_phone_and_desk_the_sorting_says_what_it_is(serve: Serve, visit: Visit) -> None:
    page = visit(serve(view()), viewport={"width": 1024, "height": 900})
    assert "Sort by" in page.locator(".columns").evaluate("(strip) => getComputedStyle(strip, '::before').content")


def test_a_long_summary_leaves_every_place_of_the_navigation_in_sight(serve: Serve, visit: Visit) -> None:
    site = serve(*STATES)
    page = visit(site, go=False, viewport={"width": 1024, "height": 900})
    page.goto(f"{site.url}/events")
    expect(page.locator("#summary")).to_contain_text("9 agents: 1 failed")
    assert page.locator(".places").evaluate("(places) => places.scrollWidth - places.clientWidth") <= 0
