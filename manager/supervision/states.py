"""The manager's view of an agent: what it is, what it should be, and what a person may do about it.

                ┌──────────────────── start ─────────────────────┐
                ▼                                                │
stopped ──▶ starting ──registered──▶ running ◀──resume/pause──▶ paused
             │    │ ▲                  │  ▲                       │
  config     │    │ │ delay over       │  │ heartbeat             │
  error      │    │ │                  ▼  │                       │
failed ◀─────┘    │ │             unresponsive                    │
  ▲               ▼ │                  │                          │
  └─ gave up ── backoff ◀── crash ─────┴──────────────────────────┘

every state that has a process ──stop──▶ stopping ──exit──▶ stopped
registered from outside: running ⇄ paused, stopping, and lost when the TTL has passed
"""

from __future__ import annotations

from enum import StrEnum


class AgentState(StrEnum):
    """Actual state, as the manager sees it."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKOFF = "backoff"
    FAILED = "failed"
    UNRESPONSIVE = "unresponsive"
    LOST = "lost"

    @property
    def in_words(self) -> str:
        """What a sentence says of an agent in this state."""
        return "waits to start again" if self is AgentState.BACKOFF else f"is {self}"


class DesiredState(StrEnum):
    """What a person or the config wants; a person's choice survives the manager's restart."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Strategy(StrEnum):
    """How a restart replaces instances: the successor first (nothing is refused meanwhile), or the old one first."""

    ROLLING = "rolling"
    RECREATE = "recreate"


class AgentAction(StrEnum):
    """What `POST /api/agent-services/{id}/action` takes."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"


_S = AgentState
_A = AgentAction

DOWN = frozenset({_S.STOPPED, _S.FAILED})
"""No process, and none to come until a person asks for one."""

TRANSITIONS: dict[AgentState, frozenset[AgentState]] = {
    # A manager that begins may find any of these.
    _S.STOPPED: frozenset({_S.STARTING, _S.FAILED, _S.RUNNING, _S.PAUSED, _S.STOPPING, _S.BACKOFF, _S.UNRESPONSIVE}),
    _S.STARTING: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPING, _S.STOPPED, _S.BACKOFF, _S.FAILED, _S.UNRESPONSIVE}),
    _S.RUNNING: frozenset(
        {_S.PAUSED, _S.STOPPING, _S.STOPPED, _S.STARTING, _S.BACKOFF, _S.FAILED, _S.UNRESPONSIVE, _S.LOST}
    ),
    _S.PAUSED: frozenset(
        {_S.RUNNING, _S.STOPPING, _S.STOPPED, _S.STARTING, _S.BACKOFF, _S.FAILED, _S.UNRESPONSIVE, _S.LOST}
    ),
    _S.STOPPING: frozenset(
        {_S.STOPPED, _S.STARTING, _S.RUNNING, _S.PAUSED, _S.BACKOFF, _S.FAILED, _S.UNRESPONSIVE, _S.LOST}
    ),
    _S.BACKOFF: frozenset({_S.STARTING, _S.STOPPED, _S.FAILED}),
    _S.FAILED: frozenset({_S.STARTING, _S.STOPPED}),
    _S.UNRESPONSIVE: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPING, _S.STOPPED, _S.STARTING, _S.BACKOFF, _S.FAILED}),
    _S.LOST: frozenset({_S.RUNNING, _S.PAUSED, _S.STOPPING, _S.STOPPED}),
}

# The actions that change something. Those in HARMLESS are accepted too and change nothing.
LEGAL_ACTIONS: dict[AgentState, frozenset[AgentAction]] = {
    _S.STOPPED: frozenset({_A.START}),
    _S.STARTING: frozenset({_A.PAUSE, _A.STOP, _A.RESTART, _A.KILL}),
    _S.RUNNING: frozenset({_A.PAUSE, _A.STOP, _A.RESTART, _A.KILL}),
    _S.PAUSED: frozenset({_A.RESUME, _A.STOP, _A.RESTART, _A.KILL}),
    _S.STOPPING: frozenset({_A.START, _A.STOP, _A.KILL}),
    _S.BACKOFF: frozenset({_A.START, _A.PAUSE, _A.STOP, _A.RESTART}),
    _S.FAILED: frozenset({_A.START, _A.STOP, _A.RESTART}),
    _S.UNRESPONSIVE: frozenset({_A.PAUSE, _A.STOP, _A.RESTART, _A.KILL}),
    _S.LOST: frozenset(),
}

HARMLESS: dict[AgentState, frozenset[AgentAction]] = {
    _S.STOPPED: frozenset({_A.STOP}),
    _S.STARTING: frozenset({_A.START, _A.RESUME}),
    _S.RUNNING: frozenset({_A.START, _A.RESUME}),
    _S.PAUSED: frozenset({_A.PAUSE}),
    _S.STOPPING: frozenset(),
    _S.BACKOFF: frozenset({_A.RESUME}),
    _S.FAILED: frozenset(),
    _S.UNRESPONSIVE: frozenset({_A.START, _A.RESUME}),
    _S.LOST: frozenset(),
}

# An agent that runs elsewhere has no process of ours: these need one.
NEEDS_PROCESS = frozenset({_A.START, _A.KILL})
