"""What a reload of the config would do, as plain texts. Pure functions of a `ConfigDiff`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent_service.plurals import count_text
from manager.errors import ConfigIssue
from manager.specs.diff import AgentChange, ConfigDiff, Effect, FieldChange
from web.rendering import Outcome
from web.setting_rows import ValueText, value_text
from web.tones import Tone


@dataclass(frozen=True)
class ChangeRow:
    """One value, before and after."""

    path: str
    before: ValueText
    after: ValueText
    effect: str | None
    """Where it is another than its step's."""


@dataclass(frozen=True)
class PlanStep:
    """What happens to one agent, or to the fleet where `agent_id` is None."""

    tone: Tone
    sign: str
    agent_id: str | None
    title: str
    consequence: str
    changes: tuple[ChangeRow, ...] = ()
    waits: bool = False
    """Whether a reload leaves it to a restart of the manager."""


@dataclass(frozen=True)
class Plan:
    """`fingerprint` tells this plan from another; `steps` is empty where file and manager agree.

    `waiting` are the keys of `runtime` that no reload changes, only a restart of the manager.
    `issues` are what is wrong with the file: then there is no plan.
    """

    fingerprint: str
    summary: str
    steps: tuple[PlanStep, ...] = ()
    waiting: tuple[str, ...] = ()
    issues: tuple[ConfigIssue, ...] = ()

    @property
    def can_reload(self) -> bool:
        """Whether there is anything that a reload would do."""
        return any(not step.waits for step in self.steps)


_MEANWHILE = {
    Effect.LIVE: "its processes go on",
    Effect.RELOAD: "calls under way finish on the old one",
    Effect.RESTART: "work in flight finishes first",
}
_RUNTIME_CONSEQUENCES = {
    Effect.LIVE: "counts at once; the agents' processes go on",
    Effect.MANAGER_RESTART: "counts when the manager itself is started anew; agents can go on meanwhile",
}
_WORDS = {
    Effect.LIVE: "at once",
    Effect.RELOAD: "definition reload",
    Effect.RESTART: "restart",
    Effect.MANAGER_RESTART: "manager restart",
}
_TONES = {
    Effect.LIVE: Tone.GOOD,
    Effect.RELOAD: Tone.BUSY,
    Effect.RESTART: Tone.BUSY,
    Effect.MANAGER_RESTART: Tone.WARN,
}


def plan_of(diff: ConfigDiff) -> Plan:
    """The steps in the order in which a reload takes them."""
    steps = [
        *(
            PlanStep(Tone.BAD, "removed", gone, "is removed", "drains what is in flight and ends")
            for gone in diff.removed
        ),
        *(_changed(agent) for agent in diff.changed),
        *(PlanStep(Tone.GOOD, "added", new, "is added", "starts, unless its autostart is off") for new in diff.added),
        *(_runtime(effect, diff.runtime) for effect in (Effect.LIVE, Effect.MANAGER_RESTART)),
    ]
    if diff.reordered:
        steps.append(PlanStep(Tone.IDLE, "moved", None, "Agents are listed in another order", "nothing restarts"))
    told = tuple(step for step in steps if step is not None)
    return Plan(diff.fingerprint, count_text(len(told), "step") if told else "no differences", told, diff.pending)


def refused_plan(issues: Iterable[ConfigIssue]) -> Plan:
    """Of a file that is wrong."""
    found = tuple(issues)
    return Plan("", count_text(len(found), "mistake"), issues=found)


def outcome_of_reload(plan: Plan) -> Outcome | None:
    """Of one that was taken, by the plan that is left; None where the file says something new by now."""
    if plan.can_reload or plan.issues:
        return None
    if not plan.waiting:
        return Outcome("Reloaded", "The file is in force.", refused=False)
    wait = "waits" if len(plan.waiting) == 1 else "wait"
    return Outcome("Reloaded", f"{', '.join(plan.waiting)} {wait} for a restart of the manager.", refused=False)


def _changed(agent: AgentChange) -> PlanStep:
    effect = agent.effect
    if agent.stopped:
        rows = _rows(agent.changes, effect, later=agent.waits)
        return PlanStep(Tone.IDLE, "changed", agent.id, "changes", agent.consequence, rows)
    consequence = f"{agent.consequence}; {_MEANWHILE[effect]}"
    return PlanStep(_TONES[effect], "changed", agent.id, "changes", consequence, _rows(agent.changes, effect))


def _runtime(effect: Effect, changes: Iterable[FieldChange]) -> PlanStep | None:
    found = [change for change in changes if change.effect is effect]
    if not found:
        return None
    rows, waits = _rows(found, effect), effect is Effect.MANAGER_RESTART
    return PlanStep(_TONES[effect], "changed", None, "The fleet's runtime", _RUNTIME_CONSEQUENCES[effect], rows, waits)


def _rows(changes: Iterable[FieldChange], usual: Effect, *, later: bool = False) -> tuple[ChangeRow, ...]:
    """`later`: what does not count at once counts as usual, since nothing runs that could be told or restarted."""
    return tuple(
        ChangeRow(
            change.path,
            value_text(change.before),
            value_text(change.after),
            None if change.effect is usual or (later and change.effect is not Effect.LIVE) else _WORDS[change.effect],
        )
        for change in changes
    )
