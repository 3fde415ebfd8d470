"""What a test asks of a fork server that a spawner has started."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from agent_service.forkserver.address import connect
from agent_service.forkserver.channel import Channel, ChannelClosed
from manager.supervision.process import Launch
from tests.integration.spawning import Workshop, pid_at


def socket_of(shop: Workshop, profile: str = "light") -> Path:
    return shop.directory / "state" / "forkserver" / f"{profile}.sock"


def server_pid(shop: Workshop, profile: str = "light") -> int:
    return pid_at(socket_of(shop, profile))


class Raw:
    """A peer that says what it likes."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self.channel = Channel(self._connection)
        self._lines: list[bytes] = []

    async def line(self) -> dict[str, Any]:
        while not self._lines:
            await self._readable()
            self._lines += self.channel.receive()
        found: dict[str, Any] = json.loads(self._lines.pop(0))
        return found

    async def say(self, line: bytes) -> dict[str, Any]:
        self.channel.send(line)
        return await self.line()

    async def until_closed(self) -> None:
        while True:
            await self._readable()
            try:
                self.channel.receive()
            except ChannelClosed:
                self.channel.close()
                return

    async def _readable(self) -> None:
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.channel.fileno(), event.set)
        try:
            await event.wait()
        finally:
            loop.remove_reader(self.channel.fileno())


async def ready(shop: Workshop, **changes: Any) -> tuple[Launch, Any]:
    """An adapter that serves."""
    launch = shop.adapter(**changes)
    before = shop.log.count("Agent ready")
    process = await shop.start(launch)
    await shop.says("Agent ready", before + 1)
    return launch, process
