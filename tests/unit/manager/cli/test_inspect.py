from __future__ import annotations

import json
from typing import Any

STACKS = "GET /api/agent-services/planner/stacks"
FRAME = {"file": "/srv/agent.py", "line": 7, "function": "Agent.work", "code": "await self.step()"}
INSTANCE: dict[str, Any] = {
    "instance_id": "planner-1",
    "pid": 42,
    "source": "adapter",
    "note": None,
    "at": "2026-01-02T12:00:00.000Z",
    "tasks": [
        {
            "name": "agent task t1",
            "task_id": "t1",
            "request_id": "r1",
            "trace_id": None,
            "age_seconds": 3.2,
            "waits_for": "Future",
            "stack": [FRAME],
        }
    ],
    "threads": [{"name": "agent_0", "stack": [{**FRAME, "code": None}]}],
    "left_out": 2,
}


def test_tasks_and_threads_are_told_with_what_they_serve(cli: Any) -> None:
    cli.manager.on(STACKS, {"agent_id": "planner", "instances": [INSTANCE]})
    result = cli("inspect", "planner")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "instance planner-1 (pid 42)",
        "  task agent task t1 (task t1, request r1, running for 3.2 s)",
        "    /srv/agent.py:7 in Agent.work",
        "        await self.step()",
        "      waits for Future",
        "  and 2 more tasks",
        "  thread agent_0",
        "    /srv/agent.py:7 in Agent.work",
    ]


def test_where_nothing_could_be_had_the_reason_is_told_with_status_1(cli: Any) -> None:
    nothing = {**INSTANCE, "source": None, "note": "It has not registered yet.", "tasks": [], "threads": []}
    cli.manager.on(STACKS, {"agent_id": "planner", "instances": [{**nothing, "left_out": 0}]})
    result = cli("inspect", "planner")
    assert (result.exit_code, result.stdout.splitlines()[1]) == (1, "  It has not registered yet.")


def test_json_is_the_apis_own_answer(cli: Any) -> None:
    answer = {"agent_id": "planner", "instances": [INSTANCE | {"later": 1}]}
    cli.manager.on(STACKS, answer)
    assert json.loads(cli("inspect", "planner", "--json").stdout) == answer


def test_a_sidecar_is_one_sentence(cli: Any, make: Any) -> None:
    cli.manager.on(STACKS, make.problem(409, "planner is a sidecar."))
    result = cli("inspect", "planner")
    assert (result.exit_code, result.stderr) == (1, "planner is a sidecar.\n")
