from __future__ import annotations

from typing import Any

import psutil
import pytest

LIST = "GET /api/agent-services"
SHUTDOWN = "POST /api/manager/shutdown"


class FakeProcess:
    """Ends at the `polls`-th look at it."""

    def __init__(self, polls: int, ends_as: str = "gone") -> None:
        self._polls = polls
        self._ends_as = ends_as

    def is_running(self) -> bool:
        self._polls -= 1
        return self._polls > 0 or self._ends_as == "zombie"

    def status(self) -> str:
        return psutil.STATUS_RUNNING if self._polls > 0 else psutil.STATUS_ZOMBIE


def test_down_waits_until_nobody_answers_and_says_who_is_busy(cli: Any, make: Any) -> None:
    busy = make.row(state="stopping", in_flight=1, drain_deadline="2026-01-02T12:00:30Z")
    cli.manager.on(SHUTDOWN, {"status": "stopping"})
    cli.manager.on(LIST, make.listing(make.row(), busy), make.problem(503, "Stopping."), make.refuse_connection)
    result = cli("down")
    assert (result.exit_code, result.stderr) == (0, "planner: draining: 1 left, 30 s\n")
    assert result.stdout == "The manager at http://127.0.0.1:8000 has ended after 400 ms\n"


@pytest.mark.parametrize("ends_as", ["gone", "zombie"])
def test_down_waits_for_the_process_as_well(cli: Any, make: Any, monkeypatch: pytest.MonkeyPatch, ends_as: str) -> None:
    monkeypatch.setattr(psutil, "Process", lambda pid: {7: FakeProcess(5, ends_as)}[pid])
    cli.manager.on(SHUTDOWN, {"pid": 7})
    cli.manager.on(LIST, make.refuse_connection)
    result = cli("down")
    assert (result.exit_code, cli.clock.sleeps) == (0, 3)


def test_a_successor_at_the_same_address_is_not_waited_for(
    cli: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "Process", lambda pid: FakeProcess(3))
    cli.manager.on(SHUTDOWN, {"pid": 7})
    cli.manager.on(LIST, make.listing(make.row()))
    assert cli("down").exit_code == 0


def test_a_process_that_cannot_be_seen_is_not_waited_for(cli: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(psutil, "Process", hidden)
    cli.manager.on(SHUTDOWN, {"pid": 7})
    cli.manager.on(LIST, make.refuse_connection)
    assert (cli("down").exit_code, cli.clock.sleeps) == (0, 0)


def test_a_pid_on_another_machine_means_nothing_here(cli: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "Process", lambda pid: pytest.fail("looked at a process of this machine"))
    cli.manager.on(SHUTDOWN, {"pid": 7})
    cli.manager.on(LIST, make.refuse_connection)
    assert cli("down", "--url", "http://elsewhere.example:8000").exit_code == 0


def test_down_without_a_manager_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(SHUTDOWN, make.refuse_connection)
    result = cli("down")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("No manager answers at http://127.0.0.1:8000;")
