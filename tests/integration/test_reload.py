"""Acceptance: a changed config reaches a running fleet, with real processes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.manager_process import (
    COMMAND,
    DEADLINE_SECONDS,
    ROOT,
    ManagerProcess,
    running_manager,
    until,
    write_config,
)
from tests.integration.tasks import task_in_flight


def reload(manager: ManagerProcess) -> dict[str, Any]:
    """What a reload that must be accepted has changed."""
    answer = manager.http.post("/api/config/reload")
    assert answer.status_code == 202, answer.text
    changes: dict[str, Any] = answer.json()
    return changes


def ids(manager: ManagerProcess) -> list[str]:
    return [row["id"] for row in manager.http.get("/api/agent-services").json()["agents"]]


def wait_for_newcomer(manager: ManagerProcess, agent_id: str) -> None:
    """Until an agent is listed and running."""
    until(lambda: agent_id in ids(manager), f"{agent_id} is listed")
    manager.wait_for(agent_id, "running")


def config_events(manager: ManagerProcess) -> list[dict[str, Any]]:
    events = manager.http.get("/api/events", params={"limit": 1000}).json()["events"]
    return [event for event in events if event["kind"].startswith("config_")]


def run(manager: ManagerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line against this manager."""
    return subprocess.run(
        [*COMMAND[:-1], "--url", manager.url, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        cwd=ROOT,
        check=False,
    )


def test_agents_come_go_change_and_restart_as_their_change_needs(tmp_path: Path) -> None:
    env = {"env": {"GREETING": "hello"}}
    config = write_config(tmp_path, [{"id": "gone"}, {"id": "live"}, {"id": "changed", **env}, {"id": "same"}])
    with running_manager(config) as manager:
        before = {agent_id: manager.wait_for(agent_id, "running") for agent_id in ("gone", "live", "changed", "same")}
        write_config(
            tmp_path,
            [
                {"id": "new"},
                {"id": "live", "name": "Alive", "drainTimeoutSeconds": 7, "restart": "never"},
                {"id": "same"},
                {"id": "changed", "env": {"GREETING": "goodbye"}},
            ],
        )
        planned = manager.http.get("/api/config/diff").json()
        assert ids(manager) == ["gone", "live", "changed", "same"], "a look changes nothing"

        assert reload(manager) == planned
        assert (planned["added"], planned["removed"], planned["reordered"]) == (["new"], ["gone"], True)
        assert {agent["id"]: agent["effect"] for agent in planned["changed"]} == {"live": "live", "changed": "restart"}
        until(lambda: ids(manager) == ["new", "live", "same", "changed"], "the listing is the new config's")
        until(lambda: not psutil.pid_exists(before["gone"]["pid"]), "the removed agent's process has ended")
        assert manager.wait_for("new", "running")["ready"]

        for agent_id in ("live", "same"):
            assert manager.agent(agent_id)["pid"] == before[agent_id]["pid"]
            assert manager.agent(agent_id)["instance_id"] == before[agent_id]["instance_id"]
        assert manager.agent("live")["name"] == "Alive"
        spec = manager.http.get("/api/agent-services/live").json()["spec"]
        assert (spec["drainTimeoutSeconds"], spec["restart"]["policy"]) == (7, "never")
        until(lambda: manager.agent("changed")["pid"] not in (None, before["changed"]["pid"]), "a new process")
        assert manager.wait_for("changed", "running")["restarts"] == 1
        (event,) = config_events(manager)
        assert (event["kind"], event["actor"]) == ("config_reloaded", "api")
        assert event["data"]["restarting"] == ["changed"]
        assert reload(manager)["changed"] == [], "once is enough"


@pytest.mark.full
def test_a_removed_agent_finishes_what_it_is_doing_and_does_not_delay_the_answer(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "gone"}, {"id": "stays"}])
    with running_manager(config) as manager:
        manager.wait_for("gone", "running")
        with task_in_flight(manager, "gone") as task:
            write_config(tmp_path, [{"id": "stays"}])
            assert reload(manager)["removed"] == ["gone"]
            assert not task.answer.done(), "the reload was answered before the drain was over"
            # It is listed until it has gone.
            manager.wait_for("gone", "stopping")
            assert manager.execute("gone").status_code in (404, 409)
            assert manager.http.get("/api/config/diff").json()["removed"] == [], "that is decided already"
            assert task.finish().status_code == 200
        until(lambda: ids(manager) == ["stays"], "it is forgotten")
        assert manager.execute("gone").status_code == 404


@pytest.mark.full
def test_a_restarted_agent_finishes_what_it_is_doing_and_then_runs_with_the_new_values(tmp_path: Path) -> None:
    agent = {"id": "one", "entryPoint": "tests.fixtures.agents:environment"}
    config = write_config(tmp_path, [{**agent, "env": {"GREETING": "hello"}}])
    with running_manager(config) as manager:
        manager.wait_for("one", "running")
        assert manager.execute("one", name="GREETING").json()["result"] == "hello"
        with task_in_flight(manager, "one", name="GREETING") as task:
            write_config(tmp_path, [{**agent, "env": {"GREETING": "goodbye"}}])
            reload(manager)
            assert task.finish().json()["result"] == "hello"
        until(
            lambda: (
                (again := manager.execute("one", name="GREETING")).status_code == 200
                and again.json()["result"] == "goodbye"
            ),
            "the successor runs with the new environment",
        )


@pytest.mark.full
def test_a_stopped_agent_stays_stopped_and_a_failed_one_that_was_mended_starts(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "stopped"}, {"id": "broken", "entryPoint": "no_such_module:agent"}])
    with running_manager(config) as manager:
        manager.wait_for("stopped", "running")
        manager.act("stopped", "stop")
        manager.wait_for("stopped", "stopped")
        manager.wait_for("broken", "failed")
        write_config(tmp_path, [{"id": "stopped", "maxQueue": 1}, {"id": "broken", "entryPoint": "dummy"}])
        reload(manager)
        manager.wait_for("broken", "running")
        assert manager.agent("stopped")["state"] == "stopped"
        manager.start("stopped")
        assert manager.http.get("/api/agent-services/stopped").json()["spec"]["maxQueue"] == 1


@pytest.mark.full
def test_an_agent_that_comes_back_while_it_drains_is_there_in_the_end(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        before = manager.wait_for("one", "running")
        with task_in_flight(manager, "one") as task:
            write_config(tmp_path, [])
            reload(manager)
            write_config(tmp_path, [{"id": "one"}])
            assert reload(manager)["added"] == ["one"]
            assert task.finish().status_code == 200
        until(lambda: not psutil.pid_exists(before["pid"]), "the first process has ended")
        until(lambda: manager.agent("one")["pid"] not in (None, before["pid"]), "a second one has come")
        assert manager.wait_for("one", "running")["ready"]
        assert manager.execute("one", a=1).status_code == 200
        assert ids(manager) == ["one"]


@pytest.mark.full
def test_an_agent_under_another_id_takes_its_predecessors_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free_port = probe.getsockname()[1]
    config = write_config(tmp_path, [{"id": "before", "port": free_port}])
    with running_manager(config) as manager:
        manager.wait_for("before", "running")
        with task_in_flight(manager, "before") as task:
            write_config(tmp_path, [{"id": "after", "port": free_port}])
            reload(manager)
            assert task.finish().status_code == 200
        row = manager.wait_for("after", "running")
        assert (row["ready"], row["port"], row["state_reason"]) == (True, free_port, None)
        assert manager.execute("after", a=1).status_code == 200


@pytest.mark.full
def test_a_wrong_file_changes_nothing_and_says_everything_that_is_wrong(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        before = manager.wait_for("one", "running")
        write_config(tmp_path, [{"id": "one", "port": "80"}, {"id": "TWO"}], unknownKey=1)
        for answer in (manager.http.get("/api/config/diff"), manager.http.post("/api/config/reload")):
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
            paths = [error["path"] for error in answer.json()["errors"]]
            assert sorted(paths) == ["agents[0].port", "agents[1].id", "runtime.unknownKey"]
        told = run(manager, "reload")
        assert told.returncode == 1 and told.stdout == ""
        assert all(path in told.stderr for path in ("agents[0].port", "agents[1].id", "runtime.unknownKey"))
        assert [event["kind"] for event in config_events(manager)] == ["config_rejected"] * 2
        assert ids(manager) == ["one"] and manager.agent("one")["pid"] == before["pid"]
        assert manager.execute("one").status_code == 200


@pytest.mark.full
def test_the_command_line_shows_the_plan_and_carries_it_out(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        manager.wait_for("one", "running")
        assert run(manager, "config", "diff").stdout == "no differences\n"
        write_config(tmp_path, [{"id": "one", "drainTimeoutSeconds": 9}, {"id": "two"}], logDirectory="elsewhere")
        lines = [
            "+ two: starts",
            "~ one: counts at once",
            "    drainTimeoutSeconds: 30 → 9",
            "~ runtime: needs a restart of the manager",
            '    logDirectory: "logs" → "elsewhere"',
        ]
        assert run(manager, "config", "diff").stdout.splitlines() == lines
        done = run(manager, "reload")
        assert (done.returncode, done.stdout.splitlines()[:-1]) == (0, lines)
        manager.wait_for("two", "running")
        assert json.loads(run(manager, "config", "diff", "--json").stdout)["runtime"][0]["path"] == "logDirectory"
        assert any("The config was reloaded: added two" in line for line in manager.output)


@pytest.mark.full
def test_defaults_in_runtime_reach_the_agents_that_set_no_value(tmp_path: Path) -> None:
    agents = [{"id": "own", "maxConcurrency": 3}, {"id": "default"}]
    config = write_config(tmp_path, agents)
    with running_manager(config) as manager:
        before = {agent_id: manager.wait_for(agent_id, "running")["pid"] for agent_id in ("own", "default")}
        write_config(tmp_path, agents, maxConcurrency=5)
        assert [agent["id"] for agent in reload(manager)["changed"]] == ["default"]
        until(lambda: manager.agent("default")["pid"] not in (None, before["default"]), "it restarts")
        manager.wait_for("default", "running")
        assert manager.agent("own")["pid"] == before["own"]
        assert manager.http.get("/api/config").json()["runtime"]["maxConcurrency"] == 5


@pytest.mark.full
def test_dummies_stay_dummies(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one", "entryPoint": "pkg:f"}])
    with running_manager(config, "--dummy") as manager:
        manager.wait_for("one", "running")
        agents = [
            {"id": "one", "entryPoint": "pkg:g"},
            {"id": "two", "entryPoint": "pkg:f", "env": {"K": "env:NO_SUCH"}},
        ]
        write_config(tmp_path, agents)
        changes = reload(manager)
        assert (changes["added"], changes["changed"]) == (["two"], [])
        manager.wait_for("two", "running")
        assert manager.execute("two", a=1).json()["result"] == {"echo": {"a": 1}}


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this platform has no SIGHUP")
def test_sighup_reloads(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        before = manager.wait_for("one", "running")
        config.write_text("{")
        manager.process.send_signal(signal.SIGHUP)
        until(lambda: len(config_events(manager)) == 1, "the wrong file is rejected")
        write_config(tmp_path, [{"id": "one"}, {"id": "two"}])
        manager.process.send_signal(signal.SIGHUP)
        wait_for_newcomer(manager, "two")
        assert manager.agent("one")["pid"] == before["pid"]
        assert [(event["kind"], event["actor"]) for event in config_events(manager)] == [
            ("config_rejected", "SIGHUP"),
            ("config_reloaded", "SIGHUP"),
        ]


@pytest.mark.full
def test_a_watched_file_is_taken_over_by_itself(tmp_path: Path) -> None:
    config = write_config(tmp_path, [], watchConfig=True)
    with running_manager(config) as manager:
        write_config(tmp_path, [{"id": "one"}], watchConfig=True)
        wait_for_newcomer(manager, "one")
        draft = tmp_path / "draft.json"
        draft.write_text("{")
        draft.replace(config)
        until(lambda: config_events(manager)[-1]["kind"] == "config_rejected", "the wrong file is rejected")
        assert ids(manager) == ["one"]
        write_config(tmp_path, [{"id": "two"}], watchConfig=True)
        until(lambda: ids(manager) == ["two"], "the right one is taken")
        assert {event["actor"] for event in config_events(manager)} == {"watch"}


@pytest.mark.full
def test_a_file_that_nobody_asked_to_watch_is_left_alone(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    with running_manager(config) as manager:
        manager.wait_for("one", "running")
        write_config(tmp_path, [{"id": "one"}, {"id": "two"}])
        # A lifecycle of its own, long enough for a watch to have seen the file.
        manager.act("one", "restart")
        manager.wait_for("one", "running")
        assert ids(manager) == ["one"] and config_events(manager) == []


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no pseudo-terminals")
def test_closing_the_managers_terminal_drains_and_stops_it(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "one"}])
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(ROOT)
        os.chdir(ROOT)
        os.execv(sys.executable, [*COMMAND, "--config", str(config), "--port", "0"])
    try:
        output = b""
        while b"1 of 1 agents ready" not in output:
            output += os.read(terminal, 4096)
        agents = [int(number) for number in re.findall(rb"\(pid (\d+),", output)]
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert agents and not any(psutil.pid_exists(agent) for agent in agents)
    assert "The terminal was closed" in (tmp_path / "logs" / "manager.log").read_text()
