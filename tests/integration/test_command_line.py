"""The command line beside a real manager: found without being told where, followed over its death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.manager_process import DEADLINE_SECONDS, ROOT, running_manager, until, write_config

pytestmark = pytest.mark.full

COMMAND = (sys.executable, "-c", "from manager.cli.main import main; main()")


def environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("AGENT_MANAGER_", "MANAGER_"))}
    return {**mine, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(
        command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )


class Follower:
    """What a command with `-f` has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.process = process
        self._readers = [
            threading.Thread(target=into.extend, args=(stream,), daemon=True)
            for into, stream in ((self.lines, process.stdout), (self.errors, process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def messages(self) -> list[str]:
        """Those of the events printed."""
        return [json.loads(line)["message"] for line in self.lines]


@contextmanager
def following(directory: Path, *arguments: str) -> Iterator[Follower]:
    command: Sequence[str] = [*COMMAND, *arguments, "-f", "--json"]
    process = subprocess.Popen(
        command, cwd=directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield Follower(process)
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a POSIX signal")
@pytest.mark.timeout(180)
def test_followed_events_survive_the_managers_death_and_its_new_address(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "echo"}])
    with running_manager(config) as first:
        first.wait_for("echo", "running")
        with following(tmp_path, "events") as follower:
            until(lambda: "echo is running" in follower.messages(), "the history is printed")
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            until(lambda: any("is away" in line for line in follower.errors), "the outage is told")
            with running_manager(config) as second:
                assert second.url != first.url
                second.act("echo", "pause")
                until(lambda: "echo is paused" in follower.messages(), "the next manager's events are printed")
                assert follower.errors[-1] == f"The manager at {second.url} is back.\n"
                ids = [json.loads(line)["id"] for line in follower.lines]
                history: list[dict[str, Any]] = second.http.get("/api/events", params={"limit": 1000}).json()["events"]
                assert ids == [event["id"] for event in history if event["id"] <= ids[-1]]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_a_manager_is_found_by_its_directory_and_a_deleted_log_is_made_anew(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "echo"}])
    path = tmp_path / "logs/echo.log"
    with running_manager(config) as manager:
        manager.wait_for("echo", "running")
        manager.execute("echo", log=1)
        assert "Dummy log line" in run(tmp_path, "logs", "echo").stdout
        path.unlink()
        until(path.exists, "the adapter has made its log anew")
        manager.execute("echo", log=2)
        told = run(tmp_path, "logs", "echo", "--text", "dummy log line")
        # What was written just before the deletion may have been saved.
        assert (told.returncode, told.stdout.count("Dummy log line") in (2, 3), told.stderr) == (0, True, "")
        assert manager.http.get("/api/agent-services/echo/logs").json()["note"] is None
