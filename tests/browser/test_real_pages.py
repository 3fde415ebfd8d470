"""The pages of a real manager, over agents that are real processes: tried, followed, reloaded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Watch
from tests.browser.waiting import connected, expect
from tests.integration.manager_process import ManagerProcess, running_manager, write_config

if TYPE_CHECKING:
    from playwright.sync_api import Page

# One worker for all of them: they share a manager.
pytestmark = [pytest.mark.full, pytest.mark.timeout(150), pytest.mark.xdist_group("real-pages")]

Visit = Callable[..., "Page"]
PROCESS_MS = 45_000
SLOW = """
import asyncio

async def agent(parameters):
    yield "begun"
    try:
        await asyncio.sleep(3600)
    finally:
        open(parameters["ended"], "w").close()
"""
AGENTS: list[dict[str, Any]] = [{"id": "echo"}, {"id": "slow", "entryPoint": "slow:agent"}]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    """One for all tests here."""
    directory = tmp_path_factory.mktemp("fleet")
    (directory / "slow.py").write_text(SLOW)
    with running_manager(write_config(directory, AGENTS)) as running:
        for agent in AGENTS:
            running.wait_for(agent["id"], "running")
        yield running


@pytest.fixture
def opened(manager: ManagerProcess, visit: Visit) -> Callable[[str], Page]:
    """A page of the manager."""

    def go(path: str) -> Page:
        page = visit(manager, go=False)
        page.goto(manager.url + path)
        return connected(page)

    return go


def execute(page: Page, **parameters: object) -> None:
    page.get_by_label("Parameters, a JSON object").fill(json.dumps(parameters))
    page.get_by_label("Parameters, a JSON object").press("Control+Enter")


def test_a_streamed_answer_leads_to_its_log_lines(opened: Callable[[str], Page]) -> None:
    page = opened("/agents/echo")
    execute(page, stream=3, log=2, name="né")
    expect(page.locator("#execute .status")).to_contain_text("200 Done", timeout=PROCESS_MS)
    expect(page.locator("#execute .chunks li")).to_have_text([f'{{"chunk":{number}}}' for number in range(3)])
    expect(page.locator("#execute .result")).to_contain_text('"name": "né"')
    page.locator("#execute .trace a").click()
    expect(page.locator(".line", has_text="Dummy log line")).to_have_count(2)
    expect(page.get_by_label("Request id")).not_to_have_value("")
    expect(page.get_by_label("Agent")).to_have_value("echo")


def test_an_error_of_the_agents_own_code_is_shown(opened: Callable[[str], Page], watch: Watch) -> None:
    watch.allow("500")
    page = opened("/agents/echo")
    page.get_by_label("show chunks as they come").uncheck()
    execute(page, fail="no luck today")
    expect(page.locator("#execute .status")).to_contain_text("500 Internal Server Error", timeout=PROCESS_MS)
    expect(page.locator("#execute .result")).to_contain_text("RuntimeError: no luck today")


def test_a_cancelled_request_ends_its_task_in_the_agent(opened: Callable[[str], Page], tmp_path: Path) -> None:
    page = opened("/agents/slow")
    ended = tmp_path / "ended"
    execute(page, ended=str(ended))
    expect(page.locator("#execute .chunks li")).to_have_text(['"begun"'], timeout=PROCESS_MS)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#execute .status")).to_contain_text("Cancelled")
    page.wait_for_timeout(100)
    expect(page.locator("#overview .fact", has_text="In flight").locator("dd")).to_have_text("0", timeout=PROCESS_MS)
    assert ended.exists()


def test_the_log_follows_what_agents_write(opened: Callable[[str], Page], manager: ManagerProcess) -> None:
    page = opened("/logs?agent=echo&text=Dummy")
    expect(page.locator("#following")).to_have_text("following")
    before = page.locator(".line").count()
    manager.http.post("/api/agent-services/echo/execute", json={"parameters": {"log": 30}})
    expect(page.locator(".line")).to_have_count(before + 30, timeout=PROCESS_MS)
    expect(page.locator(".line").last).to_contain_text("number=30 of=30")


def test_a_changed_file_is_planned_and_then_taken(opened: Callable[[str], Page], manager: ManagerProcess) -> None:
    write_config(manager.directory, [*AGENTS, {"id": "late", "description": "Comes later."}])
    page = opened("/config")
    expect(page.locator(".plan")).to_contain_text("late is added")
    page.get_by_role("button", name="Reload").click()
    expect(page.locator(".told")).to_contain_text("Reloaded.")
    expect(page.locator(".plan")).to_contain_text("The file says what runs")
    manager.wait_for("late", "running")
    page.goto(f"{manager.url}/events?kind=config_reloaded")
    expect(page.locator(".happened").first).to_contain_text("added late")
    expect(page.locator(".happened").first).to_contain_text("by dashboard")


def test_the_figures_of_manager_and_fleet_are_real(opened: Callable[[str], Page]) -> None:
    page = opened("/metrics-overview")
    expect(page.locator("#metrics-of-echo")).to_contain_text("running")
    page.goto(page.url.replace("metrics-overview", "about"))
    expect(page.locator("#health")).to_contain_text("Fork servers")
    expect(page.locator("main")).to_contain_text(re.compile(r"pid \d+"))
