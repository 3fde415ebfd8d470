"""A tool of an MCP server as LangChain knows tools."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import BaseTool, ToolException
from pydantic import PrivateAttr

from agent_service.runtimes.tools.catalog import ServerTool
from agent_service.runtimes.tools.errors import CallFailed, ToolServerUnavailable
from agent_service.runtimes.tools.results import Content, artifact_of, content_of, error_text
from agent_service.runtimes.tools.tool_server import ToolServer


class McpTool(BaseTool):
    """Calls one tool of one server, for as long as the agent lives: it outlasts the server's connections.

    What goes wrong becomes a tool message of status `error` that the model can go on from; only of a server with
    `fail_mode: closed` comes `ToolServerUnavailable`. Any argument name is the tool's own: none means anything here.
    """

    response_format: str = "content_and_artifact"  # type: ignore[assignment]
    handle_tool_error: bool = True
    _server: ToolServer = PrivateAttr()
    _tool: ServerTool = PrivateAttr()

    @classmethod
    def of(cls, name: str, server: ToolServer, tool: ServerTool) -> McpTool:
        """The tool under the name that the model knows it by."""
        made = cls(
            name=name,
            description=tool.description or tool.name,
            args_schema=tool.input_schema,
            metadata={**tool.annotations, "server": server.name, "tool": tool.name},
        )
        made._server = server
        made._tool = tool
        return made

    async def _arun(self, /, **arguments: Any) -> tuple[Content, dict[str, Any] | None]:
        try:
            result = await self._server.call(self._tool, arguments)
        except ToolServerUnavailable as error:
            if self._server.definition.fail_mode == "closed":
                raise
            text = f"The tool {self.name!r} is unavailable now: {error.reason}. Go on without it, or say what lacks."
            raise ToolException(text) from error
        except CallFailed as error:
            raise ToolException(f"The tool {self.name!r} failed: {error}.") from error
        if result.isError:
            raise ToolException(error_text(result))
        return content_of(result), artifact_of(result)

    def _run(self, /, **arguments: Any) -> Any:
        raise NotImplementedError("An MCP tool is asynchronous; use ainvoke.")
