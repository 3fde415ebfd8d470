"""One agent's page: its execute panel, what keeps itself current, and who can use it how."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from manager.supervision.states import AgentState
from tests.browser.axe import axe
from tests.browser.conftest import Watch
from tests.browser.site import Site
from tests.browser.waiting import connected, expect
from tests.unit.web.fakes import instance, view

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.full

Serve = Callable[..., Site]
Visit = Callable[..., "Page"]
POINTS = {
    "requests_per_second": [0.0, 2.5, 4.0, None, 3.0],
    "error_ratio": [None, 0.0, 0.25, None, 0.0],
    "p50_ms": [None, 12.0, 14.0, None, 13.0],
    "p95_ms": [None, 40.0, 80.0, None, 50.0],
    "cpu_percent": [1.0, 8.0, 12.0, 9.0, 2.0],
    "rss_bytes": [60e6, 61e6, 61e6, 62e6, 62e6],
    "in_flight": [0.0, 1.0, 2.0, 1.0, 0.0],
    "queued": [0.0] * 5,
}


@pytest.fixture
def opened(serve: Serve, visit: Visit) -> Callable[..., tuple[Site, Page]]:
    """The page of the agent `planner`, connected."""

    def go(*views: object, **options: object) -> tuple[Site, Page]:
        site = serve(*(views or (view("planner", description='Plans. Try {"goal": "tea"}.'),)))
        site.world.series.points["planner"] = POINTS
        page = visit(site, go=False, **options)
        page.goto(f"{site.url}/agents/planner")
        return site, page

    return go


def editor(page: Page) -> Locator:
    return page.get_by_label("Parameters, a JSON object")


def run(page: Page) -> Locator:
    return page.get_by_role("button", name="Execute", exact=True)


def execute(page: Page, parameters: str) -> None:
    editor(page).fill(parameters)
    editor(page).press("Control+Enter")


def test_chunks_are_shown_as_they_come_and_then_the_result_with_its_request(
    opened: Callable[..., tuple[Site, Page]],
) -> None:
    site, page = opened()
    execute(page, '{"stream": 3, "wait": true, "name": "né"}')
    chunks = page.locator("#execute .chunks li")
    expect(chunks).to_have_text(['{"step": 0}'])
    expect(page.locator("#execute .status")).to_contain_text("Running… 1 chunk")
    expect(run(page)).to_be_disabled()
    site.run(site.gate.set)
    expect(chunks).to_have_text(['{"step": 0}', '{"step": 1}', '{"step": 2}'])
    expect(page.locator("#execute .status")).to_have_text(
        re.compile(r"200 Done [\d,]+ ms · first chunk after [\d,]+ ms · 12 ms in the agent")
    )
    expect(page.locator("#execute .result")).to_contain_text('"echo": {\n    "stream": 3,\n    "wait": true')
    link = page.get_by_role("link", name="Log lines of request req-42")
    expect(link).to_have_attribute("href", "/logs?agent=planner&request=req-42")
    expect(run(page)).to_be_enabled()
    assert site.executed == [{"agent": "planner", "parameters": {"stream": 3, "wait": True, "name": "né"}}]


def test_without_streaming_the_whole_answer_is_shown(opened: Callable[..., tuple[Site, Page]]) -> None:
    _, page = opened()
    page.get_by_label("show chunks as they come").uncheck()
    execute(page, "{}")
    expect(page.locator("#execute .status")).to_contain_text("200 Done")
    expect(page.locator("#execute .result")).to_have_text('{\n  "echo": {}\n}')
    expect(page.locator("#execute .chunks")).to_be_hidden()


@pytest.mark.parametrize(
    ("parameters", "status", "detail"),
    [
        ('{"fail": "planner is paused; resume it."}', "409 Conflict", "planner is paused; resume it."),
        ('{"stream": 1, "late_failure": "ValueError: no"}', "500 Internal Server Error", "ValueError: no"),
        ('{"stream": 1, "break": true}', "No answer", "The answer broke off before its result came."),
    ],
)
def test_a_failed_execute_says_why(
    opened: Callable[..., tuple[Site, Page]], watch: Watch, parameters: str, status: str, detail: str
) -> None:
    watch.allow("409")
    _, page = opened()
    execute(page, parameters)
    expect(page.locator("#execute .status")).to_contain_text(status)
    expect(page.locator("#execute .result")).to_have_text(detail)
    expect(run(page)).to_be_enabled()


def test_an_execute_can_be_cancelled(opened: Callable[..., tuple[Site, Page]]) -> None:
    site, page = opened()
    execute(page, '{"stream": 2, "wait": true}')
    expect(page.locator("#execute .chunks li")).to_have_count(1)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#execute .status")).to_contain_text("Cancelled")
    assert site.cancelled.wait(15)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"goal": ', "Line 1, column 10: a value is missing: it ends here."),
        ('{\n  "a": 1,\n}', "Line 2, column 9: take out this comma: nothing follows before }."),
        ('{"a" 1}', "Line 1, column 6: expected : after the key."),
        ('{\n  "a": 1\n  "b": 2}', "Line 3, column 3: expected , or }."),
        ("{'a': 1}", 'Line 1, column 2: expected a key in double quotes: "key".'),
        ("{\"a\": 'x'}", 'Line 1, column 7: use double quotes: "text".'),
        ('{"a": "x\ny"}', "Line 1, column 7: this text does not end on its line; write \\n for a line break."),
        ('{"a": 01}', "Line 1, column 8: expected , or }."),
        ('{"a": nope}', "Line 1, column 7: expected a value, found n."),
        ('{"é😀": 1} x', "Line 1, column 11: nothing may follow the object."),
        ("[1]", 'Line 1, column 1: write an object: {"goal": "…"}.'),
        ("null", 'Line 1, column 1: write an object: {"goal": "…"}.'),
    ],
)
def test_a_mistake_is_told_with_its_line_and_column_and_nothing_is_sent(
    opened: Callable[..., tuple[Site, Page]], text: str, told: str
) -> None:
    site, page = opened()
    editor(page).fill(text)
    expect(page.locator("#mistake span")).to_have_text(told)
    editor(page).press("Control+Enter")
    expect(editor(page)).to_be_focused()
    expect(editor(page)).to_have_attribute("aria-invalid", "true")
    assert site.executed == []


def test_the_editor_agrees_with_the_browsers_own_parser(opened: Callable[..., tuple[Site, Page]]) -> None:
    _, page = opened()
    texts = [
        "{}",
        ' {"a": [1, -2.5e3, true, null, "\\u00e9\\n"]} ',
        '{"a": {}}',
        "[]",
        "1",
        '{"a": 1,}',
        '{"a": .5}',
        '{"a": "\t"}',
    ]
    texts += [
        '{"a": "\\x"}',
        '{"a": 1e}',
        '{"": [[], {}]}',
        "{",
        '"',
        "",
        "}",
        '{"a": tru}',
        '{"a": "b" "c"}',
        '{"a": +1}',
    ]
    differing = page.evaluate(
        """async (texts) => {
            const { mistakeIn } = await import("/static/json_editor.js");
            const isObject = (text) => {
                try { const value = JSON.parse(text); return value?.constructor === Object; }
                catch { return false; }
            };
            return texts.filter((text) => (mistakeIn(text) === null) !== isObject(text));
        }""",
        texts,
    )
    assert differing == []


def test_the_mistake_can_be_shown_where_it_is(opened: Callable[..., tuple[Site, Page]]) -> None:
    _, page = opened()
    editor(page).fill('{\n  "a": nope}')
    page.get_by_role("button", name="Show it").click()
    expect(editor(page)).to_be_focused()
    assert editor(page).evaluate("area => area.value.slice(area.selectionStart)") == "nope}"
    expect(page.locator(".numbers .wrong")).to_have_text("2")
    editor(page).fill('{"b":[1,2]}')
    expect(page.locator("#mistake span")).to_be_empty()
    page.get_by_role("button", name="Format").click()
    assert editor(page).input_value() == '{\n  "b": [\n    1,\n    2\n  ]\n}'


def test_what_was_asked_before_is_kept_in_this_browser_and_bounded(opened: Callable[..., tuple[Site, Page]]) -> None:
    site, page = opened()
    for number in range(22):
        execute(page, json.dumps({"n": number}))
        expect(page.locator("#execute .result")).to_contain_text(f'"n": {number}\n')
        expect(run(page)).to_be_enabled()
    page.reload()
    page.locator("#asked summary").click()
    kept = page.locator("#asked li button")
    expect(kept).to_have_count(20)
    expect(kept.first).to_have_text('{"n": 21}')
    kept.nth(1).click()
    assert editor(page).input_value() == '{"n": 20}'
    expect(editor(page)).to_be_focused()
    page.get_by_role("button", name="Forget all").click()
    expect(page.locator("#asked")).to_be_hidden()
    assert len(site.executed) == 22


def test_the_example_and_its_curl_are_there_to_begin_with(opened: Callable[..., tuple[Site, Page]]) -> None:
    site, page = opened()
    assert json.loads(editor(page).input_value()) == {"goal": "tea"}
    editor(page).fill('{"text": "it\'s"}')
    words = shlex.split(page.locator("#curl").inner_text())
    assert f"{site.url}/api/agent-services/planner/execute" in words
    assert json.loads(words[-1]) == {"parameters": {"text": "it's"}}
    page.get_by_label("show chunks as they come").uncheck()
    assert "text/event-stream" not in page.locator("#curl").inner_text()


def test_the_copy_button_fills_the_clipboard(opened: Callable[..., tuple[Site, Page]]) -> None:
    _, page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#curl").inner_text()


def test_typed_text_survives_whatever_happens_to_the_agent(opened: Callable[..., tuple[Site, Page]]) -> None:
    site, page = opened()
    connected(page)
    editor(page).fill('{"goal": "half typed')
    site.change("planner", state=AgentState.FAILED, state_reason="Install stripe, then start it again.")
    expect(page.locator("#overview .agent-note")).to_have_text("Install stripe, then start it again.")
    expect(page.locator("#takes-no-work")).to_be_visible()
    expect(page.locator("#history .happened").first).to_contain_text("planner changed")
    assert editor(page).input_value() == '{"goal": "half typed'
    expect(editor(page)).to_be_focused()
    site.change("planner", state=AgentState.RUNNING)
    expect(page.locator("#takes-no-work")).to_be_hidden()


def test_a_chart_tells_what_is_under_the_pointer_and_has_a_table(opened: Callable[..., tuple[Site, Page]]) -> None:
    _, page = opened()
    plot = page.locator("#hour-latency .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    expect(plot.locator(".readout")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d · p50 13 ms · p95 50 ms$"))
    page.mouse.move(0, 0)
    expect(plot.locator(".readout")).to_have_count(0)
    page.locator("#hour-latency summary").click()
    expect(page.locator("#hour-latency tbody td").first).to_have_text("13 ms")


def test_a_sidecar_is_offered_no_execute(opened: Callable[..., tuple[Site, Page]]) -> None:
    _, page = opened(view("planner", sidecar=True))
    expect(page.get_by_role("heading", name="planner")).to_contain_text("sidecar")
    expect(page.locator("#execute")).to_have_count(0)


def test_the_keyboard_alone_writes_runs_and_cancels(opened: Callable[..., tuple[Site, Page]]) -> None:
    site, page = opened()
    connected(page)
    page.keyboard.press("x")
    expect(editor(page)).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type('{"stream": 2, "wait": true}')
    page.keyboard.press("Control+Enter")
    expect(page.locator("#execute .chunks li")).to_have_count(1)
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Cancel":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#execute .status")).to_contain_text("Cancelled")
    assert site.cancelled.wait(15)


def test_without_javascript_the_page_shows_what_it_knows(opened: Callable[..., tuple[Site, Page]]) -> None:
    _, page = opened(java_script_enabled=False)
    expect(page.locator("#overview")).to_contain_text("running")
    expect(page.locator("#hour-latency svg")).to_be_visible()
    expect(page.locator("#curl")).to_contain_text("/api/agent-services/planner/execute")
    expect(editor(page)).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(opened: Callable[..., tuple[Site, Page]], scheme: str) -> None:
    busy = view("planner", instances=[instance(1), instance(2, ready=False)], instances_wanted=2, description="Plans.")
    _, page = opened(busy, color_scheme=scheme)
    connected(page)
    execute(page, '{"stream": 2}')
    expect(page.locator("#execute .status")).to_contain_text("200 Done")
    editor(page).fill("{")
    page.locator("#hour-memory summary").click()
    axe(page)


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_cut_off(opened: Callable[..., tuple[Site, Page]], width: int) -> None:
    long = "no_spaces_" * 30
    _, page = opened(
        view("planner", name="N" * 80, description=long, state_reason=long), viewport={"width": width, "height": 900}
    )
    execute(page, json.dumps({"text": long}))
    expect(page.locator("#execute .status")).to_contain_text("200 Done")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_moment_is_never_printed_over_what_happened(opened: Callable[..., tuple[Site, Page]], width: int) -> None:
    site, page = opened(viewport={"width": width, "height": 900})
    connected(page)
    site.run(lambda: site.world.happen("planner is running and has told so in a sentence of some length."))
    happened = page.locator("#history .happened").first
    expect(happened).to_contain_text("planner is running")
    moment, text = happened.locator(".moment time").bounding_box(), happened.locator("summary").bounding_box()
    beside = moment["x"] + moment["width"] <= text["x"] + 1
    assert beside or moment["y"] + moment["height"] <= text["y"] + 1
    assert text["width"] > 150
