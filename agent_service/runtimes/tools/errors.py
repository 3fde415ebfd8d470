"""What can go wrong between an agent and its servers of tools."""

from __future__ import annotations

from agent_service.errors import AdapterError, Refusal


class ToolServerUnavailable(Refusal):
    """A server without which the agent may not answer (`fail_mode: closed`) cannot be reached."""

    status = 503
    retry_after_seconds = 1

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"The MCP server {server!r} is unavailable: {reason}. Try again once it is back.")
        self.reason = reason


class CallTimedOut(ToolServerUnavailable):
    """It is there, as far as is known, but a call had no answer in time."""


class ServerLost(AdapterError):
    """No answer came, for the connection is over. `begun`: the server may have worked on the request."""

    def __init__(self, reason: str, *, begun: bool = False) -> None:
        super().__init__(reason)
        self.begun = begun


class CallFailed(AdapterError):
    """The server answered, but not with a result; asking again would not help."""
