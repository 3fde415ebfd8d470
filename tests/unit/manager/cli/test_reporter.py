from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from manager.cli.reporter import DRAIN_REPEAT_SECONDS, ConsoleReporter
from manager.events import Event, EventKind

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
URL = "http://127.0.0.1:8000"


class Reporter:
    """The reporter under test and what it has said since it was last asked."""

    def __init__(self, clock: Any) -> None:
        self._file = io.StringIO()
        console = Console(file=self._file, width=40, highlight=False, markup=False, emoji=False)
        self.reporter = ConsoleReporter(console, clock, directory=Path("/project"), expected_url=URL)

    def said(self) -> str:
        text = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return text

    def state(self, view: Any) -> str:
        self.reporter.event(Event(1, NOW, EventKind.STATE_CHANGED, "unused", agent_id=view.id), view)
        return self.said()


@pytest.fixture
def reporter(cli: Any) -> Reporter:
    return Reporter(cli.clock)


def test_starting_names_version_address_and_config(reporter: Reporter) -> None:
    reporter.reporter.starting(URL, Path("/project/config/agents.config.json"), 3)
    first = reporter.said()
    assert first.startswith("agent-manager ")
    assert first.endswith(f" at {URL}, 3 agents from {Path('config/agents.config.json')}\n")
    reporter.reporter.starting(URL, Path("/elsewhere/a.json"), 1)
    assert reporter.said().endswith(f"1 agent from {Path('/elsewhere/a.json')}\n")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"started_at": "2026-01-02T11:59:59.600Z"}, "planner ready in 400 ms (pid 123, port 8100)"),
        ({"started_at": None}, "planner ready (pid 123, port 8100)"),
        ({"managed": False, "pid": None}, "planner ready at http://127.0.0.1:8100, started elsewhere"),
        ({"state": "paused"}, "planner paused"),
        ({"state": "stopping"}, "planner draining"),
        ({"state": "stopped"}, "planner stopped"),
        ({"state": "failed", "state_reason": "no such module"}, "planner failed: no such module"),
        ({"state": "unresponsive"}, "planner unresponsive"),
        ({"state": "lost", "state_reason": "its heartbeats have stopped"}, "planner lost: its heartbeats have stopped"),
        (
            {"state": "backoff", "state_reason": "killed by signal 9", "next_start_at": "2026-01-02T12:00:02Z"},
            "planner crashed: killed by signal 9; starts again in 2.0 s",
        ),
    ],
)
def test_each_state_has_its_line(reporter: Reporter, make: Any, changes: dict[str, Any], line: str) -> None:
    assert reporter.state(make.view(**changes)) == line + "\n"


def test_starting_agents_are_no_news(reporter: Reporter, make: Any) -> None:
    assert reporter.state(make.view(state="starting")) == ""


def test_ready_is_said_once_of_each_instance(reporter: Reporter, make: Any) -> None:
    assert "ready in" in reporter.state(make.view())
    assert reporter.state(make.view()) == "planner running\n"
    assert "ready in" in reporter.state(make.view(instance_id="two"))


def test_an_instance_that_joins_the_others_has_its_line(reporter: Reporter, make: Any) -> None:
    def registered(view: Any) -> str:
        reporter.reporter.event(Event(1, NOW, EventKind.INSTANCE_REGISTERED, "unused", agent_id=view.id), view)
        return reporter.said()

    one, two = make.instance("one"), make.instance("two", pid=456, service_url="http://127.0.0.1:8101")
    assert registered(make.view(state="starting", instances=[one])) == ""
    assert reporter.state(make.view(instances=[one])).endswith("(pid 123, port 8100)\n")
    assert registered(make.view(instances=[one, two])) == "planner ready in 60 s (pid 456, port 8101)\n"
    assert registered(make.view(instances=[one, two])) == ""


def test_instances_that_share_the_agent_s_own_port_are_said_to_be_there(reporter: Reporter, make: Any) -> None:
    one = make.instance("one", service_url="http://127.0.0.1:44371")
    two = make.instance("two", pid=456, service_url="http://127.0.0.1:44372")
    said = reporter.state(make.view(service_url="http://127.0.0.1:8100", instances=[one, two]))
    assert said == "planner ready in 60 s (pid 123, port 8100)\nplanner ready in 60 s (pid 456, port 8100)\n"


def test_an_instance_that_was_taken_back_is_not_said_to_have_taken_so_long(reporter: Reporter, make: Any) -> None:
    adopted = Event(1, NOW, EventKind.INSTANCE_ADOPTED, "taken back", agent_id="planner", instance_id="one")
    reporter.reporter.event(adopted, make.view(state="starting"))
    assert reporter.said() == "taken back\n"
    assert reporter.state(make.view()) == "planner running\n"
    reporter.reporter.ready(URL, 1, 1)
    assert "execute planner" in reporter.said()


def test_with_no_agent_to_run_no_figures_are_made_up(reporter: Reporter) -> None:
    reporter.reporter.ready(URL, 0, 0)
    assert reporter.said().startswith("No agent is to run now; `start` starts one\n")


def test_a_reason_cannot_drive_the_terminal(reporter: Reporter, make: Any) -> None:
    assert "\x1b" not in reporter.state(make.view(state="failed", state_reason="\x1b[2J"))


@pytest.mark.parametrize("kind", list(EventKind))
def test_other_events_are_said_only_where_no_state_tells_them(reporter: Reporter, make: Any, kind: EventKind) -> None:
    reporter.reporter.event(Event(1, NOW, kind, "what happened"), None)
    spoken = {
        EventKind.INSTANCE_ADOPTED,
        EventKind.DRAIN_TIMED_OUT,
        EventKind.CONFIG_RELOADED,
        EventKind.CONFIG_REJECTED,
        EventKind.ROLLOUT_FAILED,
        EventKind.DEFINITION_REFUSED,
        EventKind.SIDECAR_MOVED,
    }
    assert reporter.said() == ("what happened\n" if kind in spoken else "")


@pytest.mark.parametrize(
    ("entry_point", "parameters"), [("react", """'{"input": "Say hello."}'"""), ("some:graph", "'{}'")]
)
def test_what_to_try_is_an_agent_and_never_a_sidecar(
    reporter: Reporter, make: Any, entry_point: str, parameters: str
) -> None:
    reporter.state(make.view(id="llm", entry_point=None, sidecar=True))
    reporter.state(make.view(id="assistant", entry_point=entry_point))
    reporter.said()
    reporter.reporter.ready(URL, 2, 2)
    assert f"execute assistant {parameters}\n" in reporter.said()


def test_ready_shows_dashboard_and_commands_that_work(reporter: Reporter, make: Any) -> None:
    reporter.state(make.view(id="planner", entry_point="some:graph"))
    reporter.state(make.view(id="echo", entry_point="dummy"))
    reporter.state(make.view(id="executor", entry_point="some:graph"))
    reporter.reporter.ready(URL, 2, 3)
    lines = [line.strip() for line in reporter.said().splitlines()]
    assert lines[0] == "2 of 3 agents ready"
    assert lines[1].split() == ["Dashboard", f"{URL}/"]
    assert lines[2].split(maxsplit=1) == ["Try", """agent-manager execute echo '{"hello": "world"}'"""]
    assert lines[3:5] == ["agent-manager ps", "agent-manager logs -f"]


def test_a_manager_elsewhere_than_expected_is_named_in_the_commands(reporter: Reporter) -> None:
    reporter.reporter.ready("http://127.0.0.1:9", 0, 0)
    assert "agent-manager --url http://127.0.0.1:9 ps" in reporter.said()


def test_without_a_ready_agent_there_is_nothing_to_execute(reporter: Reporter) -> None:
    reporter.reporter.ready(URL, 0, 1)
    assert "execute" not in reporter.said()


def test_draining_is_said_when_it_changes_and_now_and_then(reporter: Reporter, make: Any, cli: Any) -> None:
    def draining(left: int) -> str:
        deadline = "2026-01-02T12:00:27Z"
        busy = make.view(state="stopping", in_flight=left, drain_deadline=deadline)
        reporter.reporter.draining([busy, make.view(id="echo", state="stopped")])
        return reporter.said()

    assert draining(2) == "draining: planner 2 left, 27 s; Ctrl-C again ends them at once\n"
    assert draining(2) == ""
    cli.clock.sleep(1)
    assert draining(1) == "draining: planner 1 left, 26 s; Ctrl-C again ends them at once\n"
    cli.clock.sleep(DRAIN_REPEAT_SECONDS)
    assert draining(1) == "draining: planner 1 left, 21 s; Ctrl-C again ends them at once\n"


def test_with_nobody_draining_nothing_is_said(reporter: Reporter, make: Any) -> None:
    reporter.reporter.draining([make.view(state="stopped")])
    assert reporter.said() == ""


def test_stopped_is_the_last_word(reporter: Reporter) -> None:
    reporter.reporter.stopped()
    assert reporter.said() == "All agents have ended, and so has the manager\n"
