from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Watch
from tests.browser.site import Site
from tests.browser.waiting import expect
from tests.unit.web.fakes import view

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.full

Serve = Callable[..., Site]
Visit = Callable[..., "Page"]


def test_the_execute_box_shows_chunks_as_they_come_and_then_the_result(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    page = visit(site)
    page.get_by_role("button", name="Execute planner").click()
    page.locator("#parameters-planner").fill('{"stream": 3, "wait": true, "name": "né"}')
    panel = page.locator("#execute-planner")
    run = panel.get_by_role("button", name="Execute", exact=True)
    run.click()
    chunks = panel.locator(".chunks li")
    expect(chunks).to_have_text(['{"step": 0}'])
    expect(panel.locator(".status")).to_contain_text("Running… 1 chunk")
    expect(run).to_be_disabled()
    site.run(site.gate.set)
    expect(chunks).to_have_text(['{"step": 0}', '{"step": 1}', '{"step": 2}'])
    expect(panel.locator(".status")).to_have_text("200 Done 12 ms request req-42")
    expect(panel.locator(".result")).to_contain_text('"echo": {\n    "stream": 3,\n    "wait": true,\n    "name": "né"')
    expect(run).to_be_enabled()
    assert site.executed == [{"agent": "planner", "parameters": {"stream": 3, "wait": True, "name": "né"}}]


def test_without_streaming_the_whole_answer_is_shown(serve: Serve, visit: Visit) -> None:
    page = visit(serve(view("planner")))
    page.get_by_role("button", name="Execute planner").click()
    panel = page.locator("#execute-planner")
    panel.get_by_label("show chunks as they come").uncheck()
    panel.locator("textarea").press("Control+Enter")
    expect(panel.locator(".status")).to_contain_text("200 Done 12 ms")
    expect(panel.locator(".result")).to_have_text('{\n  "echo": {}\n}')


@pytest.mark.parametrize(
    ("parameters", "status", "detail"),
    [
        ('{"fail": "planner is paused; resume it."}', "409 Conflict", "planner is paused; resume it."),
        ('{"stream": 1, "late_failure": "ValueError: no"}', "500 Internal Server Error", "ValueError: no"),
        ('{"stream": 1, "break": true}', "No answer", "The answer broke off before its result came."),
    ],
)
def test_a_failed_execute_says_why(
    serve: Serve, visit: Visit, watch: Watch, parameters: str, status: str, detail: str
) -> None:
    watch.allow("409")
    page = visit(serve(view("planner")))
    page.get_by_role("button", name="Execute planner").click()
    panel = page.locator("#execute-planner")
    panel.locator("textarea").fill(parameters)
    panel.locator("textarea").press("Control+Enter")
    expect(panel.locator(".status")).to_contain_text(status)
    expect(panel.locator(".result")).to_have_text(detail)
    expect(panel.get_by_role("button", name="Execute", exact=True)).to_be_enabled()


@pytest.mark.parametrize("text", ['{"goal": ', "[1]", "null", '"text"'])
def test_parameters_that_are_no_json_object_are_not_sent(serve: Serve, visit: Visit, text: str) -> None:
    site = serve(view("planner"))
    page = visit(site)
    page.get_by_role("button", name="Execute planner").click()
    page.locator("#parameters-planner").fill(text)
    page.locator("#parameters-planner").press("Control+Enter")
    expect(page.locator("#invalid-planner")).to_have_text(re.compile("JSON"))
    assert site.executed == []


def test_an_execute_can_be_cancelled(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    page = visit(site)
    page.get_by_role("button", name="Execute planner").click()
    panel = page.locator("#execute-planner")
    panel.locator("textarea").fill('{"stream": 2, "wait": true}')
    panel.locator("textarea").press("Control+Enter")
    expect(panel.locator(".chunks li")).to_have_count(1)
    panel.get_by_role("button", name="Cancel").click()
    expect(panel.locator(".status")).to_contain_text("Cancelled")
    assert site.cancelled.wait(15)


def test_the_log_follows_and_stops_following_for_a_reader(serve: Serve, visit: Visit) -> None:
    site = serve(view("planner"))
    logs = site.world.logs.lines
    logs["planner"] = [f"line {number}" for number in range(300)]
    page = visit(site)
    page.get_by_role("button", name="Logs of planner").click()
    lines = page.locator("#log-lines-planner")
    expect(lines.locator(".log-line")).to_have_count(200)
    expect(lines.locator(".log-line").last).to_be_in_viewport()
    logs["planner"] = [*logs["planner"], '{"level": "error", "event": "It fell", "task_id": "t-9"}']
    expect(lines.locator(".level-error")).to_have_text("error It fell task_id=t-9")
    expect(lines.locator(".level-error")).to_be_in_viewport()
    lines.evaluate("lines => { lines.scrollTop = 0; }")
    expect(page.locator("#logs-planner")).to_contain_text("scroll to the end to follow")
    logs["planner"] = [*logs["planner"], "while reading"]
    lines.evaluate("lines => { lines.scrollTop = lines.scrollHeight; }")
    expect(lines).to_contain_text("while reading")
    page.get_by_role("button", name="Logs of planner").click()
    expect(lines).to_be_hidden()
