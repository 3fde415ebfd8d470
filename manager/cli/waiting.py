"""Waits for accepted actions to be done, and shows what is still under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from manager.cli.goals import Outcome
from manager.cli.output import print_error
from manager.cli.session import Session

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient
    from manager.supervision.views import AgentView

POLL_SECONDS = 0.2


class Judge(Protocol):
    """An accepted action of one agent."""

    @property
    def agent_id(self) -> str: ...

    def judge(self, view: AgentView | None, waited_seconds: float) -> Outcome | None: ...


@dataclass
class Work:
    """What has been accepted and what has come of it, by agent id."""

    goals: dict[str, Judge] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def judge(self, views: Mapping[str, AgentView], waited_seconds: float) -> None:
        """Note what has come of each goal."""
        for goal in self.pending():
            if outcome := goal.judge(views.get(goal.agent_id), waited_seconds):
                self.outcomes[goal.agent_id] = outcome

    def pending(self) -> list[Judge]:
        """The goals that are neither reached nor missed."""
        return [goal for agent_id, goal in self.goals.items() if agent_id not in self.outcomes]


def wait(manager: ManagerClient, session: Session, work: Work) -> None:
    """Return when every goal is reached or missed; Ctrl-C ends the waiting and nothing else."""
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
