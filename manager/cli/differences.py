"""A difference between two configs as lines for a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from manager.cli.output import printable

if TYPE_CHECKING:
    from manager.specs.diff import ConfigDiff, FieldChange

_RUNTIME_EFFECTS = {"live": "for the agents that do not set it", "manager_restart": "needs a restart of the manager"}
_WEBHOOKS = "webhooks"


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
        yield f"~ {agent.id}: {agent.consequence}"
        yield from _values(agent.changes)
    for change in changes.runtime:
        if change.path == _WEBHOOKS:
            yield "~ runtime: counts at once"
            yield from _webhooks(change)
        else:
            yield f"~ runtime: {_RUNTIME_EFFECTS[change.effect]}"
            yield from _values([change])
    if changes.reordered:
        yield "~ the order of the agents"


def _values(changes: Iterable[FieldChange]) -> Iterator[str]:
    for change in changes:
        if change.before == change.after is not None:
            yield f"    {change.path}: another value, hidden"
        else:
            yield f"    {change.path}: {_change(change.before, change.after)}"


def _webhooks(change: FieldChange) -> Iterator[str]:
    before, after = _by_name(change.before), _by_name(change.after)
    if before == after:
        yield "    webhooks: in another order"
    for name in {**before, **after}:
        if name not in before:
            yield f"    webhook {name}: added"
        elif name not in after:
            yield f"    webhook {name}: removed"
        else:
            yield from _webhook(name, before[name], after[name])


def _webhook(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield f"    webhook {name}, {key}: {_change(before.get(key), after.get(key))}"


def _by_name(webhooks: Any) -> dict[str, dict[str, Any]]:
    return {webhook["name"]: webhook for webhook in webhooks or ()}


def _change(before: object, after: object) -> str:
    return f"{_shown(before)} → {_shown(after)}"


def _shown(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False)
