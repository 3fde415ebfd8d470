"""`inspect` and `doctor` against real processes: working, blocked, killed, and in each other's way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import Result
from typer.testing import CliRunner

from agent_service.cgroup import Cgroup, find_cgroups, instance_groups
from agent_service.forkserver.wire import Listing
from manager.cli.main import build_app
from manager.diagnosis.fork_servers import _asked
from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config

pytestmark = [pytest.mark.full, pytest.mark.timeout(180)]


def command(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), list(arguments))


def stacks(manager: ManagerProcess, agent_id: str) -> dict[str, Any]:
    (instance,) = manager.http.get(f"/api/agent-services/{agent_id}/stacks").json()["instances"]
    found: dict[str, Any] = instance
    return found


def findings(config: Path, *arguments: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit status of doctor, and by check each finding's level and message."""
    result = command("doctor", "--config", str(config), "--json", *arguments)
    found: dict[str, list[tuple[str, str]]] = {}
    for each in json.loads(result.stdout)["findings"]:
        found.setdefault(each["check"], []).append((each["level"], each["message"]))
    return result.exit_code, found


def test_a_working_agent_is_looked_into_without_being_stopped(tmp_path: Path) -> None:
    with running_manager(write_config(tmp_path, [{"id": "busy"}])) as manager, ThreadPoolExecutor(1) as pool:
        manager.wait_for("busy", "running")
        headers = {"X-Request-ID": "find-me-7"}
        url = "/api/agent-services/busy/execute"
        body = {"parameters": {"sleep_ms": 600_000}}
        answer = pool.submit(manager.http.post, url, json=body, headers=headers, timeout=180)
        until(lambda: stacks(manager, "busy")["tasks"][0]["task_id"], "the task is under way")
        found = stacks(manager, "busy")
        task = found["tasks"][0]
        assert (found["source"], task["request_id"], task["name"]) == (
            "adapter",
            "find-me-7",
            f"agent task {task['task_id']}",
        )
        assert task["age_seconds"] >= 0
        assert any(frame["file"].endswith("dummy.py") for frame in task["stack"])
        shown = command("--url", manager.url, "inspect", "busy")
        assert (shown.exit_code, "request find-me-7" in shown.stdout) == (0, True)
        assert not answer.done()
        manager.act("busy", "kill")
        assert answer.result().status_code == 502


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_an_agent_whose_loop_is_blocked_is_looked_into_by_a_signal(tmp_path: Path) -> None:
    with running_manager(write_config(tmp_path, [{"id": "stuck"}])) as manager, ThreadPoolExecutor(1) as pool:
        before = manager.wait_for("stuck", "running")
        answer = pool.submit(manager.execute, "stuck", block_ms=600_000)
        # Until the block has begun the process still answers by itself.
        found = until(lambda: (s := stacks(manager, "stuck"))["source"] == "signal" and s, "its loop is blocked")
        functions = [frame["function"] for thread in found["threads"] for frame in thread["stack"]]
        files = [frame["file"] for thread in found["threads"] for frame in thread["stack"]]
        assert functions, found
        assert any(file.endswith("dummy.py") for file in files)
        assert manager.agent("stuck")["pid"] == before["pid"]
        entries = manager.http.get("/api/agent-services/stuck/logs").json()["entries"]
        announced = [each["message"] for each in entries].index("Stacks of the unresponsive process")
        first = entries[announced + 1]
        assert (first["structured"], "most recent call first" in first["message"]) == (False, True)
        assert (first["at"], first["instance_id"]) == (entries[announced]["at"], before["instance_id"])
        manager.act("stuck", "kill")
        assert answer.result().status_code == 502


def test_a_foreign_program_is_a_sentence(tmp_path: Path) -> None:
    foreign = [sys.executable, str(Path(__file__).parent / "foreign_agent.py")]
    with running_manager(write_config(tmp_path, [{"id": "foreign", "command": foreign}])) as manager:
        manager.wait_for("foreign", "running")
        result = command("--url", manager.url, "inspect", "foreign")
        assert result.exit_code == 1
        assert "GET /stacks" in result.stdout


def test_doctor_beside_a_manager_and_after_it_was_killed(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        pid = manager.wait_for("one", "running")["pid"]
        _, found = findings(config)
        assert [level for level, _ in found["lock"]] == ["ok"]
        assert found["manager"][0] == ("ok", f"The manager at {manager.url} answers and is ready")
        assert "error" not in {level for check in found.values() for level, _ in check if check is not found["ports"]}
        manager.process.send_signal(signal.SIGKILL)
        manager.wait()
    try:
        _, found = findings(config)
        assert found["lock"][0][0] == "warning"
        assert found["leftovers"] == [("warning", f"Agents go on without a manager: one (pid {pid})")]
        assert found["database"][0][0] == "ok"
    finally:
        with running_manager(config) as manager:
            assert manager.wait_for("one", "running")["pid"] == pid
            assert manager.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="fork servers are for Linux")
def test_doctor_tells_a_fork_server_that_was_killed(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    path = tmp_path / ".state" / "forkserver" / "light.sock"
    with running_manager(config) as manager:
        manager.wait_for("one", "running")
        _, found = findings(config)
        assert ("ok", "light: it answers and looks after 1 process") in found["fork server"]
        assert isinstance(_asked(path), Listing)
        server = psutil.Process(psutil.Process(manager.agent("one")["pid"]).ppid())
        server.kill()
        until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the fork server is gone")
        _, found = findings(config)
        assert found["fork server"][0] == (
            "warning",
            f"light: it has ended without a word, so nobody listens at {path}",
        )


@pytest.mark.skipif(not find_cgroups().can_be, reason="this system delegates no cgroup to us")
def test_doctor_tells_of_a_cgroup_that_was_left_over_and_how_to_remove_it(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])

    def told(path: Path) -> list[tuple[str, str]]:
        found = json.loads(command("doctor", "--config", str(config), "--json").stdout)["findings"]
        return [(each["message"], each["remedy"]) for each in found if path.name in each["message"]]

    with running_manager(config) as manager:
        row = manager.wait_for("one", "running")
        path = instance_groups()[row["instance_id"]].path
        agent = psutil.Process(row["pid"])
        server = agent.parent()
        assert server is not None
        assert told(path) == []
        manager.process.send_signal(signal.SIGKILL)
        manager.wait()
        server.kill()
    try:
        # The next manager would take it back.
        assert told(path) == []
        shutil.rmtree(tmp_path / ".state")
        ((message, remedy),) = told(path)
        assert message.endswith(f"no manager looks after what lives in it: {agent.name()} (pid {agent.pid})")
        end, remove = re.findall("`(.+?)`", remedy)
        subprocess.run(end, shell=True, check=True)
        until(lambda: Cgroup(path).is_empty, "what lived in it has ended")
        # As if it had been left long ago.
        os.utime(path, (0, 0))
        ((message, _),) = told(path)
        assert "empty cgroup" in message
        subprocess.run(remove, shell=True, check=True)
        assert told(path) == []
    finally:
        with suppress(psutil.NoSuchProcess):
            agent.kill()


def test_doctor_tells_a_port_that_is_taken_and_by_whom(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = write_config(tmp_path, [{"id": "one", "port": port}])
        status, found = findings(config)
    assert status == 1
    (told,) = [message for level, message in found["ports"] if f"Port {port} " in message]
    assert f"is taken by {psutil.Process().name()} (pid {os.getpid()})" in told


def test_doctor_tells_of_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, found = findings(write_config(tmp_path, [], stateDirectory="file"))
    assert (status, found["state directory"]) == (1, [("error", f"{tmp_path / 'file'} is no directory")])
