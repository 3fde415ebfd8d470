from __future__ import annotations

import json
from typing import Any

import pytest

ACTION = "POST /api/agent-services/planner/action"


def test_scale_asks_for_so_many_instances_and_tells_what_is_there(cli: Any, make: Any) -> None:
    cli.manager.on(ACTION, {**make.row(), "instances": [{}], "instances_wanted": 3})
    result = cli("scale", "planner", "3", "--reason", "rush hour")
    assert (result.exit_code, result.stdout) == (0, "planner: 3 wanted, 1 there now\n")
    assert json.loads(cli.manager.requests[-1].content) == {
        "action": "scale",
        "instances": 3,
        "reason": "rush hour",
    }


@pytest.mark.parametrize("count", ["0", "65", "many"])
def test_an_impossible_number_is_wrong_usage(cli: Any, count: str) -> None:
    assert cli("scale", "planner", count).exit_code == 2
    assert cli.manager.requests == []


def test_a_refusal_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(ACTION, make.problem(409, "planner has a port of its own."))
    result = cli("scale", "planner", "2")
    assert (result.exit_code, result.stderr) == (1, "planner has a port of its own.\n")
