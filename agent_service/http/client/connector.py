"""New connections, by the URL of the server."""

from __future__ import annotations

import asyncio
import ssl
from functools import cached_property
from urllib.parse import urlsplit

from agent_service.http.client.connection import Connection

CONNECT_TIMEOUT_SECONDS = 5.0


class Connector:
    """Makes connections and keeps none."""

    async def connect(self, url: str) -> Connection:
        """A connection to the server of `url`. Raises OSError (`TimeoutError` too) where nobody takes it."""
        parts = urlsplit(url)
        encryption = self._encryption if parts.scheme == "https" else None
        port = parts.port or (443 if encryption else 80)
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(Connection, parts.hostname or "", port, ssl=encryption)
        return connection

    @cached_property
    def _encryption(self) -> ssl.SSLContext:
        # Made when it is first needed: loading the certificates takes tens of milliseconds and 2 MB.
        return ssl.create_default_context()
