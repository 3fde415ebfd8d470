"""The pages about the past, the config, the figures and the manager itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from manager.errors import ConfigError, ConfigIssue
from manager.events import EventKind
from manager.settings import RuntimeSettings
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig
from manager.telemetry.traffic import Recent
from tests.browser.axe import axe
from tests.browser.conftest import Watch
from tests.browser.site import Site
from tests.browser.waiting import connected, expect
from tests.unit.web.fakes import view
from tests.unit.web.sources import CONFIG, delivery, self_report, webhook

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.full

Serve = Callable[..., Site]
Visit = Callable[..., "Page"]
Opened = Callable[..., tuple[Site, "Page"]]
# How many elements of the page's own part can have the focus.
FOCUSABLE = """() => {
  window.reached = new Set();
  const all = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  return [...document.querySelectorAll(`main :is(${all})`)]
    .filter((each) => each.checkVisibility() && !each.disabled && each.type !== "hidden").length;
}"""
# Remember what has the focus, and what has it without being seen to.
NOTE_FOCUS = """() => {
  const focused = document.activeElement;
  if (!focused.closest("main") || focused.id === "main") return;
  window.reached.add(focused);
  const outlined = [focused, focused.parentElement].some((each) => getComputedStyle(each).outlineStyle !== "none");
  if (!outlined) window.unseen = focused.outerHTML.slice(0, 120);
}"""
PATHS = ["/events", "/config", "/metrics-overview", "/about"]


def config(*agents: dict[str, Any]) -> FleetConfig:
    found = tuple(AgentConfig.model_validate(agent) for agent in agents)
    return FleetConfig(RuntimeSettings(), found, CONFIG, CONFIG.parent)


@pytest.fixture
def opened(serve: Serve, visit: Visit) -> Opened:
    """A page of a fleet with a past, a changed config, figures and a worry."""

    def go(path: str, **options: object) -> tuple[Site, Page]:
        site = serve(view("planner", cpu_percent=3.5, rss_bytes=60 * 1024**2), view("echo"))
        world = site.world
        world.reloader.running = config({"id": "planner", "env": {"API_KEY": "s3cret"}}, {"id": "echo"})
        world.reloader.found = config({"id": "planner", "port": 8100, "description": "Plans."}, {"id": "late"})
        world.series.requests = {"planner": Recent(60, 1.5, 3, 0.05, 12.0, 80.0)}
        world.series.points[""] = {"loop_lag_ms": [1.0, 2.0, 4.0], "open_streams": [1.0, 1.0, 2.0]}
        world.webhooks.known = [webhook("oncall", last_delivery=delivery()), webhook("audit", pending=2)]
        world.report = self_report(loop_lag_ms=900.0)
        for number in range(120):
            site.run(lambda number=number: world.happen(f"fact {number}.", "planner" if number % 2 else "echo"))
        page = visit(site, go=False, **options)
        page.goto(site.url + path)
        return site, page

    return go


def test_the_history_grows_by_itself_and_keeps_what_was_opened(opened: Opened) -> None:
    site, page = opened("/events")
    connected(page)
    first = page.locator(".happened").first
    first.locator("summary").click()
    expect(first.locator(".settings")).to_be_visible()
    opened_id = first.get_attribute("id")
    site.change("planner", restarts=1)
    expect(page.locator(".happened").first).to_contain_text("planner changed")
    expect(page.locator(f"#{opened_id} .settings")).to_be_visible()


def test_filters_and_pages_of_the_history(opened: Opened) -> None:
    _, page = opened("/events")
    expect(page.locator(".happened")).to_have_count(100)
    page.get_by_role("link", name="Older").click()
    expect(page.locator(".happened")).to_have_count(20)
    page.get_by_label("Agent").fill("echo")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".happened")).to_have_count(60)
    page.get_by_label("Kind").select_option("manager_started")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#history")).to_contain_text("Nothing has happened yet that fits.")
    page.get_by_role("link", name="Clear").click()
    expect(page.locator(".happened")).to_have_count(100)


def test_who_asked_and_why_is_found_again(opened: Opened) -> None:
    site, page = opened("/events")
    site.run(
        lambda: site.world.bus.publish(
            EventKind.DESIRED_CHANGED, "anna asked echo to stop", agent_id="echo", actor="anna", reason="it loops"
        )
    )
    page.get_by_label("Who").fill("anna")
    page.get_by_label("Who").press("Enter")
    expect(page.locator(".happened")).to_have_count(1)
    expect(page.locator(".happened")).to_contain_text("it loops")


def test_the_plan_is_shown_and_then_taken(opened: Opened) -> None:
    site, page = opened("/config")
    plan = page.locator(".plan")
    expect(plan).to_contain_text("echo is removed")
    expect(plan).to_contain_text("late is added")
    expect(plan.locator("tr", has_text="port")).to_contain_text("8100")
    assert site.world.reloader.applied == [] and "s3cret" not in page.content()
    page.get_by_role("button", name="Reload").click()
    expect(page.locator(".told")).to_contain_text("Reloaded.")
    expect(page.locator(".plan")).to_contain_text("The file says what runs")
    assert site.world.reloader.applied == ["dashboard"]


def test_a_plan_that_is_out_of_date_is_not_taken_and_the_new_one_is_shown(opened: Opened, watch: Watch) -> None:
    watch.allow("409")
    site, page = opened("/config")
    site.world.reloader.found = config({"id": "planner"}, {"id": "echo"}, {"id": "other"})
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("alert").filter(has_text="Not reloaded")).to_contain_text("has changed since you saw")
    expect(page.locator(".plan")).to_contain_text("other is added")
    assert site.world.reloader.applied == []


def test_mistakes_in_the_file_are_listed_and_nothing_can_be_reloaded(opened: Opened) -> None:
    site, page = opened("/config")
    site.world.reloader.found = ConfigError("c", [ConfigIssue("agents[0].port", '"eighty"', "write a number")])
    page.get_by_role("link", name="Look again").click()
    expect(page.locator(".plan table")).to_contain_text("agents[0].port")
    expect(page.get_by_role("button", name="Reload")).to_have_count(0)


def test_the_scrape_config_names_this_manager_and_can_be_copied(opened: Opened) -> None:
    site, page = opened("/metrics-overview", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert f'targets: ["127.0.0.1:{site.port}"]' in page.evaluate("navigator.clipboard.readText()")


def test_what_is_wrong_with_the_manager_is_told_with_its_remedy(opened: Opened) -> None:
    _, page = opened("/about")
    expect(page.locator(".worries")).to_have_text(re.compile(r"held up for 900 ms\. Every request .* short of CPU"))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(opened: Opened, path: str, scheme: str) -> None:
    _, page = opened(path, color_scheme=scheme)
    connected(page)
    page.locator("main details summary").first.click() if page.locator("main details").count() else None
    axe(page)


@pytest.mark.parametrize("path", PATHS)
def test_without_javascript_the_pages_show_their_content(opened: Opened, path: str) -> None:
    site, page = opened(path, java_script_enabled=False)
    words = {"/events": "fact 119.", "/config": "late is added", "/metrics-overview": "1.5/s", "/about": "1.2.3"}
    expect(page.locator("main")).to_contain_text(words[path])
    if path == "/config":
        page.get_by_role("button", name="Reload").click()
        expect(page.locator("main")).to_contain_text("Reloaded.")
        assert site.world.reloader.applied == ["dashboard"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_nothing_is_cut_off(opened: Opened, path: str, width: int) -> None:
    _, page = opened(path, viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("path", ["/agents/planner", "/logs", *PATHS])
def test_everything_can_be_reached_by_keyboard_and_its_focus_is_seen(opened: Opened, path: str) -> None:
    _, page = opened(path)
    connected(page)
    wanted = page.evaluate(FOCUSABLE)
    assert wanted > 0
    for _ in range(wanted + 40):
        page.keyboard.press("Tab")
        page.evaluate(NOTE_FOCUS)
    assert page.evaluate("window.reached.size") >= wanted
    assert page.evaluate("window.unseen ?? null") is None


def test_a_webhook_is_sent_a_test_by_its_button(opened: Opened) -> None:
    site, page = opened("/config")
    page.get_by_role("button", name="Send a test to audit").click()
    expect(page.locator(".told.accepted")).to_have_text("The test arrived. audit answered 204 in 12 ms.")
    assert site.world.webhooks.tested == ["audit"]
    assert page.url == f"{site.url}/config?tested=audit"
    page.reload()
    expect(page.locator(".told.accepted")).to_have_text("The test arrived. audit answered 204 in 12 ms.")
    assert site.world.webhooks.tested == ["audit"]


@pytest.mark.parametrize("wrong", [False, True])
def test_on_a_phone_no_table_of_the_config_hides_a_part_of_itself(opened: Opened, wrong: bool) -> None:
    site, page = opened("/config", viewport={"width": 390, "height": 900})
    if wrong:
        issue = ConfigIssue("agents[0].definition.modelConfig.temperature", '"hot"', "write a number from 0 to 2")
        site.world.reloader.found = ConfigError("c", [issue])
        page.get_by_role("link", name="Look again").click()
        expect(page.locator(".mistakes")).to_contain_text("write a number from 0 to 2")
    hidden = "(all) => all.map((each) => each.scrollWidth - each.clientWidth)"
    assert max(page.locator(".scroll-x").evaluate_all(hidden)) <= 0


@pytest.mark.parametrize("width", [390, 700, 1400])
def test_a_value_of_the_plan_is_not_broken_letter_by_letter(opened: Opened, width: int) -> None:
    site, page = opened("/config", viewport={"width": width, "height": 900})
    long = "https://models.example.org/" + "a-long-path/" * 30
    env = {"MODEL_PROVIDER_ADDRESS": long, "MODEL": "qwen2-instruct"}
    site.world.reloader.found = config({"id": "planner", "env": env}, {"id": "echo"})
    page.get_by_role("link", name="Look again").click()
    value = page.locator(".changes ins", has_text="qwen2-instruct")
    assert value.bounding_box()["height"] < 40
