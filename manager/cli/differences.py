"""A difference between two configs as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from manager.cli.output import printable

if TYPE_CHECKING:
    from manager.specs.diff import ConfigDiff, FieldChange

_AGENT_EFFECTS = {"live": "takes it over while it runs", "reload": "gets its new definition", "restart": "restarts"}
_RUNTIME_EFFECTS = {"live": "for the agents that do not set it", "manager_restart": "needs a restart of the manager"}


def difference_lines(changes: ConfigDiff) -> list[str]:
    """One line per agent and per value; `no differences` when there is none."""
    if changes.is_empty:
        return ["no differences"]
    return [printable(line) for line in _lines(changes)]


def _lines(changes: ConfigDiff) -> Iterator[str]:
    for agent_id in changes.added:
        yield f"+ {agent_id}: starts"
    for agent_id in changes.removed:
        yield f"- {agent_id}: drains and goes"
    for agent in changes.changed:
        yield f"~ {agent.id}: {_AGENT_EFFECTS[agent.effect]}"
        yield from _values(agent.changes)
    for change in changes.runtime:
        yield f"~ runtime: {_RUNTIME_EFFECTS[change.effect]}"
        yield from _values([change])
    if changes.reordered:
        yield "~ the order of the agents"


def _values(changes: Iterable[FieldChange]) -> Iterator[str]:
    for change in changes:
        if change.before == change.after is not None:
            yield f"    {change.path}: another value, hidden"
        else:
            yield f"    {change.path}: {_shown(change.before)} → {_shown(change.after)}"


def _shown(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)
