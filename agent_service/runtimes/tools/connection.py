"""From the definition of a server to the streams of a session with it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import httpx
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from agent_service.definition import McpServer
from agent_service.runtimes.tools.http_answers import AnsweringTransport
from agent_service.runtimes.tools.link import Link
from agent_service.runtimes.tools.secrets import Secrets
from agent_service.runtimes.tools.stdio import Program, stdio_streams
from agent_service.runtimes.tools.timing import Timing
from agent_service.runtimes.tools.transport import Streams

# Seconds beyond the call's own limit, so that it is that limit which speaks.
_MARGIN_SECONDS = 5.0


def check_references(server: McpServer, secrets: Secrets) -> None:
    """Raises `EntryPointError` for a reference that leads nowhere."""
    secrets.resolved(server.headers)
    secrets.resolved(server.env)


@asynccontextmanager
async def connect(server: McpServer, link: Link, secrets: Secrets, timing: Timing) -> AsyncIterator[Streams]:
    """The streams, open until the scope ends; leave it in the task that entered it.

    References are resolved anew for each connection: a credential may have been renewed. Raises `AdapterError`, OSError
    and httpx errors, alone or in groups.
    """
    if server.transport == "stdio":
        assert server.command is not None
        environment = secrets.resolved(server.env)
        program = Program(server.name, server.command, server.args, environment, timing.stdin_grace)
        async with stdio_streams(program, link, secrets) as streams:
            yield streams
    elif server.transport == "http":
        assert server.url is not None
        async with (
            _client(server, link, secrets) as client,
            streamable_http_client(server.url, http_client=client) as (incoming, outgoing, _),
        ):
            yield incoming, outgoing
    else:
        assert server.url is not None
        client = _client(server, link, secrets)
        async with sse_client(server.url, httpx_client_factory=lambda *_, **__: client) as (incoming, outgoing):
            yield incoming, outgoing


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes longer than connecting, and they stay the same."""
    return httpx.create_ssl_context()


def _client(server: McpServer, link: Link, secrets: Secrets) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"accept-encoding": "identity", **secrets.resolved(server.headers)},
        timeout=httpx.Timeout(server.timeout_seconds + _MARGIN_SECONDS),
        transport=AnsweringTransport(
            httpx.AsyncHTTPTransport(verify=_tls()), link, is_stream=server.transport == "sse"
        ),
    )
