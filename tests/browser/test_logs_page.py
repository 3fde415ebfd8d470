"""The log view: followed at a thousand lines a second, read upwards, searched, opened line by line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.browser.axe import axe
from tests.browser.conftest import Watch
from tests.browser.site import Site
from tests.browser.waiting import connected, expect
from tests.unit.web.fakes import view

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.full

Serve = Callable[..., Site]
Visit = Callable[..., "Page"]
Opened = Callable[..., tuple[Site, "Page"]]
RATE = 1_000
SECONDS = 6
MOST_LINES = 1_000
TRACED = ["toplevel", "disabled-by-default-devtools.timeline"]


def longest_task_ms(trace: bytes) -> float:
    """The longest task of a renderer's main thread, in CPU time: how busy the machine is makes no difference."""
    events = json.loads(trace)["traceEvents"]
    main = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        event["tdur"] / 1_000
        for event in events
        if event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in main and "tdur" in event
    ]
    assert tasks, "the trace tells of no task"
    return max(tasks)


def line(number: int, **fields: object) -> str:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(
        {"timestamp": at, "level": "info", "event": f"line {number}.", "logger": "x.y", "n": number, **fields}
    )


@pytest.fixture
def opened(serve: Serve, visit: Visit) -> Opened:
    """The log view over two agents, `planner` with so many lines."""

    def go(count: int = 300, path: str = "/logs", **options: object) -> tuple[Site, Page]:
        site = serve(view("planner"), view("echo"))
        site.world.logs.lines["planner"] = [line(number) for number in range(count)]
        page = visit(site, go=False, **options)
        page.goto(site.url + path)
        return site, page

    return go


def write(site: Site, *lines: str) -> None:
    site.run(lambda: site.world.logs.lines["planner"].extend(lines))


def follows(page: Page) -> Page:
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#following")).to_have_text("following")
    return page


class Writer:
    """Writes lines at a rate until it is stopped."""

    def __init__(self, site: Site, rate: int) -> None:
        self.written = 0
        self._site = site
        self._batch = rate // 20
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            write(self._site, *(line(self.written + number, source="flood") for number in range(self._batch)))
            self.written += self._batch


@pytest.fixture
def flood() -> Iterator[Callable[[Site], Writer]]:
    """Writers at `RATE`, which end with the test."""
    writers: list[Writer] = []

    def start(site: Site) -> Writer:
        writers.append(Writer(site, RATE))
        return writers[-1]

    yield start
    for writer in writers:
        writer.stop()


@pytest.mark.timeout(120)
def test_at_a_thousand_lines_a_second_the_page_stays_small_and_answers(
    browser: Browser, opened: Opened, flood: Callable[[Site], Writer]
) -> None:
    site, page = opened(0)
    follows(page)
    browser.start_tracing(page=page, categories=TRACED)
    writer = flood(site)
    expect(page.locator(".lines > li")).to_have_count(MOST_LINES, timeout=60_000)
    page.wait_for_timeout(SECONDS * 1_000)
    writer.stop()
    expect(page.locator(".line").last).to_contain_text(f"line {writer.written - 1}.", timeout=30_000)
    assert page.locator(".lines > li").count() == MOST_LINES
    assert writer.written > MOST_LINES
    longest = longest_task_ms(browser.stop_tracing())
    assert longest < 200, f"the page's main thread was held up for {longest:.0f} ms"
    assert (
        page.evaluate(
            "(view => view.scrollHeight - view.scrollTop - view.clientHeight)(document.getElementById('log-view'))"
        )
        < 30
    )


def test_a_reader_who_scrolls_up_keeps_the_place(opened: Opened, flood: Callable[[Site], Writer]) -> None:
    site, page = opened(2_000)
    follows(page)
    view_ = page.locator("#log-view")
    view_.hover()
    page.mouse.wheel(0, -600)
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#following")).to_contain_text("paused at")
    top, last = view_.evaluate("view => view.scrollTop"), page.locator(".line").last.inner_text()
    writer = flood(site)
    page.wait_for_timeout(1_000)
    assert view_.evaluate("view => view.scrollTop") == top and page.locator(".line").last.inner_text() == last
    writer.stop()
    page.get_by_role("button", name="Follow").click()
    expect(page.locator(".line").last).to_contain_text(f"line {writer.written - 1}.")


def test_scrolling_back_to_the_end_follows_again(opened: Opened) -> None:
    site, page = opened(2_000)
    follows(page)
    page.locator("#log-view").hover()
    page.mouse.wheel(0, -300)
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    page.mouse.wheel(0, 5_000)
    follows(page)
    write(site, line(9_999))
    expect(page.locator(".line").last).to_contain_text("line 9999.")


def test_nothing_is_lost_or_shown_twice_between_the_page_and_what_follows(opened: Opened) -> None:
    site, page = opened(10)
    follows(page)
    for number in range(10, 40):
        write(site, line(number))
    expect(page.locator(".line")).to_have_count(40)
    numbers = [text.split("line ")[1].split(".")[0] for text in page.locator(".line .text").all_inner_texts()]
    assert numbers == [str(number) for number in range(40)]


def test_a_line_opens_to_its_fields_and_its_noise_is_hidden_before(opened: Opened) -> None:
    site, page = opened(0)
    follows(page)
    write(site, line(1, took_ms=5, request_id="r-9"))
    shown = page.locator(".line summary")
    expect(shown).to_contain_text("took_ms=5")
    assert "x.y" not in shown.inner_text()
    shown.click()
    expect(page.locator(".line .all")).to_contain_text("logger      x.y")
    expect(page.get_by_role("link", name="all lines of this request")).to_have_attribute("href", "/logs?request=r-9")


def test_a_connection_that_breaks_goes_on_where_it_was(opened: Opened, serve: Serve, watch: Watch) -> None:
    watch.allow("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|Failed to fetch|network error|ERR_CONNECTION_RESET")
    first, page = opened(3)
    follows(page)
    write(first, line(3))
    expect(page.locator(".line")).to_have_count(4)
    first.stop()
    expect(page.locator("#following")).to_have_text("Connection lost; trying again…")
    second = serve(view("planner"), port=first.port)
    second.run(lambda: second.world.logs.lines.update(planner=[line(number) for number in range(6)]))
    expect(page.locator(".line")).to_have_count(6)
    follows(page)
    expect(page.locator(".line").last).to_contain_text("line 5.")


def test_the_keyboard_alone_pauses_searches_and_follows(opened: Opened) -> None:
    _, page = opened()
    connected(follows(page))
    page.keyboard.press("f")
    expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("/")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.type("line 12")
    page.keyboard.press("Enter")
    expect(page.locator(".line")).to_have_count(11)
    expect(page.get_by_label("Text")).to_have_value("line 12")
    follows(page)


def test_all_that_match_can_be_downloaded(opened: Opened) -> None:
    site, page = opened(path="/logs?agent=planner&text=line+12")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    text = download.value.path().read_text(encoding="utf-8")
    assert text.splitlines() == [each for each in site.world.logs.lines["planner"] if "line 12" in each]
    assert download.value.suggested_filename == "planner.log.txt"


def test_without_javascript_the_newest_lines_are_there_and_can_be_searched(opened: Opened) -> None:
    _, page = opened(java_script_enabled=False)
    expect(page.locator(".line")).to_have_count(200)
    page.get_by_label("Text").fill("line 299")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".line")).to_have_count(1)
    expect(page.get_by_role("button", name="Follow")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(opened: Opened, scheme: str) -> None:
    site, page = opened(20, color_scheme=scheme)
    follows(page)
    write(
        site,
        line(1, level="error"),
        line(2, level="warning"),
        line(3, level="debug"),
        "a print",
        line(4, level="critical"),
    )
    expect(page.locator(".line")).to_have_count(25)
    page.locator(".line summary").first.click()
    axe(page)


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_cut_off(opened: Opened, width: int) -> None:
    site, page = opened(3, viewport={"width": width, "height": 900})
    follows(page)
    write(site, "no_spaces_" * 60, line(9, payload="p" * 500))
    expect(page.locator(".line")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
