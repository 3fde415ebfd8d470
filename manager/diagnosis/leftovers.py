"""What lives on of agents while no manager looks after them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.diagnosis.database import copy_of
from manager.diagnosis.finding import Finding, warning, well
from manager.diagnosis.naming import listed
from manager.diagnosis.surroundings import Surroundings
from manager.store.database import FILE_NAME
from manager.supervision.identity import is_running
from manager.supervision.process import ProcessIdentity

_QUERY = "SELECT instance_id, agent_id, pid, process_created_at, boot_id FROM instances"


@dataclass(frozen=True)
class LivingInstance:
    """One that runs though no manager looks after it."""

    instance_id: str
    agent_id: str
    pid: int


def check_leftovers(around: Surroundings) -> Iterator[Finding]:
    """A running manager looks after its own, so there is nothing to look for beside one."""
    if around.config is None or around.holder is not None:
        return
    found = living_instances(around.config.state_directory)
    configured = {agent.id for agent in around.config.agents}
    staying = [each for each in found if each.agent_id in configured]
    gone = [each for each in found if each.agent_id not in configured]
    if staying:
        yield warning(
            "leftovers", f"Agents go on without a manager: {_listed(staying)}", "`agent-manager up` takes them back"
        )
    if gone:
        message = f"Agents that are not in the config any more go on: {_listed(gone)}"
        yield warning("leftovers", message, "`agent-manager up` ends them")
    if not found:
        yield well("leftovers", "No agent runs without a manager")


def living_instances(state_directory: Path) -> list[LivingInstance]:
    """The instances that the last manager knew and that run; none where its database cannot tell."""
    path = state_directory / FILE_NAME
    if not path.is_file():
        return []
    try:
        with copy_of(path) as database:
            rows = database.execute(_QUERY).fetchall()
    except (sqlite3.Error, OSError):
        return []
    return [
        LivingInstance(instance_id, agent_id, pid)
        for instance_id, agent_id, pid, created_at, boot in rows
        if is_running(ProcessIdentity(pid, created_at, boot))
    ]


def _listed(found: Sequence[LivingInstance]) -> str:
    return listed([f"{each.agent_id} (pid {each.pid})" for each in found])
