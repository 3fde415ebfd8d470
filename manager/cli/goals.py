"""When an accepted action is done, or can no longer be: pure functions of what the listing shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from manager.cli.output import duration
from manager.supervision.states import AgentAction, AgentState, DesiredState

if TYPE_CHECKING:
    from manager.supervision.views import AgentView

GRACE_SECONDS = 2.0
"""How long an agent may still show the state that it was in before the action."""

_ENDED = frozenset({AgentState.STOPPED, AgentState.FAILED, AgentState.LOST})
_WITHOUT_PROCESS = _ENDED | {AgentState.BACKOFF}


@dataclass(frozen=True)
class Outcome:
    """What came of an action, and what to tell the person of it."""

    reached: bool
    sentence: str


@dataclass(frozen=True)
class Goal:
    """An accepted action, with the agent as it was before and as the manager's answer showed it."""

    action: AgentAction
    before: AgentView
    accepted: AgentView

    @property
    def agent_id(self) -> str:
        """Whose goal it is."""
        return self.before.id

    @property
    def doubt(self) -> str | None:
        """What keeps an agent that was to start from it, as the manager's answer showed; None where nothing does."""
        view = self.accepted
        if self.action is not AgentAction.START or _serves(view) or not view.state_reason:
            return None
        # One that had failed may still be shown as it was before this start.
        if view.state is AgentState.FAILED and view.state_reason == self.before.state_reason:
            return None
        return f"{self.agent_id} {view.state.in_words}: {view.state_reason}"

    def judge(self, view: AgentView | None, waited_seconds: float) -> Outcome | None:
        """What came of it `waited_seconds` after the manager accepted; None while it is under way.

        `view` is None when the manager no longer lists the agent.
        """
        if view is None or view.state is AgentState.LOST:
            return self._judge_absent()
        if view.desired_state is not self.accepted.desired_state:
            return self._missed(f"somebody wants it {view.desired_state} now")
        if self._is_reached(view):
            return Outcome(True, f"{self.agent_id} {_done(self, view)}")
        if self.action is AgentAction.RESTART and _serves(view) and view.state_reason:
            return self._missed(view.state_reason)
        if self._has_ended(view, waited_seconds):
            return self._missed(f"it is {view.state}" + (f": {why(view)}" if why(view) else ""))
        return None

    def _judge_absent(self) -> Outcome:
        if self.action in {AgentAction.STOP, AgentAction.KILL}:
            return Outcome(True, f"{self.agent_id} is gone")
        return self._missed("the manager has lost it")

    def _missed(self, reason: str) -> Outcome:
        return Outcome(False, f"{self.agent_id}: {self.action} not reached, {reason}")

    def _is_reached(self, view: AgentView) -> bool:
        match self.action:
            case AgentAction.START | AgentAction.RESUME:
                return _serves(view)
            case AgentAction.PAUSE:
                return view.state is AgentState.PAUSED
            case AgentAction.RESTART:
                return _serves(view) and self._is_replaced(view)
            case AgentAction.STOP:
                return view.state is AgentState.STOPPED
            case AgentAction.KILL:
                return view.pid is None or _process(view) != _process(self.before)

    def _is_replaced(self, view: AgentView) -> bool:
        old = {instance.instance_id for instance in self.before.instances}
        if old and view.managed:
            return not any(instance.instance_id in old for instance in view.instances)
        return _process(view) != _process(self.before)

    def _has_ended(self, view: AgentView, waited_seconds: float) -> bool:
        return view.state in _ENDED and (view.state is not self.accepted.state or waited_seconds >= GRACE_SECONDS)


@dataclass(frozen=True)
class ScaleGoal:
    """An accepted `scale`: so many instances, each of them ready, and none that still drains."""

    agent_id: str
    instances: int

    def judge(self, view: AgentView | None, waited_seconds: float) -> Outcome | None:
        """As `Goal.judge`."""
        if view is None:
            return self._missed("the manager has lost it")
        if view.instances_wanted != self.instances:
            return self._missed(f"somebody wants {view.instances_wanted} now")
        if view.desired_state is DesiredState.STOPPED:
            return Outcome(True, f"{self.agent_id}: {self.instances} wanted; it is stopped, `start` starts them")
        if len(view.instances) == self.instances and _all_serve(view):
            return Outcome(True, f"{self.agent_id}: {self.instances} of {self.instances} ready")
        if view.state is AgentState.FAILED:
            return self._missed(f"it is failed: {why(view)}")
        return None

    def _missed(self, reason: str) -> Outcome:
        return Outcome(False, f"{self.agent_id}: scale to {self.instances} not reached, {reason}")


def progress(view: AgentView, now: datetime) -> str:
    """`draining: 3 left, 27 s, SIGKILL in 37 s`, `backoff, next start in 4.0 s`, or the state."""
    if view.state is AgentState.STOPPING:
        return f"draining: {draining(view, now)}"
    if view.state is AgentState.RUNNING and (view.instances_wanted > 1 or len(view.instances) > 1):
        there = f", {len(view.instances)} there" if len(view.instances) != view.instances_wanted else ""
        return f"running, {ready_count(view)} of {view.instances_wanted} ready{there}"
    if view.state is AgentState.BACKOFF and view.next_start_at is not None:
        return f"backoff, next start in {duration((view.next_start_at - now).total_seconds())}"
    return str(view.state)


def draining(view: AgentView, now: datetime) -> str:
    """`3 left, 27 s, SIGKILL in 37 s`: the tasks in flight, until when they may end, and by when the process has."""
    parts = [f"{view.in_flight} left"]
    if view.drain_deadline is not None:
        parts.append(_seconds_until(view.drain_deadline, now))
    if view.stop_deadline is not None:
        parts.append(f"SIGKILL in {_seconds_until(view.stop_deadline, now)}")
    return ", ".join(parts)


def ready_count(view: AgentView) -> int:
    """How many of its instances take requests."""
    return sum(instance.ready for instance in view.instances) if view.ready else 0


def why(view: AgentView) -> str:
    """Why the agent is as it is: the state's reason, else how its last process ended where none has followed."""
    if view.state_reason:
        return view.state_reason
    return view.last_exit.reason if view.last_exit and view.state in _WITHOUT_PROCESS else ""


def _seconds_until(moment: datetime, now: datetime) -> str:
    return f"{max((moment - now).total_seconds(), 0):.0f} s"


def _serves(view: AgentView) -> bool:
    """Paused counts where paused is what is wanted: a restart keeps it."""
    if view.desired_state is DesiredState.PAUSED:
        return view.state is AgentState.PAUSED
    return view.state is AgentState.RUNNING and view.ready


def _all_serve(view: AgentView) -> bool:
    if view.desired_state is DesiredState.PAUSED:
        return view.state is AgentState.PAUSED and not any(instance.draining for instance in view.instances)
    return all(instance.ready for instance in view.instances)


def _process(view: AgentView) -> tuple[object, ...]:
    # An adapter that replaces itself by execv keeps its pid; of one started elsewhere only the registration tells.
    return view.instance_id, view.pid, view.started_at if view.managed else view.registered_at


def _done(goal: Goal, view: AgentView) -> str:
    match goal.action:
        case AgentAction.STOP:
            return "stopped"
        case AgentAction.KILL:
            return "killed"
        case AgentAction.PAUSE:
            return "paused"
        case AgentAction.RESTART:
            return f"restarted (pid {goal.before.pid or '-'} → {view.pid or '-'})"
        case AgentAction.START | AgentAction.RESUME:
            return f"{view.state} (pid {view.pid or '-'})"
