"""Starts that cannot succeed: one clear line in the log and an exit status of their own."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from agent_service.contract import EXIT_CONFIG, EXIT_PORT_IN_USE
from tests.fixtures.adapter import AGENTS, AdapterProcess, until


def only_line(adapter: AdapterProcess) -> dict[str, str]:
    assert len(adapter.output) == 1, "".join(adapter.output)
    line: dict[str, str] = json.loads(adapter.output[0])
    assert line["level"] == "error"
    return line


@pytest.mark.parametrize(
    ("entry_point", "sentence"),
    [
        ("no_such_module:agent", "'no_such_module:agent' cannot be imported: there is no module 'no_such_module'"),
        (f"{AGENTS}:nothing", "has no 'nothing'"),
        (f"{AGENTS}:not_callable", "which cannot be run"),
        ("react", '"react" needs a definition'),
    ],
)
def test_an_unusable_entry_point_is_one_line_and_78(entry_point: str, sentence: str) -> None:
    with AdapterProcess("--id", "x", "--entry-point", entry_point) as adapter:
        assert adapter.exit_status() == EXIT_CONFIG
        line = only_line(adapter)
        assert sentence in line["event"]
        assert (line["agent_id"], "Traceback" in line["event"]) == ("x", False)


def test_a_module_that_raises_has_its_traceback_in_a_field(tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text("raise RuntimeError('no licence')\n")
    with AdapterProcess("--id", "x", "--entry-point", "crashing:agent", cwd=tmp_path) as adapter:
        assert adapter.exit_status() == EXIT_CONFIG
        line = only_line(adapter)
        assert "'crashing:agent' cannot be imported: its module raised RuntimeError: no licence" in line["event"]
        assert 'crashing.py", line 1' in line["exception"]


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"AGENT_SPEC": "{"}, "AGENT_SPEC is not valid JSON"),
        (
            {"AGENT_SPEC": '{"id": "x", "name": "X", "maxQueue": -1}'},
            "maxQueue: found -1; it should be greater than or equal to 0",
        ),
        ({"AGENT_ID": "x", "AGENT_PORT": "http"}, "The port 'http' is not a whole number"),
        ({"AGENT_ID": "x", "AGENT_HOST": "0.0.0.0"}, "Refusing to bind 0.0.0.0 without a token"),
        (
            {"AGENT_ID": "x", "AGENT_HOST": "no.such.host.invalid", "MANAGER_TOKEN": "s3cret"},
            "host.invalid' is no",
        ),
        ({"AGENT_ID": "x", "AGENT_LOG_FILE": "/no/such/directory/x.log"}, "cannot be opened (No such file"),
    ],
)
def test_a_wrong_environment_is_one_line_and_78(env: dict[str, str], sentence: str) -> None:
    with AdapterProcess(env=env) as adapter:
        assert adapter.exit_status() == EXIT_CONFIG
        assert sentence in only_line(adapter)["event"]


def test_wrong_usage_is_2() -> None:
    with AdapterProcess("--port", "8100") as adapter:
        assert adapter.exit_status() == 2
        assert "--id is required" in adapter.output[-1]


def test_a_taken_port_is_one_line_that_names_it_and_69() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # The entry point is broken as well: the port is found out first.
        with AdapterProcess("--id", "x", "--port", str(port), "--entry-point", "no.such:agent") as adapter:
            assert adapter.exit_status() == EXIT_PORT_IN_USE
            assert f"Port {port} on 127.0.0.1 is in use by another process" in only_line(adapter)["event"]


def test_of_two_adapters_started_at_once_one_gets_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with AdapterProcess("--id", "a", "--port", port) as one, AdapterProcess("--id", "b", "--port", port) as other:
        until(lambda: None not in (one.process.poll(), other.process.poll()) or _one_left(one, other), "a loser")
        loser, winner = (one, other) if one.process.poll() is not None else (other, one)
        assert loser.exit_status() == EXIT_PORT_IN_USE
        with winner.ready() as client:
            assert client.get("/health").status_code == 200


def _one_left(one: AdapterProcess, other: AdapterProcess) -> bool:
    return (one.process.poll() is None) != (other.process.poll() is None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_import_is_an_exit_with_0(tmp_path: Path, number: int) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('importing')\ntime.sleep(600)\n")
    with AdapterProcess("--id", "x", "--entry-point", "slow:agent", cwd=tmp_path) as adapter:
        until(lambda: "importing\n" in adapter.output, "the import")
        adapter.signal(number)
        assert adapter.exit_status() == 0
        assert adapter.events("Stopped before it served")


def test_an_agent_starts_paused_when_told_to() -> None:
    with AdapterProcess("--id", "x", env={"AGENT_INITIAL_STATUS": "paused"}) as adapter, adapter.ready() as client:
        assert client.get("/status").json()["status"] == "paused"
        assert client.post("/execute", json={"parameters": {}}).status_code == 409
