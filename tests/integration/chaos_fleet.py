"""A fleet with every kind of agent, what is wished of it at first, and how it is found when all has come to rest."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from agent_service.forkserver.profiles import PROFILES
from tests.integration.chaos import Mortal, Operator, Wish, instance_of, marked
from tests.integration.manager_process import until

SETTLED_SECONDS = 90.0
# Crashes are meant here, so that nobody gives up and waits are short.
RESTART = {"initialDelaySeconds": 0.1, "maxDelaySeconds": 1, "maxCrashes": 1000}
ADAPTER = [sys.executable, "-m", "agent_service", "--entry-point", "dummy"]


def fleet(port: int) -> list[dict[str, Any]]:
    """Every kind of agent."""
    agents: list[dict[str, Any]] = [{"id": f"plain-{number}"} for number in range(6)]
    agents += [
        {"id": "pair", "instances": 2},
        {"id": "public", "port": port},
        {"id": "command", "command": ADAPTER},
        {"id": "elsewhere", "autostart": False},
    ]
    return [{**agent, "restart": RESTART} for agent in agents]


def first_wish(agent: dict[str, Any]) -> Wish:
    return Wish("running" if agent.get("autostart", True) else "stopped", agent.get("instances", 1))


def lives_as_wished(row: dict[str, Any], operators: list[Operator]) -> bool:
    """Whether an agent has come to rest as one of the wishes that may be in force."""
    wishes = next(operator.wishes[row["id"]] for operator in operators if row["id"] in operator.wishes)
    return any(wish.is_met_by(row) for wish in wishes)


def settle(manager: Mortal, operators: list[Operator]) -> list[dict[str, Any]]:
    """The listing, once every agent is as it was last wished."""
    rows: list[dict[str, Any]] = []

    def settled() -> bool:
        rows[:] = manager.agents()
        return bool(rows) and all(lives_as_wished(row, operators) for row in rows)

    try:
        until(settled, "every agent is as it was last wished", seconds=SETTLED_SECONDS)
    except AssertionError:
        astray = [row for row in rows if not lives_as_wished(row, operators)]
        wishes = {agent: wish for operator in operators for agent, wish in operator.wishes.items()}
        pytest.fail(f"not as wished: {[(row, wishes[row['id']]) for row in astray]}")
    return rows


def check_processes(mark: str, rows: list[dict[str, Any]]) -> None:
    """Each listed instance is one process, and but for these there are the manager and its fork servers only."""
    listed = {(i["instance_id"], i["pid"]) for row in rows for i in row["instances"]}
    processes = {stat.pid: instance_of(stat) for stat in marked(mark)}
    assert {(instance, pid) for pid, instance in processes.items() if instance is not None} == listed
    assert sum(instance is None for instance in processes.values()) <= 1 + len(PROFILES)
