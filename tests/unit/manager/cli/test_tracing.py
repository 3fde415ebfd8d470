from __future__ import annotations

import json
from typing import Any

import pytest

from agent_service.contract import rfc3339
from manager.cli.output import local_time
from tests.unit.manager.fakes.clock import START

PATH = "/api/agent-services/planner/tracing"


def row(**changes: Any) -> dict[str, Any]:
    return {"id": "planner", "exporting": True, "enabled": True, "sample_rate": 0.5, "overridden": False, **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "planner is traced: 0.5 of the requests that begin here (by its definition)\n"),
        (
            {"enabled": False, "overridden": True, "set_by": "alice", "set_at": rfc3339(START)},
            f"planner is not traced (set by alice, {local_time(START)})\n",
        ),
        ({"exporting": False}, "planner is not traced: the manager has no endpoint to send traces to\n"),
    ],
)
def test_without_more_it_shows_what_is_traced(cli: Any, changes: dict[str, Any], sentence: str) -> None:
    cli.manager.on(f"GET {PATH}", row(**changes))
    result = cli("tracing", "planner")
    assert (result.exit_code, result.stdout) == (0, sentence)


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (["on"], {"enabled": True}),
        (["off"], {"enabled": False}),
        (["on", "--sample-rate", "0.1"], {"enabled": True, "sample_rate": 0.1}),
        (["--sample-rate", "0"], {"sample_rate": 0.0}),
    ],
)
def test_it_asks_for_what_was_said_and_no_more(cli: Any, arguments: list[str], body: dict[str, Any]) -> None:
    cli.manager.on(f"PUT {PATH}", row(overridden=True))
    result = cli("tracing", "planner", *arguments, "--json")
    assert json.loads(result.stdout) == row(overridden=True)
    assert cli.manager.bodies(f"PUT {PATH}") == [body]


def test_default_takes_it_back(cli: Any) -> None:
    cli.manager.on(f"DELETE {PATH}", row())
    assert cli("tracing", "planner", "default").exit_code == 0
    assert len(cli.manager.requests) == 1


@pytest.mark.parametrize("arguments", [["default", "--sample-rate", "1"], ["on", "--sample-rate", "2"], ["sometimes"]])
def test_what_makes_no_sense_is_wrong_usage(cli: Any, arguments: list[str]) -> None:
    assert cli("tracing", "planner", *arguments).exit_code == 2
    assert not cli.manager.requests
