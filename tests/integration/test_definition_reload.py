"""Acceptance: a config's new agent definition reaches the agents that run, with no restart and no lost call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config
from tests.integration.test_sidecars import kill_manager

pytestmark = pytest.mark.full


def agent(*script: Any, **changes: Any) -> dict[str, Any]:
    model = {"provider": "scripted", "model": "script", "script": list(script), "retries": 0}
    return {"id": "talker", "entryPoint": "react", "definition": {"behavior": {"model_parameters": model}}, **changes}


def reload(manager: ManagerProcess, written: dict[str, Any]) -> dict[str, Any]:
    write_config(manager.directory, [written])
    answer = manager.http.post("/api/config/reload")
    assert answer.status_code == 202, answer.text
    change: dict[str, Any] = answer.json()["changed"][0]
    return change


def output(manager: ManagerProcess) -> str:
    answer = manager.execute("talker", input="hello")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["result"]["output"])


def test_a_new_definition_is_taken_over_under_load(tmp_path: Path) -> None:
    slow = {"content": "old", "delay_ms": 300}
    with running_manager(write_config(tmp_path, [agent(slow, instances=2)])) as manager:
        manager.wait_for("talker", "running")
        until(lambda: sum(each["ready"] for each in manager.agent("talker")["instances"]) == 2, "both are ready")
        pids = {each["pid"] for each in manager.agent("talker")["instances"]}
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(output, manager) for _ in range(12)]
            change = reload(manager, agent("new", instances=2))
            assert {call.result() for call in calls} <= {"old", "new"}, "no call was lost"
        assert change["effect"] == "reload"
        until(lambda: {output(manager) for _ in range(4)} == {"new"}, "all have taken it over")
        row = manager.agent("talker")
        assert {each["pid"] for each in row["instances"]} == pids and row["restarts"] == 0
        taken = [event for event in manager.events("talker") if event["kind"] == "definition_reloaded"]
        assert len(taken) == 2
        manager.act("talker", "restart")
        until(lambda: manager.agent("talker")["restarts"] == 1, "it has been restarted")
        manager.wait_for("talker", "running")
        assert output(manager) == "new", "new processes get it too"
        assert manager.stop() == 0


def test_a_manager_that_takes_an_agent_back_gives_it_what_the_config_says_by_then(tmp_path: Path) -> None:
    with running_manager(write_config(tmp_path, [agent("old")])) as manager:
        pid = manager.wait_for("talker", "running")["pid"]
        kill_manager(manager)
    with running_manager(write_config(tmp_path, [agent("new")])) as manager:
        assert manager.wait_for("talker", "running")["pid"] == pid
        until(lambda: output(manager) == "new", "it has taken it over")
        assert manager.agent("talker")["pid"] == pid
        assert manager.stop() == 0


def test_what_cannot_be_taken_over_while_it_runs_is_told_and_restarts_the_agent(tmp_path: Path) -> None:
    with running_manager(write_config(tmp_path, [agent("old")])) as manager:
        before = manager.wait_for("talker", "running")
        # A line that is no answer: the config cannot know, the adapter refuses it.
        reload(manager, agent({"contents": "new"}))
        refused = until(
            lambda: [event for event in manager.events("talker") if event["kind"] == "definition_refused"],
            "the refusal is told",
        )
        assert "script" in refused[0]["message"]
        until(lambda: manager.agent("talker")["state_reason"], "the successor failed, and the old process stays")
        row = manager.agent("talker")
        assert row["state"] == "running" and row["pid"] == before["pid"]
        assert output(manager) == "old"
        reload(manager, agent("newest"))
        until(lambda: output(manager) == "newest", "a right one is taken over")
        assert manager.stop() == 0


def test_what_an_agent_remembers_lies_in_the_state_directory_and_is_reached_through_the_manager(tmp_path: Path) -> None:
    written = agent("one", "two")
    written["definition"]["memory"] = {"kind": "thread"}
    with running_manager(write_config(tmp_path, [written], stateDirectory="kept")) as manager:
        manager.wait_for("talker", "running")
        first = manager.execute("talker", input="hello", thread_id="t")
        assert first.status_code == 200, first.text
        manager.act("talker", "restart")
        until(lambda: manager.agent("talker")["restarts"] == 1, "it has been restarted")
        manager.wait_for("talker", "running")
        assert manager.execute("talker", input="again", thread_id="t").json()["result"]["output"] == "two"
        threads = "/api/agent-services/talker/threads"
        assert [each["thread_id"] for each in manager.http.get(threads).json()["threads"]] == ["t"]
        said = [message["role"] for message in manager.http.get(f"{threads}/t").json()["messages"]]
        assert said == ["user", "assistant"] * 2
        assert manager.http.delete(f"{threads}/t").status_code == 204
        gone = manager.http.get(f"{threads}/t")
        assert gone.status_code == 404 and "no thread" in gone.json()["detail"], "the adapter's own problem"
        assert manager.http.get(threads, params={"limit": 0}).status_code == 400
        assert manager.http.get("/api/agent-services/nobody/threads").status_code == 404
        manager.act("talker", "stop")
        manager.wait_for("talker", "stopped")
        assert manager.http.get(threads).status_code == 503
        assert manager.stop() == 0
    assert any((tmp_path / "kept" / "threads" / "talker").iterdir())
