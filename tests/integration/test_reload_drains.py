"""Acceptance: a reload cuts no drain short, and nothing that waits for one is forgotten."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.integration.manager_process import running_manager, until, write_config
from tests.integration.tasks import task_in_flight
from tests.integration.test_reload import reload

pytestmark = pytest.mark.full


def processes_of(directory: Path) -> list[int]:
    """Those that were told of a file below `directory`, such as their log."""
    return [process.pid for process in psutil.process_iter() if str(directory) in told(process)]


def told(process: psutil.Process) -> str:
    try:
        return " ".join(process.environ().values()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""


def test_an_agent_stopped_by_a_person_keeps_its_drain_when_its_config_changes_meanwhile(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        manager.wait_for("one", "running")
        with task_in_flight(manager, "one") as task:
            deadline = manager.act("one", "stop")["drain_deadline"]
            write_config(tmp_path, [{"id": "one", "maxQueue": 1}])
            reload(manager)
            assert manager.agent("one")["drain_deadline"] == deadline
            assert task.finish().status_code == 200, "a drain really drains"
        assert manager.wait_for("one", "stopped")["desired_state"] == "stopped"


def test_an_agent_that_is_to_come_back_does_not_when_the_manager_stops_first(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        manager.wait_for("one", "running")
        with task_in_flight(manager, "one") as task:
            write_config(tmp_path, [])
            reload(manager)
            write_config(tmp_path, [{"id": "one"}])
            reload(manager)
            manager.process.send_signal(signal.SIGTERM)
            assert task.finish().status_code == 200, "a drain really drains"
            assert manager.wait() == 0
    until(lambda: processes_of(tmp_path) == [], "nothing that the manager started is left")


def test_an_agent_that_was_stopped_by_a_person_and_comes_back_to_the_config_stays_stopped(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        manager.wait_for("one", "running")
        manager.act("one", "stop")
        manager.wait_for("one", "stopped")
        write_config(tmp_path, [])
        reload(manager)
        until(lambda: manager.http.get("/api/agent-services").json()["agents"] == [], "it has left")
        write_config(tmp_path, [{"id": "one"}])
        reload(manager)
        row = manager.agent("one")
        assert (row["state"], row["desired_state"], row["instances"]) == ("stopped", "stopped", [])
