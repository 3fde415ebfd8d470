"""Pause, stop, drain and restart of a real adapter process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.adapter import AGENTS, AdapterProcess, execute, executing, held, in_thread, until

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and execv")


def act(client: httpx.Client, action: str, **options: Any) -> httpx.Response:
    return client.post("/action", json={"action": action, **options})


def dummy(*argv: str, **options: Any) -> AdapterProcess:
    return AdapterProcess("--id", "x", *argv, **options)


def test_paused_is_409_and_resumed_is_200() -> None:
    with dummy() as adapter, adapter.ready() as client:
        finish = held(client)
        assert act(client, "pause").json()["status"] == "paused"
        assert act(client, "pause").status_code == 202
        refused = execute(client)
        assert (refused.status_code, refused.json()["state"]) == (409, "paused")
        assert finish().status_code == 200
        assert act(client, "resume").json()["status"] == "running"
        assert execute(client).status_code == 200


def test_a_stop_refuses_new_work_delivers_what_is_in_flight_and_queued_and_exits_0() -> None:
    with dummy("--max-concurrency", "1") as adapter, adapter.ready() as client:
        running = held(client)
        queued = in_thread(lambda: execute(client, last=True))
        until(lambda: client.get("/status").json()["queued"] == 1, "the queue")
        stopped = act(client, "stop")
        assert (stopped.status_code, stopped.json()["status"]) == (202, "stopping")
        assert stopped.json()["drain_deadline"].endswith("Z")
        refused = execute(client)
        assert (refused.status_code, refused.json()["state"]) == (409, "stopping")
        assert act(client, "stop").status_code == 202
        assert act(client, "pause").status_code == 409
        assert client.get("/status").json()["in_flight"] == 1
        assert running().status_code == 200
        assert queued().json()["result"] == {"echo": {"last": True}}
        assert adapter.exit_status() == 0
        assert adapter.events("Agent stopped")


def test_a_stream_in_flight_is_delivered_to_its_end() -> None:
    with dummy() as adapter, adapter.ready() as client:
        body = {"parameters": {"stream": 5, "sleep_ms": 300}}
        with client.stream("POST", "/execute", json=body, headers={"Accept": "text/event-stream"}) as response:
            lines = response.iter_lines()
            next(lines)
            adapter.signal()
            assert [line for line in lines if line.startswith("event")] == ["event: chunk"] * 4 + ["event: result"]
        assert adapter.exit_status() == 0


def test_past_the_deadline_a_task_is_cancelled_named_and_told() -> None:
    with dummy("--drain-timeout-seconds", "3600") as adapter, adapter.ready() as client:
        finish = executing(client, sleep_ms=600_000)
        task = client.get("/status").json()["current_task"]["task_id"]
        assert act(client, "stop", timeout_seconds=0.5).status_code == 202
        answer = finish()
        assert (answer.status_code, answer.json()["state"]) == (503, "stopping")
        assert "stopped before this task was done" in answer.json()["detail"]
        assert adapter.exit_status() == 0
        (line,) = adapter.events("Task cancelled at the drain deadline")
        assert line["task_id"] == task
        assert line["ran_ms"] >= 500


@pytest.mark.full
def test_a_stream_past_the_deadline_ends_with_an_error_event() -> None:
    with dummy("--drain-timeout-seconds", "0") as adapter, adapter.ready() as client:
        body = {"parameters": {"stream": 2, "sleep_ms": 600_000}}
        with client.stream("POST", "/execute", json=body, headers={"Accept": "text/event-stream"}) as response:
            lines = response.iter_lines()
            next(lines)
            adapter.signal()
            rest = [line for line in lines if line]
        assert rest[-2] == "event: error"
        assert json.loads(rest[-1].removeprefix("data: "))["status"] == 503
        assert adapter.exit_status() == 0


@pytest.mark.full
def test_a_thread_that_cannot_be_interrupted_does_not_hold_the_exit_up() -> None:
    with AdapterProcess("--id", "x", "--entry-point", f"{AGENTS}:sleeper") as adapter, adapter.ready() as client:
        finish = executing(client, seconds=600)
        act(client, "stop", timeout_seconds=0)
        began = time.monotonic()
        assert finish().status_code == 503
        assert adapter.exit_status() == 0
        assert time.monotonic() - began < 20
        assert adapter.events("Drained")[0]["left"] == 1


@pytest.mark.full
@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains(number: int) -> None:
    with dummy() as adapter, adapter.ready() as client:
        finish = held(client)
        adapter.signal(number)
        adapter.wait_for("Draining")
        assert execute(client).status_code == 409
        assert finish().status_code == 200
        assert adapter.exit_status() == 0


@posix
@pytest.mark.parametrize("work", [{"sleep_ms": 600_000}, {"block_ms": 600_000}])
def test_the_second_signal_ends_it_at_once_even_when_the_event_loop_is_blocked(work: dict[str, int]) -> None:
    with dummy("--drain-timeout-seconds", "3600") as adapter, adapter.ready() as client:
        answer = in_thread(lambda: execute(client, log=1, **work))
        adapter.wait_for("Dummy log line")
        adapter.signal()
        # The first is handled between two bytecodes of the main thread; only then does the next one count as second.
        until(lambda: not _caught(adapter.pid, signal.SIGTERM), "the handling of the first signal")
        adapter.signal()
        assert adapter.exit_status() == -signal.SIGTERM
        with pytest.raises(httpx.HTTPError):
            answer()


def _caught(pid: int, number: int) -> bool:
    """Whether the process has a handler for this signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        time.sleep(1)
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@posix
def test_a_restart_alone_replaces_the_process_and_keeps_port_and_command_line() -> None:
    with dummy("--metadata", '{"team": "core"}', "--port", "0") as adapter, adapter.ready() as client:
        before = client.get("/info").json()
        finish = held(client)
        assert act(client, "restart").json()["status"] == "stopping"
        assert finish().status_code == 200
        for count in (2, 3):
            with adapter.ready(count=count) as successor:
                assert successor.base_url == client.base_url
                after = successor.get("/info").json()
                assert (after["pid"], after["metadata"]) == (before["pid"], {"team": "core"})
                assert after["instance_id"] != before["instance_id"]
                assert execute(successor).status_code == 200
                act(successor, "restart" if count == 2 else "stop")
        assert adapter.exit_status() == 0


@pytest.mark.full
@posix
def test_a_restart_leaves_a_stuck_thread_behind() -> None:
    with AdapterProcess("--id", "x", "--entry-point", f"{AGENTS}:sleeper") as adapter, adapter.ready() as client:
        executing(client, seconds=600)
        act(client, "restart", timeout_seconds=0)
        with adapter.ready(count=2) as successor:
            assert successor.get("/status").json()["in_flight"] == 0


def test_a_restart_under_a_manager_is_an_exit_with_0() -> None:
    env = {"AGENT_SPEC": json.dumps({"id": "x", "name": "X"})}
    with AdapterProcess(env=env) as adapter, adapter.ready() as client:
        assert act(client, "restart").status_code == 202
        assert adapter.exit_status() == 0
        assert len(adapter.events("Agent ready")) == 1


@pytest.mark.full
def test_a_stop_during_a_restart_is_a_stop() -> None:
    with dummy() as adapter, adapter.ready() as client:
        finish = held(client)
        act(client, "restart")
        assert act(client, "stop").status_code == 202
        assert finish().status_code == 200
        assert adapter.exit_status() == 0
        assert len(adapter.events("Agent ready")) == 1


@pytest.mark.full
@posix
def test_a_restart_that_cannot_be_done_exits_with_1(tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    with dummy(cwd=directory) as adapter, adapter.ready() as client:
        directory.rmdir()
        act(client, "restart")
        assert adapter.exit_status() == 1
        assert "The restart failed: " in adapter.lines[-1]["event"]


def test_an_adapter_leaves_no_process_behind() -> None:
    with dummy() as adapter, adapter.ready() as client:
        act(client, "stop")
        assert adapter.exit_status() == 0
        if sys.platform == "linux":
            children = subprocess.run(["ps", "--ppid", str(adapter.pid)], capture_output=True, text=True)
            assert len(children.stdout.splitlines()) == 1
