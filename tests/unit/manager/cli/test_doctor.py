from __future__ import annotations

import json
import os
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from manager.diagnosis import ports


@pytest.fixture(autouse=True)
def no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_listeners", dict)


def write(directory: Path, **document: Any) -> None:
    (directory / "agents.config.json").write_text(json.dumps(document))


def hold(cli: Any, directory: Path, **answers: Any) -> None:
    """This very process is the manager, and answers so."""
    (directory / ".state").mkdir()
    (directory / ".state" / "manager.json").write_text(json.dumps({"pid": os.getpid(), "url": "http://127.0.0.1:9"}))
    date = format_datetime(cli.clock.now(), usegmt=True)
    cli.manager.on("GET /health", httpx.Response(200, json={"status": "ok"}, headers={"date": date}))
    cli.manager.on("GET /ready", answers.get("ready", {"status": "ready"}))
    cli.manager.on("GET /api/agent-services", {"agents": answers.get("agents", [])})
    cli.manager.on("GET /api/webhooks", {"webhooks": []})
    cli.manager.on("GET /api/config/diff", answers.get("diff", {"runtime": []}))


def test_a_right_set_up_has_status_0(cli: Any) -> None:
    write(cli.directory, agents=[{"id": "one"}])
    result = cli("doctor")
    assert result.exit_code == 0, result.stdout
    assert "is right: 1 agent" in result.stdout
    assert cli.manager.requests == []


def test_a_wrong_one_has_status_1_and_says_what_to_do(cli: Any) -> None:
    write(cli.directory, agents=[{"id": "one", "port": "x"}])
    result = cli("doctor")
    lines = result.stdout.splitlines()
    wrong = next(number for number, line in enumerate(lines) if line.startswith("ERROR"))
    assert (result.exit_code, lines[-1].split(",")[0]) == (1, "1 error")
    assert "agents[0].port" in lines[wrong]
    assert lines[wrong + 1].strip() == "→ a whole number is allowed"


def test_json_has_every_finding(cli: Any) -> None:
    write(cli.directory, agents=[{"id": "one", "port": "x"}])
    result = cli("doctor", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (1, False)
    wrong = [finding for finding in told["findings"] if finding["level"] == "error"]
    assert [(finding["check"], finding["remedy"]) for finding in wrong] == [("config", "a whole number is allowed")]


def test_a_running_manager_is_asked_and_what_is_ill_is_told(cli: Any, make: Any) -> None:
    write(cli.directory)
    hold(cli, cli.directory, agents=[make.row("two", state="failed", state_reason="it crashed")])
    with (cli.directory / ".state" / "manager.lock").open("w"):
        result = cli("doctor")
    assert "is open in the running manager" in result.stdout
    assert "WARNING agents          two is failed: it crashed" in result.stdout
    assert result.exit_code == 0
    assert all(request.method == "GET" for request in cli.manager.requests)


def test_a_manager_that_is_not_ready_is_an_error(cli: Any, make: Any) -> None:
    write(cli.directory)
    hold(cli, cli.directory, ready=make.problem(503, "The manager is starting or stopping; try again in a moment."))
    with (cli.directory / ".state" / "manager.lock").open("w"):
        result = cli("doctor")
    assert result.exit_code == 1
    assert "is not well: The manager is starting or stopping" in result.stdout


def test_a_lock_that_was_left_is_a_warning_and_nobody_is_asked(cli: Any) -> None:
    write(cli.directory)
    hold(cli, cli.directory)
    result = cli("doctor")
    assert result.exit_code == 0
    assert "was killed, or cannot be seen" in result.stdout
    assert cli.manager.requests == []


def test_without_a_config_it_is_said_in_a_sentence(cli: Any) -> None:
    result = cli("doctor")
    assert (result.exit_code, "agent-manager init" in result.stderr) == (1, True)
