"""Acceptance: processes that do not speak the adapter API, and agents that depend on them."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.manager_process import ROOT, ManagerProcess, running_manager, until, write_config
from tests.integration.tasks import task_in_flight

SIDECAR = [sys.executable, str(ROOT / "tests" / "fixtures" / "sidecar.py")]
PROBE = {"http": "/health", "intervalSeconds": 0.1, "failures": 3}


def fleet(directory: Path) -> list[dict[str, Any]]:
    """An agent and the sidecar that it uses, which is listed after it."""
    env = {"JOURNAL": str(directory / "journal"), "SICK_FILE": str(directory / "sick")}
    return [
        {"id": "user", "entryPoint": "tests.fixtures.dependents:look", "dependsOn": ["the-tool"], "env": env},
        {"id": "the-tool", "command": [*SIDECAR, "a word"], "probe": PROBE, "env": env, "restart": {"maxCrashes": 50}},
    ]


def journal(directory: Path) -> list[str]:
    return (directory / "journal").read_text(encoding="utf-8").splitlines()


def refusal(manager: ManagerProcess, agent_id: str, what: str, body: dict[str, Any]) -> str:
    answer = manager.post(agent_id, what, body)
    assert answer.status_code == 409, answer.text
    return str(answer.json()["detail"])


def kill_manager(manager: ManagerProcess) -> None:
    """As kill -9 does it, but not before it has written down where all its processes answer."""
    database = f"file:{manager.directory / '.state' / 'manager.db'}?mode=ro"

    def is_written() -> bool:
        with closing(sqlite3.connect(database, uri=True)) as connection:
            return all(url for (url,) in connection.execute("select service_url from instances"))

    until(is_written, "every address is written down")
    manager.process.kill()
    manager.process.wait()


@pytest.mark.full
def test_an_agent_starts_after_its_sidecar_finds_it_and_drains_before_it(tmp_path: Path) -> None:
    (tmp_path / "sick").touch()
    token = {"MANAGER_TOKEN": "a-token"}
    with running_manager(write_config(tmp_path, fleet(tmp_path)), environment=token) as manager:
        until(lambda: (tmp_path / "journal").exists(), "the sidecar has been started")
        assert manager.agent("the-tool")["state"] == "starting", "its probe has not succeeded"
        row = manager.wait_for("user", "starting")
        assert row["state_reason"] == "waits for the-tool" and row["pid"] is None
        (tmp_path / "sick").unlink()
        tool = manager.wait_for("the-tool", "running")
        assert tool["sidecar"] and "pause" not in tool["actions"]
        manager.wait_for("user", "running")
        result = manager.execute("user").json()["result"]
        assert result["told"] == {"AGENT_DEPENDENCY_THE_TOOL_URL": tool["service_url"]}
        answer = json.loads(result["answer"])
        assert answer["words"] == ["a word"] and answer["pid"] == tool["pid"]
        assert not any("TOKEN" in name or name == "AGENT_MANAGER_URL" for name in answer["told"])
        with task_in_flight(manager, "user") as task:
            manager.process.send_signal(signal.SIGTERM)
            assert task.finish().status_code == 200, "the sidecar was there until the agent had drained"
        assert manager.wait() == 0
    assert journal(tmp_path)[-2:] == ["asked", "ended the-tool"]


@pytest.mark.full
def test_a_sidecar_takes_no_tasks_and_no_pause(tmp_path: Path) -> None:
    with running_manager(write_config(tmp_path, fleet(tmp_path)[1:])) as manager:
        manager.wait_for("the-tool", "running")
        assert "is a sidecar" in refusal(manager, "the-tool", "execute", {"parameters": {}})
        assert "cannot be paused" in refusal(manager, "the-tool", "action", {"action": "pause"})
        assert "one process" in refusal(manager, "the-tool", "action", {"action": "scale", "instances": 2})
        answer = manager.http.get("/api/agent-services/the-tool/info")
        assert answer.status_code == 409 and "has no adapter" in answer.json()["detail"]
        first = manager.agent("the-tool")
        manager.act("the-tool", "restart")
        until(lambda: manager.agent("the-tool")["pid"] not in (None, first["pid"]), "it has been restarted")
        assert manager.wait_for("the-tool", "running")["service_url"] == first["service_url"]
        manager.act("the-tool", "stop")
        manager.wait_for("the-tool", "stopped")
        assert manager.stop() == 0


@pytest.mark.full
def test_a_sidecar_that_fails_its_probe_is_restarted_and_its_user_goes_on(tmp_path: Path) -> None:
    with running_manager(write_config(tmp_path, fleet(tmp_path))) as manager:
        user = manager.wait_for("user", "running")
        tool = manager.agent("the-tool")
        (tmp_path / "sick").touch()
        until(lambda: manager.agent("the-tool")["restarts"], "it has been killed and started again")
        (tmp_path / "sick").unlink()
        assert manager.wait_for("the-tool", "running")["pid"] != tool["pid"]
        kinds = [event["kind"] for event in manager.events("the-tool")]
        assert kinds.index("heartbeat_missed") < kinds.index("restart_scheduled")
        exits = [event for event in manager.events("the-tool") if event["kind"] == "instance_exited"]
        assert "did not answer its probe" in exits[0]["message"]
        psutil.Process(manager.agent("the-tool")["pid"]).kill()
        until(lambda: manager.agent("the-tool")["restarts"] == 2, "it has been started again after a crash")
        manager.wait_for("the-tool", "running")
        assert manager.agent("user")["pid"] == user["pid"], "the agent went on"
        assert json.loads(manager.execute("user").json()["result"]["answer"])["pid"] != tool["pid"]
        assert manager.stop() == 0


@pytest.mark.full
def test_a_sidecar_whose_port_a_stranger_takes_moves_and_its_users_find_it(tmp_path: Path) -> None:
    agents = fleet(tmp_path)
    model = {"provider": "openai", "model": "m", "base_url": "http://{sidecar:the-tool}/v1", "retries": 0}
    talker = {"id": "talker", "entryPoint": "react", "definition": {"behavior": {"model_parameters": model}}}
    agents.append({**talker, "dependsOn": ["the-tool"]})
    with running_manager(write_config(tmp_path, agents)) as manager:
        user, talking = (manager.wait_for(agent_id, "running") for agent_id in ("user", "talker"))
        before = manager.agent("the-tool")["service_url"]
        manager.act("the-tool", "stop")
        manager.wait_for("the-tool", "stopped")
        with closing(stranger_at(before)) as stranger:
            manager.act("the-tool", "start")
            after = manager.wait_for("the-tool", "running")["service_url"]
            assert after != before
            until(lambda: manager.agent("user")["pid"] not in (None, user["pid"]), "its user has been replaced")
            manager.wait_for("user", "running")
            result = manager.execute("user").json()["result"]
            assert result["told"] == {"AGENT_DEPENDENCY_THE_TOOL_URL": after}
            assert json.loads(result["answer"])["pid"] == manager.agent("the-tool")["pid"]
            until(lambda: told_address(manager) == f"{after}/v1", "the agent from data has been told")
            assert manager.agent("talker")["pid"] == talking["pid"], "and goes on"
            with pytest.raises(BlockingIOError):
                stranger.accept()
        (moved,) = [event for event in manager.events("the-tool") if event["kind"] == "sidecar_moved"]
        assert moved["data"] == {"address": after.removeprefix("http://"), "before": before.removeprefix("http://")}
        assert moved["message"] in manager.output
        assert manager.stop() == 0


def stranger_at(url: str) -> socket.socket:
    """Somebody else's listener, which answers nobody."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(url.rpartition(":")[2])))
    listener.listen()
    listener.setblocking(False)
    return listener


def told_address(manager: ManagerProcess) -> str:
    """Where the agent from data looks for its model."""
    info = manager.http.get("/api/agent-services/talker/info").json()
    return str(info["definition"]["model"]["base_url"])


@pytest.mark.full
def test_the_next_manager_takes_both_back(tmp_path: Path) -> None:
    config = write_config(tmp_path, fleet(tmp_path))
    with running_manager(config) as manager:
        user = manager.wait_for("user", "running")
        tool = manager.agent("the-tool")
        kill_manager(manager)
    with running_manager(config) as manager:
        for agent_id, before in (("the-tool", tool), ("user", user)):
            row = manager.wait_for(agent_id, "running")
            assert (row["pid"], row["service_url"]) == (before["pid"], before["service_url"])
        assert manager.execute("user").status_code == 200
        assert manager.stop() == 0
    assert not psutil.pid_exists(tool["pid"])


@pytest.mark.full
def test_the_manager_does_not_wait_for_what_waits_in_vain(tmp_path: Path) -> None:
    agents = [{"id": "last", "dependsOn": ["middle"]}, {"id": "middle", "dependsOn": ["first"]}]
    config = write_config(tmp_path, [*agents, {"id": "first", "autostart": False}])
    with running_manager(config) as manager:
        until(lambda: any("0 of 2 agents ready" in line for line in manager.output), "it says how the fleet stands")
        reason = "waits for middle, which waits for first, which is stopped"
        assert manager.agent("last")["state_reason"] == reason
        manager.act("first", "start")
        manager.wait_for("last", "running")
        assert manager.stop() == 0


@pytest.mark.full
def test_in_dummy_mode_nothing_of_a_sidecar_is_run(tmp_path: Path) -> None:
    agents = fleet(tmp_path)
    agents[0] |= {"entryPoint": "react", "requiresExtra": "google", "definition": DEFINITION}
    with running_manager(write_config(tmp_path, agents), "--dummy") as manager:
        for agent_id in ("user", "the-tool"):
            manager.wait_for(agent_id, "running")
            assert manager.execute(agent_id, hello=1).json()["result"] == {"echo": {"hello": 1}}
        assert manager.stop() == 0
    assert not (tmp_path / "journal").exists()


DEFINITION = {"behavior": {"model_parameters": {"provider": "openai", "model": "m", "api_key": "env:NO_SUCH_KEY"}}}
