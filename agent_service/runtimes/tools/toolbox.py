"""All servers of tools of one agent: one shared client for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import structlog
from langchain_core.tools import BaseTool

from agent_service.contract import ToolServerHealth
from agent_service.definition import McpServer
from agent_service.runtimes.tools.connection import check_references
from agent_service.runtimes.tools.errors import ToolServerUnavailable
from agent_service.runtimes.tools.metrics import ToolMetrics
from agent_service.runtimes.tools.names import unique_names
from agent_service.runtimes.tools.secrets import Resolve, Secrets
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.tool import McpTool
from agent_service.runtimes.tools.tool_server import ToolServer

log = structlog.stdlib.get_logger(__name__)

MakeServer = Callable[[McpServer, Secrets, ToolMetrics, Callable[[], None]], ToolServer]


class Toolbox:
    """Opens, watches and closes the servers; gives out the tools of those that are there.

    `metrics` is a collector, to be registered once with the adapter's registry.
    """

    def __init__(
        self,
        servers: Sequence[McpServer],
        resolve: Resolve,
        *,
        timing: Timing | None = None,
        make: MakeServer | None = None,
    ) -> None:
        self.metrics = ToolMetrics(self.health)
        self._definitions = tuple(servers)
        self._resolve = resolve
        self._timing = timing or Timing()
        self._make = make or self._make_server
        self._servers: dict[str, ToolServer] = {}
        self._retiring: dict[asyncio.Task[None], ToolServer] = {}
        self._tools: list[BaseTool] | None = None

    async def open(self) -> None:
        """Begin to connect to every server, and wait for none. Raises `EntryPointError` for a reference to nothing."""
        await self.update(self._definitions)

    async def settled(self, seconds: float) -> None:
        """Return once every server has been reached, or could not be; after `seconds` anyway.

        Those that were late are not waited for again: a dead server delays one call.
        """
        awaited = [server for server in self._servers.values() if server.is_awaited]
        try:
            async with asyncio.timeout(seconds):
                for server in awaited:
                    await server.settle()
        except TimeoutError:
            for server in awaited:
                server.is_awaited = False

    def tools(self) -> list[BaseTool]:
        """The tools of all servers that are there now, in the order of the definition."""
        if self._tools is None:
            self._tools = list(self._offered())
        return list(self._tools)

    def require_closed_servers(self) -> None:
        """Raises `ToolServerUnavailable` when one is away without which the agent may not answer."""
        for server in self._servers.values():
            if server.definition.fail_mode == "closed" and not server.is_offered:
                raise ToolServerUnavailable(server.name, server.last_error)

    def health(self) -> list[ToolServerHealth]:
        """How every server is, in the order of the definition."""
        return [server.health() for server in self._servers.values()]

    @contextmanager
    def held(self) -> Iterator[None]:
        """While inside, no update takes away a server that is here now."""
        with ExitStack() as stack:
            for server in self._servers.values():
                stack.enter_context(server.held())
            yield

    async def update(self, servers: Sequence[McpServer]) -> None:
        """From now on these. An unchanged one keeps its session; one that is gone is closed when nobody holds it.

        Raises `EntryPointError` for a reference to nothing; then everything stays as it is.
        """
        secrets = {definition.name: Secrets(self._resolve) for definition in servers}
        for definition in servers:
            check_references(definition, secrets[definition.name])
        before, self._servers = self._servers, {}
        for definition in servers:
            known = before.get(definition.name)
            if known is not None and known.definition == definition:
                self._servers[definition.name] = before.pop(definition.name)
            else:
                server = self._make(definition, secrets[definition.name], self.metrics, self._forget_tools)
                self._servers[definition.name] = server
                server.start()
        for server in before.values():
            self._retire(server)
        self._forget_tools()

    async def close(self) -> None:
        """End every session and every process, the calls in flight included."""
        servers = [*self._servers.values(), *self._retiring.values()]
        for task in tuple(self._retiring):
            task.cancel()
        self._servers = {}
        await asyncio.gather(*(server.close() for server in servers))
        self._forget_tools()

    def _make_server(
        self, definition: McpServer, secrets: Secrets, metrics: ToolMetrics, on_change: Callable[[], None]
    ) -> ToolServer:
        return ToolServer(definition, secrets, metrics, on_change, timing=self._timing)

    def _retire(self, server: ToolServer) -> None:
        log.info("MCP server is no longer used", server=server.name)
        task = asyncio.create_task(server.retire(), name=f"retiring MCP server {server.name}")
        self._retiring[task] = server
        task.add_done_callback(self._retiring.pop)

    def _offered(self) -> Iterator[BaseTool]:
        # Names take those that are away into account: a tool must not change its name when another server comes back.
        known = [(server, tool) for server in self._servers.values() for tool in server.known_tools]
        names = unique_names([(server.name, tool.name) for server, tool in known])
        for name, (server, tool) in zip(names, known, strict=True):
            if server.is_offered:
                yield McpTool.of(name, server, tool)

    def _forget_tools(self) -> None:
        self._tools = None
