"""How much of a person's attention each state wants."""

from __future__ import annotations

from enum import StrEnum

from manager.supervision.states import AgentState


class Tone(StrEnum):
    """The style sheet gives each its colour."""

    GOOD = "good"
    BUSY = "busy"
    IDLE = "idle"
    WARN = "warn"
    BAD = "bad"


STATE_TONES = {
    AgentState.STARTING: Tone.BUSY,
    AgentState.RUNNING: Tone.GOOD,
    AgentState.PAUSED: Tone.IDLE,
    AgentState.STOPPING: Tone.BUSY,
    AgentState.STOPPED: Tone.IDLE,
    AgentState.BACKOFF: Tone.WARN,
    AgentState.FAILED: Tone.BAD,
    AgentState.UNRESPONSIVE: Tone.BAD,
    AgentState.LOST: Tone.BAD,
}
