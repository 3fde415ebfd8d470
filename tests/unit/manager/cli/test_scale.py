from __future__ import annotations

import json
from typing import Any

import pytest

ACTION = "POST /api/agent-services/planner/action"


LIST = "GET /api/agent-services"


def test_scale_asks_for_so_many_instances_and_tells_what_is_there(cli: Any, make: Any) -> None:
    cli.manager.on(ACTION, make.row(instances_wanted=3))
    result = cli("scale", "planner", "3", "--reason", "rush hour", "--no-wait")
    assert (result.exit_code, result.stdout) == (0, "planner: 3 wanted, 1 there now\n")
    assert json.loads(cli.manager.requests[-1].content) == {
        "action": "scale",
        "instances": 3,
        "reason": "rush hour",
    }


def test_scale_waits_until_so_many_are_ready_and_none_drains(cli: Any, make: Any) -> None:
    def listing(*instances: Any) -> Any:
        return make.listing(make.row(instances=list(instances), instances_wanted=2))

    one, two, going = make.instance("one"), make.instance("two"), make.instance("old", ready=False, draining=True)
    cli.manager.on(ACTION, make.row(instances_wanted=2))
    cli.manager.on(LIST, listing(one), listing(one, two, going), listing(one, two))
    result = cli("scale", "planner", "2")
    assert (result.exit_code, result.stdout) == (0, "planner: 2 of 2 ready\n")
    assert result.stderr == "planner: running, 1 of 2 ready, 1 there\nplanner: running, 2 of 2 ready, 3 there\n"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"instances_wanted": 5}, "planner: scale to 2 not reached, somebody wants 5 now\n"),
        (
            {"instances_wanted": 2, "state": "failed", "state_reason": "crash loop", "instances": []},
            "planner: scale to 2 not reached, it is failed: crash loop\n",
        ),
    ],
)
def test_a_number_that_cannot_be_reached_any_more_is_exit_status_1(
    cli: Any, make: Any, changes: dict[str, Any], sentence: str
) -> None:
    cli.manager.on(ACTION, make.row(instances_wanted=2))
    cli.manager.on(LIST, make.listing(make.row(**changes)))
    result = cli("scale", "planner", "2")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", sentence)


def test_of_a_stopped_agent_the_number_is_kept_for_its_start(cli: Any, make: Any) -> None:
    cli.manager.on(ACTION, make.stopped(instances_wanted=2))
    cli.manager.on(LIST, make.listing(make.stopped(instances_wanted=2)))
    result = cli("scale", "planner", "2")
    assert (result.exit_code, result.stdout) == (0, "planner: 2 wanted; it is stopped, `start` starts them\n")


def test_json_is_the_row_as_it_is_afterwards(cli: Any, make: Any) -> None:
    cli.manager.on(ACTION, make.row(instances_wanted=1, in_flight=5))
    cli.manager.on(LIST, make.listing(make.row()))
    assert json.loads(cli("scale", "planner", "1", "--json").stdout) == make.row()


@pytest.mark.parametrize("count", ["0", "65", "many"])
def test_an_impossible_number_is_wrong_usage(cli: Any, count: str) -> None:
    assert cli("scale", "planner", count).exit_code == 2
    assert cli.manager.requests == []


def test_a_refusal_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(ACTION, make.problem(409, "planner has a port of its own."))
    result = cli("scale", "planner", "2")
    assert (result.exit_code, result.stderr) == (1, "planner has a port of its own.\n")
