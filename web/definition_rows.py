"""What an agent from data says of itself, as plain texts: its model, its MCP servers, its conversations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent_service.contract import DefinitionSummary, ThreadPage, ToolServerHealth
from agent_service.plurals import count_text
from web.texts import milliseconds_text
from web.ticks import Tick, age
from web.tones import Tone

_SERVER_TONES = {"ready": Tone.GOOD, "connecting": Tone.BUSY, "unavailable": Tone.BAD}


@dataclass(frozen=True)
class ServerRow:
    """One MCP server."""

    name: str
    transport: str
    state: str
    tone: Tone
    since: Tick
    tools: int
    ping: str | None
    calls: str
    reconnects: int
    trouble: tuple[str, ...]


@dataclass(frozen=True)
class DefinitionText:
    """`model` is `openai gpt-4o-mini at http://…`; `traits` are what else is set."""

    model: str
    traits: tuple[str, ...]
    servers: tuple[ServerRow, ...]


@dataclass(frozen=True)
class ThreadRow:
    """One conversation."""

    id: str
    updated: Tick


def definition_text(summary: DefinitionSummary, now: datetime) -> DefinitionText:
    """What the agent is made of at the moment `now`."""
    model = summary.model
    traits = [
        "remembers conversations" if summary.memory == "thread" else "remembers nothing between calls",
        *(["answers by a schema"] if summary.structured_output else []),
        *(["guardrails"] if summary.guardrails else []),
        *([f"reloaded {count_text(summary.revision, 'time')} since its start"] if summary.revision else []),
    ]
    return DefinitionText(
        model=f"{model.provider} {model.model}" + (f" at {model.base_url}" if model.base_url else ""),
        traits=tuple(traits),
        servers=tuple(_server(server, now) for server in summary.servers),
    )


def thread_rows(page: ThreadPage, now: datetime) -> list[ThreadRow]:
    """The newest conversations, newest first."""
    return [ThreadRow(thread.thread_id, age(thread.updated_at, now)) for thread in page.threads]


def _server(server: ToolServerHealth, now: datetime) -> ServerRow:
    failed = f", {server.calls_failed} failed" if server.calls_failed else ""
    error = [server.last_error] if server.last_error and server.state != "ready" else []
    without = "; the agent works without it" if server.fail_mode == "open" else "; the agent does not start without it"
    return ServerRow(
        name=server.name,
        transport=server.transport,
        state=str(server.state),
        tone=_SERVER_TONES.get(server.state, Tone.IDLE),
        since=age(server.since, now),
        tools=server.tools,
        ping=None if server.ping_ms is None else milliseconds_text(server.ping_ms),
        calls=f"{count_text(server.calls_total, 'call')}{failed}",
        reconnects=server.reconnects,
        trouble=(*(f"{text}{without}" for text in error), *server.warnings),
    )
