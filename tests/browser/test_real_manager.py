"""The dashboard of a real manager, whose agents are real processes: each button through its whole life."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser.conftest import Watch
from tests.browser.waiting import connected, expect
from tests.fixtures.gate import Gate
from tests.integration.manager_process import ManagerProcess, running_manager, write_config
from web.session import COOKIE_NAME

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# One worker for all of them: they share a manager.
pytestmark = [pytest.mark.full, pytest.mark.timeout(150), pytest.mark.xdist_group("real-manager")]

Visit = Callable[..., "Page"]
Executing = Callable[..., "Future[httpx.Response]"]
PROCESS_MS = 45_000
TOKEN = "correct-horse-battery"
FRAGILE = "async def agent(parameters): return 'it works'\n"
DUMMIES = ("paused", "drained", "hurried", "rolling", "killed", "recreated", "typed", "other", "several", "one", "two")
AGENTS: list[dict[str, Any]] = [
    *({"id": agent_id, "autostart": False} for agent_id in DUMMIES),
    {"id": "fragile", "entryPoint": "fragile:agent", "autostart": False},
    {"id": "broken", "entryPoint": "no_such_module:agent", "autostart": False},
]
# Every state that a row shows from now on, in order.
FOLLOW_STATES = """(row) => {
  window.states = [];
  const note = () => {
    const state = row.dataset.state;
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
        return self.page.locator(f"#agent-{self.agent_id}")

    @property
    def outcome(self) -> Locator:
        return self.page.locator(f"#outcome-{self.agent_id}")

    @property
    def note(self) -> Locator:
        return self.live.locator(".note")

    def button(self, label: str) -> Locator:
        return self.page.get_by_role("button", name=f"{label} {self.agent_id}", exact=True)

    def cell(self, name: str) -> Locator:
        return self.live.locator(f".c-{name}")

    def menu(self) -> Locator:
        self.page.get_by_role("link", name=f"More for {self.agent_id}", exact=True).click()
        menu = self.page.locator("#menu")
        expect(menu).to_be_visible()
        return menu

    def becomes(self, state: str) -> Row:
        expect(self.cell("state").locator(".state")).to_have_text(state, timeout=PROCESS_MS)
        return self

    def started(self) -> Row:
        self.button("Start").click()
        self.becomes("running").is_ready()
        return self

    def is_ready(self) -> None:
        expect(self.cell("reach")).to_contain_text(re.compile("^ready"), timeout=PROCESS_MS)

    def pid(self) -> str:
        text: str = self.cell("process").evaluate("cell => cell.firstChild.textContent")
        assert text.isdecimal()
        return text

    def changes_pid(self, before: str) -> None:
        expect(self.cell("process")).not_to_contain_text(before, timeout=PROCESS_MS)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    """One for all tests here, each of which has an agent of its own."""
    directory = tmp_path_factory.mktemp("fleet")
    (directory / "fragile.py").write_text(FRAGILE)
    with running_manager(write_config(directory, AGENTS)) as running:
        yield running


@pytest.fixture
def row(manager: ManagerProcess, visit: Visit) -> Callable[[str], Row]:
    """Open the manager's page, for one of its agents."""

    def find(agent_id: str) -> Row:
        return Row(connected(visit(manager)), agent_id)

    return find


@pytest.fixture
def executing(manager: ManagerProcess) -> Iterator[Callable[..., Future[httpx.Response]]]:
    """Send tasks through the API, beside the browser; all have been answered at the end."""
    with ThreadPoolExecutor() as pool:

        def execute(agent_id: str, **parameters: object) -> Future[httpx.Response]:
            path = f"/api/agent-services/{agent_id}/execute"
            return pool.submit(manager.http.post, path, json={"parameters": parameters}, timeout=90)

        yield execute


def happened(page: Page, text: str) -> None:
    expect(page.locator("#events .event", has_text=text).first).to_be_visible(timeout=PROCESS_MS)


def test_pause_refuses_work_until_resume(row: Callable[[str], Row], executing: Executing) -> None:
    agent = row("paused").started()
    pid = agent.pid()
    agent.button("Pause").click()
    agent.becomes("paused")
    expect(agent.outcome).to_have_text("Pause accepted. The agent is paused.")
    expect(agent.cell("reach")).to_contain_text("not ready")
    assert executing("paused", hello=1).result().status_code == 409
    agent.button("Resume").click()
    agent.becomes("running").is_ready()
    assert executing("paused", hello=1).result().json()["result"] == {"echo": {"hello": 1}}
    assert agent.pid() == pid
    happened(agent.page, "dashboard asked paused to resume")


def test_stop_counts_down_while_the_task_in_flight_finishes(row: Callable[[str], Row], executing: Executing) -> None:
    agent = row("drained").started()
    gate = Gate()
    answer = executing("drained", **gate.parameters)
    expect(agent.cell("work")).to_have_text("1", timeout=PROCESS_MS)
    agent.button("Stop").click()
    agent.becomes("stopping")
    drain = agent.live.locator(".drain")
    expect(drain).to_have_text(re.compile(r"^draining: 1 left, \d+ s, SIGKILL in \d+ s$"))
    first = drain.inner_text()
    expect(drain).not_to_have_text(first)
    gate.open()
    assert answer.result().json()["result"] == {"echo": gate.parameters}
    agent.becomes("stopped")
    expect(agent.cell("restarts")).to_contain_text("exit 0")
    expect(agent.cell("process").locator(".none")).to_be_visible()
    agent.started()


def test_a_second_stop_ends_the_drain_at_once_and_says_so_beforehand(
    row: Callable[[str], Row], executing: Executing
) -> None:
    agent = row("hurried").started()
    answer = executing("hurried", sleep_ms=600_000)
    expect(agent.cell("work")).to_have_text("1", timeout=PROCESS_MS)
    agent.button("Stop").click()
    now = agent.button("Stop now")
    expect(now).to_have_attribute("title", re.compile("End the drain at once"))
    now.click()
    agent.becomes("stopped")
    assert answer.result().status_code == 503
    happened(agent.page, "drains for at most 0 s: stop by dashboard")


def test_a_restart_changes_the_process_and_nothing_else(row: Callable[[str], Row]) -> None:
    agent = row("rolling").started()
    before = agent.pid()
    agent.live.evaluate(FOLLOW_STATES)
    agent.button("Restart").click()
    agent.changes_pid(before)
    expect(agent.cell("restarts")).to_contain_text(re.compile("^1exit 0"), timeout=PROCESS_MS)
    expect(agent.live.locator(".instances")).to_have_count(0)
    assert agent.page.evaluate("window.states") == ["running"]
    happened(agent.page, "dashboard asked rolling to restart")


def test_a_restart_with_the_old_one_first_is_had_from_the_menu(row: Callable[[str], Row]) -> None:
    agent = row("recreated").started()
    before = agent.pid()
    menu = agent.menu()
    menu.get_by_label("Reason, for the history (optional)").fill("a port of its own")
    menu.get_by_role("button", name="Restart, old one first").click()
    agent.changes_pid(before)
    agent.becomes("running").is_ready()
    expect(agent.cell("restarts")).to_contain_text("exit 0", timeout=PROCESS_MS)
    asked = agent.page.locator("#events .event", has_text="dashboard asked recreated to restart")
    expect(asked).to_contain_text("a port of its own")


def test_a_restart_that_fails_leaves_the_old_process_and_tells_why(
    manager: ManagerProcess, row: Callable[[str], Row], executing: Executing
) -> None:
    agent = row("fragile").started()
    before = agent.pid()
    (manager.directory / "fragile.py").write_text("import not_installed_here\n")
    agent.button("Restart").click()
    expect(agent.note).to_contain_text("the restart failed and the old process stays", timeout=PROCESS_MS)
    expect(agent.note).to_contain_text("not_installed_here")
    expect(agent.note).to_have_class(re.compile("tone-warn"))
    agent.becomes("running")
    assert agent.pid() == before
    expect(agent.page.locator("#health")).to_contain_text("fragile")
    happened(agent.page, "fragile: the restart failed and the old process stays")
    assert executing("fragile").result().json()["result"] == "it works"


def test_kill_asks_ends_the_process_and_keeps_the_reason(row: Callable[[str], Row]) -> None:
    agent = row("killed").started()
    menu = agent.menu()
    menu.get_by_label("Reason, for the history (optional)").fill("it loops")
    menu.get_by_text("Kill…").click()
    expect(menu).to_contain_text("The process of killed ends at once")
    menu.get_by_role("button", name="Kill now").click()
    agent.becomes("stopped")
    expect(agent.cell("restarts")).to_contain_text("signal 9")
    asked = agent.page.locator("#events .event", has_text="dashboard asked killed to kill")
    expect(asked).to_contain_text("it loops")


def test_an_agent_that_cannot_be_imported_is_failed_with_its_reason(row: Callable[[str], Row]) -> None:
    agent = row("broken")
    agent.button("Start").click()
    agent.becomes("failed")
    expect(agent.note).to_contain_text("no_such_module")
    expect(agent.note).to_contain_text("Correct entryPoint, install the package")
    expect(agent.page.locator("#summary")).to_contain_text("1 failed")
    expect(agent.page.locator("#verdict")).to_contain_text("attention")
    expect(agent.page).to_have_title(re.compile(r"^\(\d+!\) "))
    happened(agent.page, "broken is failed: ")
    expect(agent.button("Start")).to_be_enabled()


def test_typed_text_survives_the_restart_of_another_agent(row: Callable[[str], Row]) -> None:
    agent = row("typed").started()
    other = Row(agent.page, "other").started()
    before = other.pid()
    box = agent.menu().get_by_label("Reason, for the history (optional)")
    box.fill("half typed")
    # As from a second window: a click here would take the focus away.
    agent.page.evaluate("document.getElementById('restart-other').click()")
    other.changes_pid(before)
    expect(other.cell("restarts")).to_contain_text("exit 0", timeout=PROCESS_MS)
    assert box.input_value() == "half typed"
    expect(box).to_be_focused()
    agent.page.keyboard.type(", half not")
    agent.page.locator("#menu").get_by_role("button", name="Pause").click()
    agent.becomes("paused")
    asked = agent.page.locator("#events .event", has_text="dashboard asked typed to pause")
    expect(asked).to_contain_text("half typed, half not")


def test_an_agent_is_scaled_and_its_instances_are_told_one_by_one(
    manager: ManagerProcess, row: Callable[[str], Row]
) -> None:
    agent = row("several").started()
    scale(agent, 3)
    expect(agent.cell("reach")).to_contain_text("3/3 ready", timeout=PROCESS_MS)
    listed = agent.live.locator(".instances")
    expect(listed.locator("summary")).to_have_text("3 instances: 3 ready")
    listed.locator("summary").click()
    told = listed.locator("li").all_inner_texts()
    pids = [instance["pid"] for instance in manager.agent("several")["instances"]]
    assert len(told) == 3
    assert all(f"pid {pid}" in line for pid, line in zip(pids, told, strict=True))
    menu = agent.menu()
    menu.get_by_text("Kill…").click()
    expect(menu).to_contain_text("All 3 processes of several end at once")
    agent.page.keyboard.press("Escape")
    scale(agent, 1)
    agent.is_ready()
    expect(listed).to_have_count(0)


def scale(agent: Row, instances: int) -> None:
    menu = agent.menu()
    menu.get_by_label("Instances").fill(str(instances))
    menu.get_by_role("button", name="Scale").click()


def test_a_selection_is_started_and_stopped_together(row: Callable[[str], Row]) -> None:
    one = row("one")
    two = Row(one.page, "two")
    bar = one.page.get_by_role("form", name="Selected agents")
    for agent in (one, two):
        one.page.get_by_label(f"Select {agent.agent_id}", exact=True).check()
    bar.get_by_role("button", name="Start").click()
    expect(one.page.locator("#outcome-fleet")).to_have_text("Start accepted by 2 agents.")
    for agent in (one, two):
        agent.becomes("running").is_ready()
    bar.get_by_role("button", name="Stop").click()
    for agent in (one, two):
        agent.becomes("stopped")
    happened(one.page, "dashboard asked two to stop")


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
        agent.page.get_by_label("Filter agents").fill("on")
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
            assert agent.page.get_by_label("Filter agents").input_value() == "on"
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
            assert 'id="agent-one"' in client.get("/").text
