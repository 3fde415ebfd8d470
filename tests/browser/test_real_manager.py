"""The dashboard of a real manager, whose agents are real processes: each button through its whole life."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser.conftest import Watch
from tests.browser.waiting import connected, expect
from tests.integration.manager_process import ManagerProcess, running_manager, write_config
from web.session import COOKIE_NAME

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# One worker for all of them: they share a manager.
pytestmark = [pytest.mark.full, pytest.mark.timeout(150), pytest.mark.xdist_group("real-manager")]

Visit = Callable[..., "Page"]
PROCESS_MS = 45_000
TOKEN = "correct-horse-battery"
GATED = """
import asyncio
from pathlib import Path

async def agent(parameters):
    while not Path(parameters["until"]).exists():
        await asyncio.sleep(0.05)
    return "the gate opened"
"""
FRAGILE = "async def agent(parameters): return 'it works'\n"
DUMMIES = ("paused", "hurried", "rolling", "killed", "streaming", "logging", "typed", "other", "several")
AGENTS: list[dict[str, Any]] = [
    *({"id": agent_id, "autostart": False} for agent_id in DUMMIES),
    {"id": "gated", "entryPoint": "gated:agent", "autostart": False},
    {"id": "fragile", "entryPoint": "fragile:agent", "autostart": False},
    {"id": "broken", "entryPoint": "no_such_module:agent", "autostart": False},
]
# Every state that a row shows from now on, in order.
FOLLOW_STATES = """(row) => {
  window.states = [];
  const note = () => {
    const state = row.querySelector(".live").dataset.state;
    if (state !== window.states.at(-1)) window.states.push(state);
  };
  note();
  new MutationObserver(note).observe(row, { subtree: true, childList: true, attributes: true });
}"""


@dataclass(frozen=True)
class Row:
    """An agent on the page, used as a person uses it."""

    page: Page
    agent_id: str

    @property
    def live(self) -> Locator:
        return self.page.locator(f"#live-{self.agent_id}")

    @property
    def box(self) -> Locator:
        return self.page.locator(f"#execute-{self.agent_id}")

    def button(self, label: str) -> Locator:
        return self.page.get_by_role("button", name=f"{label} {self.agent_id}", exact=True)

    def fact(self, label: str) -> Locator:
        return self.live.locator(".fact", has=self.page.get_by_text(label, exact=True)).locator("dd")

    def becomes(self, state: str) -> Row:
        expect(self.fact("State")).to_have_text(state, timeout=PROCESS_MS)
        return self

    def started(self) -> Row:
        self.button("Start").click()
        self.becomes("running")
        expect(self.fact("Ready")).to_have_text("yes")
        return self

    def pid(self) -> str:
        text: str = self.fact("PID").inner_text()
        assert text.isdecimal()
        return text

    def execute(self, **parameters: object) -> None:
        """Send the parameters by the box, which is opened first where it is not open yet."""
        if self.box.is_hidden():
            self.button("Execute").click()
        self.box.locator("textarea").fill(json.dumps(parameters))
        self.box.locator("textarea").press("Control+Enter")

    def answers(self, status: str, result: str) -> None:
        expect(self.box.locator(".status")).to_contain_text(status, timeout=PROCESS_MS)
        expect(self.box.locator(".result")).to_contain_text(result)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    """One for all tests here, each of which has an agent of its own."""
    directory = tmp_path_factory.mktemp("fleet")
    (directory / "gated.py").write_text(GATED)
    (directory / "fragile.py").write_text(FRAGILE)
    with running_manager(write_config(directory, AGENTS)) as running:
        yield running


@pytest.fixture
def row(manager: ManagerProcess, visit: Visit) -> Callable[[str], Row]:
    """Open the manager's page, for one of its agents."""

    def find(agent_id: str) -> Row:
        return Row(connected(visit(manager)), agent_id)

    return find


def happened(page: Page, text: str) -> None:
    expect(page.locator("#events .event", has_text=text).first).to_be_visible(timeout=PROCESS_MS)


def test_pause_refuses_work_until_resume(row: Callable[[str], Row], watch: Watch) -> None:
    watch.allow("409")
    agent = row("paused").started()
    pid = agent.pid()
    agent.button("Pause").click()
    agent.becomes("paused")
    expect(agent.fact("Ready")).to_have_text("no")
    agent.execute(hello=1)
    agent.answers("409 Conflict", "paused")
    agent.button("Resume").click()
    agent.becomes("running")
    agent.execute(hello=1)
    agent.answers("200 Done", '"hello": 1')
    assert agent.pid() == pid
    happened(agent.page, "dashboard asked paused to resume")


def test_stop_counts_down_while_the_task_in_flight_finishes(row: Callable[[str], Row], tmp_path: Path) -> None:
    agent = row("gated").started()
    gate = tmp_path / "gate"
    agent.execute(until=str(gate))
    expect(agent.fact("Work")).to_have_text("1")
    agent.button("Stop").click()
    agent.becomes("stopping")
    drain = agent.live.locator(".drain")
    expect(drain).to_have_text(re.compile(r"^draining: 1 left, \d+ s, SIGKILL in \d+ s$"))
    first = drain.inner_text()
    expect(drain).not_to_have_text(first)
    gate.touch()
    agent.answers("200 Done", "the gate opened")
    agent.becomes("stopped")
    expect(agent.fact("Last exit")).to_contain_text("exit 0")
    expect(agent.fact("PID").locator(".none")).to_be_visible()
    agent.started()


def test_a_second_stop_ends_the_drain_at_once_and_says_so_beforehand(row: Callable[[str], Row]) -> None:
    agent = row("hurried").started()
    agent.execute(sleep_ms=600_000)
    expect(agent.fact("Work")).to_have_text("1")
    agent.button("Stop").click()
    now = agent.button("Stop now")
    expect(now).to_have_attribute("title", re.compile("End the drain at once"))
    now.click()
    agent.becomes("stopped")
    agent.answers("503 Service Unavailable", "The agent stopped before this task was done")
    happened(agent.page, "drains for at most 0 s: stop by dashboard")


def test_a_restart_changes_the_process_and_nothing_else(row: Callable[[str], Row]) -> None:
    agent = row("rolling").started()
    before = agent.pid()
    agent.page.locator("#agent-rolling").evaluate(FOLLOW_STATES)
    agent.button("Restart").click()
    expect(agent.fact("PID")).not_to_have_text(before, timeout=PROCESS_MS)
    expect(agent.fact("Restarts")).to_have_text("1")
    expect(agent.fact("Last exit")).to_contain_text("exit 0", timeout=PROCESS_MS)
    expect(agent.live.locator(".instances")).to_have_count(0)
    assert agent.page.evaluate("window.states") == ["running"]
    happened(agent.page, "dashboard asked rolling to restart")


def test_a_restart_that_fails_leaves_the_old_process_and_tells_why(
    manager: ManagerProcess, row: Callable[[str], Row]
) -> None:
    agent = row("fragile").started()
    before = agent.pid()
    (manager.directory / "fragile.py").write_text("import not_installed_here\n")
    agent.button("Restart").click()
    note = agent.live.locator(".note")
    expect(note).to_contain_text("the restart failed and the old process stays", timeout=PROCESS_MS)
    expect(note).to_contain_text("not_installed_here")
    expect(note).to_have_class(re.compile("tone-warn"))
    expect(agent.fact("State")).to_have_text("running")
    assert agent.pid() == before
    happened(agent.page, "fragile: the restart failed and the old process stays")
    agent.execute()
    agent.answers("200 Done", "it works")


def test_kill_asks_ends_the_process_and_keeps_the_reason(row: Callable[[str], Row]) -> None:
    agent = row("killed").started()
    agent.page.get_by_role("button", name="Kill killed…").click()
    question = agent.page.locator("#kill-killed")
    expect(question).to_contain_text("Its process ends at once")
    question.get_by_label("Reason, for the history (optional)").fill("it loops")
    question.get_by_role("button", name="Kill now").click()
    agent.becomes("stopped")
    expect(agent.fact("Last exit")).to_contain_text("signal 9")
    asked = agent.page.locator("#events .event", has_text="dashboard asked killed to kill")
    expect(asked).to_contain_text("it loops")


def test_the_execute_box_shows_a_streamed_answer_and_a_failing_one(row: Callable[[str], Row], watch: Watch) -> None:
    watch.allow("500")
    agent = row("streaming").started()
    agent.execute(stream=3, name="né")
    agent.answers("200 Done", '"name": "né"')
    expect(agent.box.locator(".chunks li")).to_have_text([f'{{"chunk":{number}}}' for number in range(3)])
    agent.execute(fail="no luck today")
    agent.answers("500 ", "no luck today")
    expect(agent.box.locator(".result")).to_contain_text("RuntimeError")
    expect(agent.fact("State")).to_have_text("running")


def test_the_log_tail_follows_what_the_agent_writes(row: Callable[[str], Row]) -> None:
    agent = row("logging").started()
    agent.page.get_by_role("button", name="Logs of logging").click()
    lines = agent.page.locator("#log-lines-logging .log-line", has_text="Dummy log line")
    expect(agent.page.locator("#log-lines-logging .log-line").first).to_be_visible()
    expect(lines).to_have_count(0)
    agent.execute(log=60)
    expect(lines).to_have_count(60)
    expect(lines.last).to_contain_text("number=60 of=60")
    agent.page.locator("#log-lines-logging").scroll_into_view_if_needed()
    expect(lines.last).to_be_in_viewport()


def test_an_agent_that_cannot_be_imported_is_failed_with_its_reason(row: Callable[[str], Row]) -> None:
    agent = row("broken")
    agent.button("Start").click()
    agent.becomes("failed")
    expect(agent.live.locator(".note")).to_contain_text("no_such_module")
    expect(agent.page.locator("#summary")).to_contain_text("1 failed")
    expect(agent.page).to_have_title(re.compile(r"^\(\d+!\) "))
    happened(agent.page, "broken is failed: ")
    expect(agent.button("Start")).to_be_enabled()


def test_typed_text_survives_the_restart_of_another_agent(row: Callable[[str], Row]) -> None:
    agent = row("typed").started()
    other = Row(agent.page, "other").started()
    before = other.pid()
    agent.button("Execute").click()
    box = agent.box.locator("textarea")
    box.fill('{"goal": "half typed')
    # As from a second window: a click here would take the focus away.
    agent.page.evaluate("document.getElementById('restart-other').click()")
    expect(other.fact("PID")).not_to_have_text(before, timeout=PROCESS_MS)
    expect(other.fact("Last exit")).to_contain_text("exit 0", timeout=PROCESS_MS)
    assert box.input_value() == '{"goal": "half typed'
    expect(box).to_be_focused()
    agent.page.keyboard.type('"}')
    box.press("Control+Enter")
    agent.answers("200 Done", '"goal": "half typed"')


def test_several_instances_are_told_one_by_one(manager: ManagerProcess, row: Callable[[str], Row]) -> None:
    agent = row("several").started()
    manager.act("several", "scale", instances=3)
    expect(agent.fact("Ready")).to_have_text("3/3", timeout=PROCESS_MS)
    listed = agent.live.locator(".instances")
    expect(listed.locator("summary")).to_have_text("3 instances: 3 ready")
    listed.locator("summary").click()
    told = listed.locator("li").all_inner_texts()
    pids = [instance["pid"] for instance in manager.agent("several")["instances"]]
    assert len(told) == 3
    assert all(f"pid {pid}" in line for pid, line in zip(pids, told, strict=True))
    manager.act("several", "scale", instances=1)
    expect(agent.fact("Ready")).to_have_text("yes", timeout=PROCESS_MS)
    expect(listed).to_have_count(0)


def test_a_config_is_rejected_and_then_taken_before_ones_eyes(
    manager: ManagerProcess, row: Callable[[str], Row]
) -> None:
    agent = row("late")
    expect(agent.live).to_have_count(0)
    write_config(manager.directory, [*AGENTS, {"id": "late", "port": "eighty", "autostart": False}])
    assert manager.http.post("/api/config/reload").status_code == 422
    happened(agent.page, "The changed config is wrong and was not taken")
    write_config(manager.directory, [*AGENTS, {"id": "late", "autostart": False}])
    assert manager.http.post("/api/config/reload").status_code == 202
    happened(agent.page, "The config was reloaded: added late")
    agent.becomes("stopped")
    agent.started()


def test_a_killed_manager_is_missed_and_its_successor_found(visit: Visit, watch: Watch, tmp_path: Path) -> None:
    watch.allow("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|Failed to fetch|network error|ERR_CONNECTION_RESET")
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as first:
        first.wait_for("one", "running")
        agent = Row(connected(visit(first)), "one").becomes("running")
        pid = agent.pid()
        agent.button("Execute").click()
        agent.box.locator("textarea").fill('{"still": "here"}')
        banner = agent.page.get_by_role("alert").filter(has_text="Connection lost")
        expect(banner).to_be_hidden()
        first.process.kill()
        first.wait()
        expect(banner).to_be_visible()
        with running_manager(config, "--port", str(urlsplit(first.url).port)) as second:
            assert second.url == first.url
            expect(banner).to_be_hidden(timeout=PROCESS_MS)
            agent.becomes("running")
            happened(agent.page, f"one (pid {pid}) was taken back from an earlier manager")
            assert agent.pid() == pid
            agent.box.locator("textarea").press("Control+Enter")
            agent.answers("200 Done", '"still": "here"')
            agent.button("Pause").click()
            agent.becomes("paused")


def test_with_a_token_set_nothing_is_shown_or_done_before_the_sign_in(
    visit: Visit, watch: Watch, tmp_path: Path
) -> None:
    watch.allow("401")
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config, environment={"MANAGER_TOKEN": TOKEN}) as manager:
        page = visit(manager)
        agent = Row(page, "one")
        expect(agent.live).to_have_count(0)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("not the manager's token")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        connected(page)
        agent.becomes("running")
        agent.execute(hello=1)
        agent.answers("200 Done", '"hello": 1')
        agent.button("Stop").click()
        agent.becomes("stopped")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        assert httpx.get(f"{manager.url}/ui/fleet", trust_env=False).status_code == 401


def test_the_cookie_stays_usable_behind_a_proxy_that_ends_tls(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one", "autostart": False}])
    with running_manager(config, environment={"MANAGER_TOKEN": TOKEN}) as manager:
        with httpx.Client(base_url=manager.url, headers={"X-Forwarded-Proto": "https"}, trust_env=False) as client:
            signed_in = client.post("/ui/login", data={"token": TOKEN})
            assert signed_in.status_code == 303
            # Nobody vouches for that header, and a Secure cookie would not come back over plain HTTP.
            assert "secure" not in signed_in.headers["set-cookie"].lower()
            assert COOKIE_NAME in client.cookies
            assert 'id="live-one"' in client.get("/").text
