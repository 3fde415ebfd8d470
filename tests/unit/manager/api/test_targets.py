from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from manager.api.targets import Targets
from manager.supervision.resources import Usage
from manager.supervision.states import AgentState
from manager.supervision.views import AgentView, InstanceView
from manager.telemetry.target import InstanceUsage, Page
from tests.unit.web.fakes import view


def instance(number: int, *, pid: int | None = None, registered: bool = True, ready: bool = True) -> InstanceView:
    return InstanceView(
        instance_id=f"i-{number}",
        pid=pid,
        service_url=f"http://127.0.0.1:900{number}" if registered else None,
        ready=ready,
        draining=False,
        started_at=None,
        last_heartbeat_at=None,
        in_flight=0,
        cpu_percent=None,
        rss_bytes=None,
    )


def targets(*views: AgentView, usage: dict[int, Usage] | None = None) -> Targets:
    fleet: Any = SimpleNamespace(agents=lambda: list(views))
    return Targets(fleet, (usage or {}).get)


def discovered(*views: AgentView) -> Any:
    answer = asyncio.run(targets(*views).discovered(None))  # type: ignore[arg-type]
    assert answer.headers["content-type"] == "application/json"
    return json.loads(bytes(answer.body))


def test_each_process_is_read_at_its_own_address_not_at_the_port_that_they_share() -> None:
    shared = view("echo", service_url="http://127.0.0.1:8100", instances=[instance(1), instance(2)])
    (target,) = targets(shared).all()
    assert target.pages == (
        Page("echo", "i-1", "http://127.0.0.1:9001"),
        Page("echo", "i-2", "http://127.0.0.1:9002"),
    )
    assert target.ready_instances == 2


def test_what_each_process_takes_is_found_by_its_pid() -> None:
    usage = {7: Usage(1.0, 1, cpu_seconds=2.5, open_fds=9)}
    one = view("echo", instances=[instance(1, pid=7), instance(2, pid=8), instance(3)])
    (target,) = targets(one, usage=usage).all()
    assert target.usage == (InstanceUsage("i-1", 2.5, 9),)


def test_prometheus_finds_every_process_that_has_an_address() -> None:
    found = discovered(
        view("echo", instances=[instance(1), instance(2, registered=False)]),
        view("tool", sidecar=True, instances=[instance(3)]),
        view("gone", AgentState.STOPPED, instances=[]),
    )
    assert found == [
        {
            "targets": ["127.0.0.1:9001"],
            "labels": {"__scheme__": "http", "agent_id": "echo", "instance_id": "i-1"},
        }
    ]


def test_of_no_agents_there_is_an_empty_list() -> None:
    assert discovered() == []
