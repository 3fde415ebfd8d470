"""Who depends on whom, as written: that everybody named exists, that nobody waits for himself, and who is a sidecar."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from agent_service.issues import json_path
from manager.errors import ConfigIssue
from manager.specs.definitions import sidecars_in


@dataclass(frozen=True)
class _Agent:
    path: str
    needs: tuple[str, ...]
    written: dict[str, Any]


def dependency_issues(written: list[Any]) -> Iterator[ConfigIssue]:
    """What is wrong with `dependsOn` of the `agents` as written, and with the sidecars that definitions name."""
    agents = _by_id(written)
    for agent in agents.values():
        yield from _unknown(agent, list(agents))
        yield from _unreachable_sidecars(agent, agents)
    yield from _cycles(agents)


def _by_id(written: list[Any]) -> dict[str, _Agent]:
    agents: dict[str, _Agent] = {}
    for index, agent in enumerate(written):
        if isinstance(agent, dict) and isinstance(agent.get("id"), str):
            needs = agent.get("dependsOn")
            # What is no text is kept as one that nobody has, so that the others keep their index.
            ids = (need if isinstance(need, str) else "" for need in (needs if isinstance(needs, list) else ()))
            agents.setdefault(agent["id"], _Agent(json_path("agents", index), tuple(ids), agent))
    return agents


def _unknown(agent: _Agent, ids: list[str]) -> Iterator[ConfigIssue]:
    for index, need in enumerate(agent.needs):
        if need and need not in ids:
            close = difflib.get_close_matches(need, ids, n=1)
            remedy = f"did you mean {close[0]!r}?" if close else f"name agents of this file: {', '.join(ids)}"
            yield ConfigIssue(f"{agent.path}.dependsOn[{index}]", f"{need!r}, which is no agent here", remedy)


def _unreachable_sidecars(agent: _Agent, agents: dict[str, _Agent]) -> Iterator[ConfigIssue]:
    for path, sidecar in sidecars_in(agent.written.get("definition")):
        found = f"'{{sidecar:{sidecar}}}'"
        where = f"{agent.path}.definition.{path}"
        if sidecar not in agents or not agents[sidecar].written.get("probe"):
            yield ConfigIssue(where, f"{found}, but no agent {sidecar!r} with a probe", "name a sidecar of this file")
        elif sidecar not in agent.needs:
            yield ConfigIssue(where, f"{found} without a dependency on it", f"add {sidecar!r} to dependsOn")


def _cycles(agents: dict[str, _Agent]) -> Iterator[ConfigIssue]:
    graph = {agent_id: {need for need in agent.needs if need in agents} for agent_id, agent in agents.items()}
    while (circle := _circle(graph)) is not None:
        agent_id, need = circle[:2]
        where = f"{agents[agent_id].path}.dependsOn[{agents[agent_id].needs.index(need)}]"
        yield ConfigIssue(where, f"a circle: {' → '.join(circle)}", "take one of these dependencies out")
        graph[agent_id].discard(need)


def _circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Ids of which each depends on the next, the last being the first again."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(agent_id) for agent_id in reversed(error.args[1])]
    return None
