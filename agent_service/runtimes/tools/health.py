"""How one server of tools is, as /info and the metrics tell it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from agent_service.contract import Timestamp, WireModel


class ServerState(StrEnum):
    """`connecting`: for the first time, or at once after a loss, with the tools still offered. `unavailable`: the last
    attempt failed, the tools are absent, and the next attempt comes by itself.
    """

    CONNECTING = "connecting"
    READY = "ready"
    UNAVAILABLE = "unavailable"


class ServerHealth(WireModel):
    """`since`: when the state began. `tools`: how many the agent may use. `warnings`: what is wrong with its tools."""

    name: str
    transport: Literal["http", "stdio", "sse"]
    state: ServerState
    tools: int
    last_error: str | None
    since: Timestamp
    ping_ms: float | None
    reconnects: int
    calls_total: int
    calls_failed: int
    warnings: list[str]
