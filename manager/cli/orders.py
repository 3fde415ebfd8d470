"""Carries out what `start`, `stop` and their like were asked: ask for each agent, then wait until it is so."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from manager.cli.goals import Goal, Outcome
from manager.cli.output import print_error, print_json, print_line
from manager.cli.session import Session
from manager.supervision.states import HARMLESS, NEEDS_PROCESS, AgentAction, Strategy

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient
    from manager.supervision.views import AgentView

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line: an action for `ids`, or for `every` agent."""

    action: AgentAction
    ids: Sequence[str]
    every: bool
    reason: str | None
    wait: bool
    as_json: bool
    timeout_seconds: float | None = None
    strategy: Strategy | None = None


@dataclass
class _Work:
    """What has been accepted and what has come of it, by agent id."""

    goals: dict[str, Goal] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def judge(self, views: Mapping[str, AgentView], waited_seconds: float) -> None:
        for goal in self.pending():
            if outcome := goal.judge(views.get(goal.agent_id), waited_seconds):
                self.outcomes[goal.agent_id] = outcome

    def pending(self) -> list[Goal]:
        return [goal for agent_id, goal in self.goals.items() if agent_id not in self.outcomes]


def carry_out(session: Session, url: str | None, order: Order) -> None:
    """Do it and tell what came of it. Raises `typer.Exit` with 1 when an agent refused or missed its goal."""
    if order.every == bool(order.ids):
        raise typer.BadParameter("name the agents' ids, or say --all for every agent.", param_hint="ID")
    with session.connect(url) as manager:
        work = _ask(manager, order)
        if order.wait:
            _wait(manager, session, work)
        if order.as_json:
            print_json({"agents": [row for row in manager.agents() if row["id"] in work.goals]})
    _report(order, work)


def _ask(manager: ManagerClient, order: Order) -> _Work:
    from manager.cli.client import ManagerUnreachable, RequestFailed

    work = _Work()
    before = {view.id: view for view in manager.views()}
    for agent_id in _chosen(order, before.values()) if order.every else dict.fromkeys(order.ids):
        try:
            answer = manager.act(
                agent_id,
                order.action,
                reason=order.reason,
                timeout_seconds=order.timeout_seconds,
                strategy=order.strategy,
            )
        except ManagerUnreachable:
            raise
        except RequestFailed as refusal:
            work.outcomes[agent_id] = Outcome(False, refusal.detail)
        else:
            [accepted] = manager.parse_views([answer])
            work.goals[agent_id] = Goal(order.action, before.get(agent_id, accepted), accepted)
    return work


def _chosen(order: Order, views: Collection[AgentView]) -> list[str]:
    allowed = {view.id: _allows(view, order.action) for view in views}
    skipped = [f"{view.id} ({view.state})" for view in views if not allowed[view.id]]
    if skipped:
        print_error(f"Nothing to {order.action}: {', '.join(skipped)}")
    return [agent_id for agent_id, is_allowed in allowed.items() if is_allowed]


def _allows(view: AgentView, action: AgentAction) -> bool:
    harmless = action in HARMLESS[view.state] and (view.managed or action not in NEEDS_PROCESS)
    return action in view.actions or harmless


def _wait(manager: ManagerClient, session: Session, work: _Work) -> None:
    from manager.cli.progress import Progress

    since = session.clock.monotonic()
    try:
        with Progress() as progress:
            while True:
                views = {view.id: view for view in manager.views()}
                now, waited = session.clock.now(), session.clock.monotonic() - since
                work.judge(views, waited)
                if not work.pending():
                    return
                progress.show([views[goal.agent_id] for goal in work.pending()], now)
                session.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        print_error("No longer waiting; the manager carries on.")
        raise


def _report(order: Order, work: _Work) -> None:
    for agent_id in work.goals:
        outcome = work.outcomes.get(agent_id, Outcome(True, f"{agent_id}: {order.action} accepted"))
        if outcome.reached and not order.as_json:
            print_line(outcome.sentence)
    missed = [outcome for outcome in work.outcomes.values() if not outcome.reached]
    for outcome in missed:
        print_error(outcome.sentence)
    if missed:
        raise typer.Exit(1)
