"""Acceptance: what becomes of a fleet when its manager starts, stops, dies, or should not have started at all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from tests.fixtures.gate import Gate
from tests.integration.manager_process import COMMAND, DEADLINE_SECONDS, ROOT, running_manager, until, write_config
from tests.integration.tasks import task_in_flight

TWO = [{"id": "one"}, {"id": "two", "autostart": False}]


def has_ended(pid: int) -> bool:
    """Whether no process of that number runs; one whose parent has not collected its status has ended too."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def run_up(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        cwd=ROOT,
        check=False,
    )


def test_ctrl_c_drains_every_agent_and_shows_who_is_busy(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "busy"}, {"id": "idle"}])
    with running_manager(config) as manager:
        manager.wait_for("busy", "running")
        pid = manager.wait_for("idle", "running")["pid"]
        with task_in_flight(manager, "busy") as task:
            manager.process.send_signal(signal.SIGINT)
            until(lambda: any("Ctrl-C again" in line for line in manager.output), "the drain is shown")
            assert task.finish().status_code == 200, "a drain really drains"
        assert manager.wait() == 0
    assert not psutil.pid_exists(pid)
    assert any(line.startswith("draining: busy") and "Ctrl-C again" in line for line in manager.output)


@pytest.mark.full
def test_a_second_ctrl_c_ends_busy_agents_at_once(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "busy", "drainTimeoutSeconds": 600}])
    with running_manager(config) as manager:
        manager.wait_for("busy", "running")
        with task_in_flight(manager, "busy") as task:
            manager.process.send_signal(signal.SIGINT)
            until(lambda: any("Ctrl-C again" in line for line in manager.output), "the drain is shown")
            manager.process.send_signal(signal.SIGINT)
            assert manager.wait() == 0
            assert task.answer.exception() is not None or task.answer.result().status_code in (502, 503)


@pytest.mark.full
def test_desired_states_survive_a_restart_of_the_manager(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}, {"id": "two"}, {"id": "three", "autostart": False}])
    with running_manager(config) as manager:
        for agent in ("one", "two"):
            manager.wait_for(agent, "running")
        manager.act("one", "pause")
        manager.act("two", "stop")
        manager.start("three")
        manager.wait_for("two", "stopped")
        newest = manager.events("one")[-1]["id"]
        assert manager.stop() == 0
    with running_manager(config) as manager:
        assert manager.wait_for("one", "paused")["desired_state"] == "paused"
        assert manager.wait_for("three", "running")["desired_state"] == "running"
        assert manager.agent("two")["state"] == "stopped"
        ids = [event["id"] for event in manager.events("one")]
        assert newest in ids and ids == sorted(set(ids)), "the history goes on where it was"


def test_a_manager_that_was_killed_finds_its_agents_still_serving_and_takes_them_back(tmp_path: Path) -> None:
    config = write_config(tmp_path, TWO)
    with running_manager(config) as manager:
        before = manager.wait_for("one", "running")
        manager.process.kill()
        manager.wait()
        assert httpx.get(f"{before['service_url']}/health").json() == {"status": "ok"}
        with running_manager(config) as successor:
            after = successor.wait_for("one", "running")
            assert (after["pid"], after["instance_id"]) == (before["pid"], before["instance_id"])
            assert successor.execute("one", still="here").status_code == 200
            assert successor.url != manager.url
            until(
                lambda: successor.agent("one")["last_heartbeat_at"] > after["last_heartbeat_at"],
                "it reports to the new manager's address",
            )
            os.kill(after["pid"], signal.SIGKILL)
            until(lambda: successor.agent("one")["pid"] not in (None, after["pid"]), "an adopted agent's end is seen")
            successor.wait_for("one", "running")


@pytest.mark.full
def test_a_drain_that_was_under_way_goes_on_by_its_deadline_under_the_next_manager(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager, ThreadPoolExecutor(1) as pool, Gate() as gate:
        url = manager.wait_for("one", "running")["service_url"]
        # Asked directly: through the manager it would end with it.
        answer = pool.submit(httpx.post, f"{url}/execute", json={"parameters": gate.parameters}, timeout=None)
        until(lambda: httpx.get(f"{url}/status").json()["in_flight"] == 1, "the task is in flight")
        deadline = datetime.fromisoformat(manager.act("one", "stop", timeout_seconds=600)["drain_deadline"])
        until(lambda: httpx.get(f"{url}/status").json()["status"] == "stopping", "the adapter knows")
        manager.process.kill()
        manager.wait()
        with running_manager(config) as successor:
            row = successor.wait_for("one", "stopping")
            assert abs(datetime.fromisoformat(row["drain_deadline"]) - deadline) < timedelta(seconds=1)
            assert datetime.fromisoformat(row["stop_deadline"]) > deadline
            gate.open()
            assert answer.result().status_code == 200, "a drain really drains"
            assert successor.wait_for("one", "stopped")["last_exit"]["code"] == 0


@pytest.mark.full
def test_agents_that_died_while_no_manager_ran_are_started_anew(tmp_path: Path) -> None:
    config = write_config(tmp_path, TWO)
    with running_manager(config) as manager:
        before = manager.wait_for("one", "running")
        manager.process.kill()
        manager.wait()
        os.kill(before["pid"], signal.SIGKILL)
        with running_manager(config) as successor:
            assert successor.wait_for("one", "running")["pid"] != before["pid"]
            exits = [event for event in successor.events("one") if event["kind"] == "instance_exited"]
            assert exits and exits[-1]["data"]["pid"] == before["pid"]


def test_a_second_manager_on_the_same_state_directory_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, TWO)
    with running_manager(config) as manager:
        refused = run_up(config, "--port", "0")
        assert refused.returncode == 1
        assert str(manager.process.pid) in refused.stderr and manager.url in refused.stderr
        assert manager.http.get("/ready").status_code == 200


@pytest.mark.full
def test_a_port_in_use_is_said_before_any_agent_starts(tmp_path: Path) -> None:
    config = write_config(tmp_path, TWO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run_up(config, "--port", str(port))
    assert refused.returncode == 1
    assert str(port) in refused.stderr and "in use" in refused.stderr
    assert not (tmp_path / "logs" / "one.log").exists()


@pytest.mark.full
def test_an_agents_port_in_use_is_told_and_taken_as_soon_as_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write_config(tmp_path, [{"id": "one", "port": port}])
        with running_manager(config) as manager:
            row = manager.wait_for("one", "backoff")
            assert str(port) in row["state_reason"] and "in use" in row["state_reason"]
            assert row["next_start_at"] is not None
            taken.close()
            assert manager.wait_for("one", "running")["state_reason"] is None
            assert httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "ok"}


@pytest.mark.full
def test_an_entry_point_that_cannot_be_imported_fails_once_and_says_why(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "broken", "entryPoint": "no_such_module:agent"}])
    with running_manager(config) as manager:
        row = manager.wait_for("broken", "failed")
        assert row["restarts"] == 0 and row["last_exit"]["code"] == 78
        assert "no_such_module" in row["state_reason"]
        assert "no_such_module" in manager.log("broken")
        assert "no_such_module" in manager.http.get("/").text
        assert manager.execute("broken").status_code == 503
        assert any("broken failed" in line and "no_such_module" in line for line in manager.output)


@pytest.mark.full
def test_a_reference_that_vanished_fails_the_start_and_names_agent_and_key(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("s3cret\n")
    config = write_config(tmp_path, [{"id": "keyed", "autostart": False, "env": {"TEAM_KEY": "file:key.txt"}}])
    with running_manager(config) as manager:
        manager.start("keyed")
        manager.act("keyed", "stop")
        manager.wait_for("keyed", "stopped")
        (tmp_path / "key.txt").unlink()
        manager.act("keyed", "start")
        row = manager.wait_for("keyed", "failed")
        assert "keyed" in row["state_reason"] and "TEAM_KEY" in row["state_reason"]
        assert "s3cret" not in manager.http.get("/api/agent-services/keyed").text


@pytest.mark.full
def test_any_program_that_speaks_the_adapter_api_can_be_an_agent(tmp_path: Path) -> None:
    program = ROOT / "tests" / "integration" / "foreign_agent.py"
    config = write_config(tmp_path, [{"id": "foreign", "command": [sys.executable, str(program)]}])
    with running_manager(config) as manager:
        manager.wait_for("foreign", "running")
        assert manager.execute("foreign", a=1).json()["result"] == {"foreign": {"a": 1}}
        assert "a line from a foreign agent" in manager.log("foreign")
        manager.act("foreign", "stop")
        assert manager.wait_for("foreign", "stopped")["last_exit"]["code"] == 0


@pytest.mark.full
def test_an_agent_started_by_hand_registers_and_can_be_driven(tmp_path: Path) -> None:
    config = write_config(tmp_path, [])
    with running_manager(config) as manager:
        command = [sys.executable, "-m", "agent_service", "--id", "guest", "--port", "0", "--manager-url", manager.url]
        guest = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(
                lambda: any(row["id"] == "guest" for row in manager.http.get("/api/agent-services").json()["agents"]),
                "the guest registers",
            )
            manager.wait_for("guest", "running")
            assert manager.execute("guest", hi=1).json()["result"] == {"echo": {"hi": 1}}
            assert manager.act("guest", "pause")["state"] == "paused"
            assert manager.execute("guest").status_code == 409
            manager.act("guest", "resume")
            assert manager.execute("guest").status_code == 200
            assert manager.post("guest", "action", {"action": "kill"}).status_code == 409
            with task_in_flight(manager, "guest") as task:
                manager.act("guest", "stop")
                assert task.finish().status_code == 200
            assert guest.wait(DEADLINE_SECONDS) == 0
            until(lambda: manager.http.get("/api/agent-services").json()["agents"] == [], "the guest has gone")
        finally:
            guest.kill()
            guest.wait()


@pytest.mark.full
def test_an_agent_from_elsewhere_that_falls_silent_is_lost(tmp_path: Path) -> None:
    config = write_config(tmp_path, [], heartbeatIntervalSeconds=0.2, heartbeatTtlSeconds=1)
    with running_manager(config) as manager:
        registration = {"id": "ghost", "instanceId": "g1", "serviceUrl": "http://127.0.0.1:9", "metadata": {"k": 1}}
        answer = manager.http.post("/api/agent-services/register", json=registration)
        assert answer.json() == {"heartbeat_interval_seconds": 0.2, "heartbeat_ttl_seconds": 1.0}
        manager.wait_for("ghost", "running")
        row = manager.wait_for("ghost", "lost")
        assert row["ready"] is False and row["metadata"] == {"k": 1}
        assert manager.execute("ghost").status_code == 503


@pytest.mark.full
def test_an_agent_whose_loop_is_blocked_is_unresponsive_until_it_answers_again(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "stuck"}], heartbeatIntervalSeconds=0.5, heartbeatTtlSeconds=4)
    with running_manager(config) as manager:
        manager.wait_for("stuck", "running")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(manager.execute, "stuck", block_ms=5500)
            manager.wait_for("stuck", "unresponsive")
            assert answer.result().status_code == 200
        manager.wait_for("stuck", "running")
        assert manager.agent("stuck")["restarts"] == 0
        assert "dummy.py" in manager.log("stuck"), "its stacks are in its log"


@pytest.mark.full
def test_an_agent_that_stays_unresponsive_is_replaced(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "stuck"}], heartbeatIntervalSeconds=0.2, heartbeatTtlSeconds=1)
    with running_manager(config) as manager:
        before = manager.wait_for("stuck", "running")
        assert manager.execute("stuck", block_ms=600_000).status_code == 502
        row = until(
            lambda: (r := manager.agent("stuck"))["pid"] not in (None, before["pid"]) and r["ready"] and r, "a new one"
        )
        assert "did not answer" in row["last_exit"]["reason"] and row["last_exit"]["signal"] == 9


@pytest.mark.full
def test_an_agent_that_holds_too_much_memory_is_replaced_with_the_reason(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "greedy", "limits": {"memory_mb": 200}}])
    with running_manager(config) as manager:
        before = manager.wait_for("greedy", "running")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(manager.execute, "greedy", allocate_mb=400, sleep_ms=60_000)
            row = until(
                lambda: (r := manager.agent("greedy"))["pid"] not in (None, before["pid"]) and r, "it is replaced"
            )
            assert answer.result().status_code == 502
        assert "over its limit of 200 MiB" in row["last_exit"]["reason"]


@pytest.mark.full
def test_a_manager_that_leaves_its_agents_can_be_upgraded_without_downtime(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}, {"id": "two"}])
    with running_manager(config) as manager:
        before = {agent: manager.wait_for(agent, "running") for agent in ("one", "two")}
        manager.act("two", "pause")
        answer = manager.http.post("/api/manager/shutdown", json={"leave_agents": True})
        assert answer.status_code == 202
        assert manager.wait() == 0
        assert httpx.get(f"{before['one']['service_url']}/status").json()["status"] == "running"
        with running_manager(config) as successor:
            for agent, state in (("one", "running"), ("two", "paused")):
                row = successor.wait_for(agent, state)
                assert (row["pid"], row["restarts"]) == (before[agent]["pid"], 0)
            assert successor.execute("one").status_code == 200
            assert successor.stop() == 0
    assert all(has_ended(before[agent]["pid"]) for agent in before)
