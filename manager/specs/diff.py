"""The difference between two configs, field by field, and what it takes for each change to count.

Pure; it holds what may be shown and nothing else: references as such, secrets hidden.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, computed_field

from agent_service.issues import json_path, keys_of
from manager.settings import AgentSettings, RuntimeSettings
from manager.specs.fleet_config import FleetConfig
from manager.specs.models import AgentConfig

# The manager holds these by itself. Of name, description and metadata an adapter has a copy, which its own /info
# shows until its next start; of drainTimeoutSeconds too, but every stop brings the manager's value along.
_LIVE_FIELDS = frozenset(
    {
        "name",
        "description",
        "metadata",
        "autostart",
        "instances",
        "drain_timeout_seconds",
        "execute_timeout_seconds",
        "queue_while_restarting_seconds",
        "start_timeout_seconds",
        "restart",
    }
)
LIVE_AGENT_KEYS = frozenset(key for key, name in keys_of(AgentConfig).items() if name in _LIVE_FIELDS)
"""The keys of an agent that a running process needs not be restarted for."""
# Of the limits the manager watches over this one by itself.
_LIVE_PATHS = frozenset({("limits", "memory_mb")})
LIVE_RUNTIME_FIELDS = frozenset({*AgentSettings.model_fields, "webhooks"})
"""What of `runtime` reaches the agents, as changes of theirs, or is the manager's to change as it runs."""
LIVE_RUNTIME_KEYS = frozenset(key for key, name in keys_of(RuntimeSettings).items() if name in LIVE_RUNTIME_FIELDS)
"""All other keys of `runtime` need a restart of the manager."""

_NAMED = 5
_ABSENT = object()


class Effect(StrEnum):
    """What a change needs: nothing, that the agent's processes are told, new processes, or a new manager."""

    LIVE = "live"
    RELOAD = "reload"
    RESTART = "restart"
    MANAGER_RESTART = "manager_restart"


_CONSEQUENCES = {
    Effect.LIVE: "counts at once",
    Effect.RELOAD: "gets its new definition",
    Effect.RESTART: "restarts",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class FieldChange(_Part):
    """One value. `path` is relative to its agent or to `runtime`: `env.TEAM_KEY`; null is also what is not there.

    A secret that was replaced shows as `***` before and after.
    """

    path: str
    before: JsonValue
    after: JsonValue
    effect: Effect


class AgentChange(_Part):
    """What changes of one agent, in the order of its keys. `stopped`: nothing of it runs, or is to."""

    id: str
    changes: tuple[FieldChange, ...]
    stopped: bool = False

    @computed_field  # type: ignore[prop-decorator]
    @property
    def effect(self) -> Effect:
        """`restart` where one change needs it, else `reload` where one does."""
        effects = {change.effect for change in self.changes}
        return next((effect for effect in (Effect.RESTART, Effect.RELOAD) if effect in effects), Effect.LIVE)

    @property
    def waits(self) -> bool:
        """Whether it counts at the agent's next start."""
        return self.stopped and self.effect is not Effect.LIVE

    @property
    def consequence(self) -> str:
        """What a reload does to the agent, in the words of the command line and the dashboard."""
        return "counts at its next start" if self.waits else _CONSEQUENCES[self.effect]


class ConfigDiff(_Part):
    """From the config that runs to another: ids of agents in the order in which they are listed, and changes."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[AgentChange, ...] = ()
    reordered: bool = False
    """Whether agents that stay are listed in another order."""
    runtime: tuple[FieldChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is no difference at all."""
        return not (self.added or self.removed or self.changed or self.reordered or self.runtime)

    @property
    def fingerprint(self) -> str:
        """Tells this difference from another one: who has looked at it can ask for just that."""
        # Stopping an agent is no change of the file.
        told = self.model_dump_json(exclude={"changed": {"__all__": {"stopped"}}})
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def pending(self) -> tuple[str, ...]:
        """The keys of `runtime` whose change waits for a restart of the manager."""
        return self._settings(Effect.MANAGER_RESTART)

    def ids(self, effect: Effect) -> tuple[str, ...]:
        """The changed agents that take their changes over in this way, and now."""
        return tuple(agent.id for agent in self.changed if agent.effect is effect and not agent.waits)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The changed agents for which it counts at their next start."""
        return tuple(agent.id for agent in self.changed if agent.waits)

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return self.model_dump(mode="json")

    def summary(self) -> str:
        """In a line: `added writer; restarting planner, executor`."""
        parts = (
            ("added", self.added),
            ("removed", self.removed),
            ("restarting", self.ids(Effect.RESTART)),
            ("given a new definition:", self.ids(Effect.RELOAD)),
            ("changed without a restart", self.ids(Effect.LIVE)),
            ("changed for the next start of", self.waiting),
            ("changed in runtime:", self._settings(Effect.LIVE)),
            ("waiting for a restart of the manager:", self.pending),
        )
        told = [f"{verb} {_listed(names)}" for verb, names in parts if names]
        return "; ".join([*told, *(["reordered"] if self.reordered else [])]) or "no differences"

    def _settings(self, effect: Effect) -> tuple[str, ...]:
        """The keys of `runtime` whose change has this effect."""
        return tuple(change.path for change in self.runtime if change.effect is effect)


def diff(old: FleetConfig, new: FleetConfig, *, stopped: Collection[str] = ()) -> ConfigDiff:
    """What has to happen to what runs with `old` for it to run with `new`, where these agents are `stopped`."""
    before = {agent.id: agent for agent in old.agents}
    after = {agent.id: agent for agent in new.agents}
    staying = [agent_id for agent_id in after if agent_id in before]
    changes = (
        AgentChange(id=i, changes=tuple(_agent_changes(before[i], after[i])), stopped=i in stopped) for i in staying
    )
    return ConfigDiff(
        added=tuple(agent_id for agent_id in after if agent_id not in before),
        removed=tuple(agent_id for agent_id in before if agent_id not in after),
        changed=tuple(agent for agent in changes if agent.changes),
        reordered=[agent_id for agent_id in before if agent_id in after] != staying,
        runtime=tuple(_runtime_changes(old.runtime, new.runtime)),
    )


def _agent_changes(old: AgentConfig, new: AgentConfig) -> Iterator[FieldChange]:
    # Compared as they are, shown as they may be: a secret that was replaced is a change too.
    before, after = old.to_public(), new.to_public()
    for path in _differing(old.model_dump(mode="json"), new.model_dump(mode="json")):
        yield _change(path, before, after, _effect(path))


def _effect(path: tuple[str, ...]) -> Effect:
    if path[0] in LIVE_AGENT_KEYS or path in _LIVE_PATHS:
        return Effect.LIVE
    return Effect.RELOAD if path[0] == "definition" else Effect.RESTART


def _runtime_changes(old: RuntimeSettings, new: RuntimeSettings) -> Iterator[FieldChange]:
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    for path in _differing(before, after):
        effect = Effect.LIVE if path[0] in LIVE_RUNTIME_KEYS else Effect.MANAGER_RESTART
        yield _change(path, before, after, effect)


def _change(path: tuple[str, ...], before: Any, after: Any, effect: Effect) -> FieldChange:
    written = ""
    for key in path:
        written = json_path(written, key)
    return FieldChange(path=written, before=_at(before, path), after=_at(after, path), effect=effect)


def _differing(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths at which two JSON values differ; within an array nothing is told apart."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from _differing(before.get(key, _ABSENT), after.get(key, _ABSENT), (*path, key))
    elif _canonical(before) != _canonical(after):
        yield path


def _canonical(value: Any) -> str:
    """As text: to Python, 1 and true are equal."""
    return "" if value is _ABSENT else json.dumps(value, sort_keys=True)


def _at(value: Any, path: Iterable[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
