"""An MCP session that ends its requests when the connection ends, and tells the server of those given up."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import anyio
from mcp import ClientSession, types
from mcp.client.session import LoggingFnT, MessageHandlerFnT
from mcp.shared.exceptions import McpError
from mcp.shared.message import MessageMetadata, SessionMessage
from mcp.shared.session import ProgressFnT
from pydantic import BaseModel, Field, RootModel, ValidationError

from agent_service.contract import CONTRACT_VERSION
from agent_service.runtimes.tools.errors import CallFailed, ServerLost
from agent_service.runtimes.tools.link import Link
from agent_service.runtimes.tools.transport import Streams
from agent_service.tracing.propagation import trace_headers

Result = TypeVar("Result", bound=BaseModel)

MAX_PAGES = 1000

# Seconds for telling the server that nobody waits any more.
_FAREWELL_SECONDS = 1.0


class ToolPage(BaseModel):
    """A page of tools/list whose tools nobody has looked at yet: a wrong one must not cost the others."""

    tools: list[Any] = Field(default_factory=list)
    nextCursor: str | None = None


class UnknownNotification(BaseModel):
    """One that this version of MCP does not know, or that is malformed."""

    method: str


class Notification(RootModel[types.ServerNotificationType | UnknownNotification]):
    """Any notification: of those that it cannot read, the plain session logs pages."""

    root: types.ServerNotificationType | UnknownNotification = Field(union_mode="left_to_right")


class Session(ClientSession):
    """Every request ends: with its answer, with `ServerLost`, or with `CallFailed`; none outlives its connection.

    The plain session leaves requests waiting whose transport has died, and says nothing of cancelled ones.
    """

    def __init__(self, streams: Streams, link: Link, *, on_message: MessageHandlerFnT, on_log: LoggingFnT) -> None:
        info = types.Implementation(name="agent-manager", version=CONTRACT_VERSION)
        super().__init__(*streams, message_handler=on_message, logging_callback=on_log, client_info=info)
        self._link = link
        self._receive_notification_type = Notification

    async def initialize(self) -> types.InitializeResult:
        """Agree on a version of the protocol. Raises `CallFailed` where there is none in common."""
        try:
            return await super().initialize()
        except RuntimeError as error:
            raise CallFailed("it speaks a version of MCP that we do not") from error

    async def send_request(
        self,
        request: types.ClientRequest,
        result_type: type[Result],
        request_read_timeout_seconds: timedelta | None = None,
        metadata: MessageMetadata = None,
        progress_callback: ProgressFnT | None = None,
    ) -> Result:
        """The answer. Raises `McpError` for an error, `ServerLost`, and `CallFailed` for what is no such answer."""
        # The number that the plain method takes, before it waits for anything.
        request_id = self._request_id
        if not self._link.in_flight:
            self._heard()
        with self._link.pending(request_id, partial(self._give_up, request_id)) as pending:
            try:
                result = await super().send_request(
                    request, result_type, request_read_timeout_seconds, metadata, progress_callback
                )
                self._heard()
                return result
            except anyio.get_cancelled_exc_class():
                await self._say_cancelled(request_id, request)
                raise
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                self._link.lose("the connection is closed")
            except McpError as error:
                if pending.failure is not None:
                    raise pending.failure from None
                if error.error.code != types.CONNECTION_CLOSED:
                    self._heard()
                    raise
                self._link.lose("the connection is closed")
            except ValidationError as error:
                problem = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(map(str, problem["loc"]))
                raise CallFailed(f"its answer is not what MCP prescribes ({where}: {problem['msg']})") from error
            raise ServerLost(str(self._link.lost), begun=pending.begun)

    async def call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """What the tool answers, not yet compared with its output schema."""
        # https://modelcontextprotocol.io: the keys of W3C Trace Context, as they are, in _meta.
        meta = types.RequestParams.Meta.model_validate(headers) if (headers := trace_headers()) else None
        params = types.CallToolRequestParams(name=name, arguments=arguments, _meta=meta)
        return await self.send_request(types.ClientRequest(types.CallToolRequest(params=params)), types.CallToolResult)

    async def tool_pages(self) -> tuple[list[Any], str | None]:
        """Every tool on every page, and what is wrong with the pages, if anything."""
        capabilities = self.get_server_capabilities()
        if capabilities is None or capabilities.tools is None:
            return [], "it declares no tools"
        found: list[Any] = []
        seen: set[str] = set()
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = None if cursor is None else types.PaginatedRequestParams(cursor=cursor)
            page = await self.send_request(types.ClientRequest(types.ListToolsRequest(params=params)), ToolPage)
            found += page.tools
            cursor = page.nextCursor
            if not cursor:
                return found, None
            if cursor in seen:
                return found, "its list of tools turns in a circle"
            seen.add(cursor)
        return found, f"its list of tools has more than {MAX_PAGES} pages"

    async def _handle_response(self, message: SessionMessage) -> None:
        # The plain session takes the request out of its table first: cancelled then, it would leave it without answer;
        # and if whoever asked has gone in between, the failure to tell it would end the whole session.
        with anyio.CancelScope(shield=True), contextlib.suppress(anyio.ClosedResourceError):
            await super()._handle_response(message)

    def _heard(self) -> None:
        self._link.heard_at = asyncio.get_running_loop().time()

    def _give_up(self, request_id: int) -> None:
        """Answer the request ourselves, unless its answer has come: whoever takes it out of the table answers it."""
        waiting = self._response_streams.pop(request_id, None)
        if waiting is not None:
            error = types.ErrorData(code=types.CONNECTION_CLOSED, message="Given up")
            # At its end the plain session answers what waits and leaves it in the table, closed.
            with contextlib.suppress(anyio.ClosedResourceError):
                waiting.send_nowait(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))

    async def _say_cancelled(self, request_id: int, request: types.ClientRequest) -> None:
        """Say so where there is still somebody to hear it; the protocol forbids it for the first request."""
        if self._link.lost is not None or isinstance(request.root, types.InitializeRequest):
            return
        params = types.CancelledNotificationParams(
            requestId=request_id, reason="The caller has gone or is out of time."
        )
        with anyio.CancelScope(shield=True), anyio.move_on_after(_FAREWELL_SECONDS):
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
