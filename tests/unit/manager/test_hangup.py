"""SIGHUP to a manager without a terminal of its own, as a service has none. With one: tests/integration."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from manager import hangup
from manager.errors import NotReady
from manager.hangup import reload_on_hangup

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this platform has no SIGHUP")


class Terminal:
    """What the process can see of its controlling terminal, and what it did about it."""

    def __init__(self) -> None:
        self.is_there = False
        self.left: list[list[int]] = []


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(hangup, "_has_terminal", lambda: terminal.is_there)
    monkeypatch.setattr(hangup, "_leave_terminal", lambda descriptors: terminal.left.append(list(descriptors)))
    return terminal


class Manager:
    def __init__(self) -> None:
        self.reloads: asyncio.Queue[int] = asyncio.Queue()
        self.stops: asyncio.Queue[int] = asyncio.Queue()
        self.error: Exception | None = None
        self.busy: asyncio.Event | None = None

    async def reload(self) -> None:
        self.reloads.put_nowait(1)
        if self.busy is not None:
            await self.busy.wait()
        if self.error is not None:
            raise self.error


def hung_up(scenario: Callable[[Manager], Awaitable[None]]) -> None:
    async def main() -> None:
        manager = Manager()
        task = asyncio.create_task(reload_on_hangup(manager.reload, stop=lambda: manager.stops.put_nowait(1)))
        await asyncio.sleep(0)
        try:
            await scenario(manager)
        finally:
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(main())
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


async def send() -> None:
    """Send the signal to this process, and let the event loop hear it."""
    os.kill(os.getpid(), signal.SIGHUP)
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("at_a_terminal", [False, True])
def test_each_one_is_a_reload(terminal: Terminal, at_a_terminal: bool) -> None:
    async def scenario(manager: Manager) -> None:
        for _ in range(2):
            await send()
            await manager.reloads.get()
        assert manager.stops.empty()

    terminal.is_there = at_a_terminal
    hung_up(scenario)


def test_those_that_come_during_a_reload_are_one_more(terminal: Terminal) -> None:
    async def scenario(manager: Manager) -> None:
        manager.busy = asyncio.Event()
        await send()
        await manager.reloads.get()
        for _ in range(3):
            await send()
        manager.busy.set()
        await manager.reloads.get()
        await asyncio.sleep(0)
        assert manager.reloads.empty()

    hung_up(scenario)


@pytest.mark.parametrize(
    ("error", "logged"), [(NotReady("Not now."), "Config was not reloaded"), (KeyError("a bug"), "Reload failed")]
)
def test_after_a_reload_that_failed_the_next_one_is_made(terminal: Terminal, error: Exception, logged: str) -> None:
    async def scenario(manager: Manager) -> None:
        manager.error = error
        for _ in range(2):
            await send()
            await manager.reloads.get()

    with capture_logs() as logs:
        hung_up(scenario)
    assert [line["event"] for line in logs] == [logged, logged]


def test_a_terminal_that_was_closed_is_a_stop_and_later_ones_change_nothing(terminal: Terminal) -> None:
    async def scenario(manager: Manager) -> None:
        terminal.is_there = False
        await send()
        await manager.stops.get()
        await send()
        assert manager.stops.empty() and manager.reloads.empty()

    terminal.is_there = True
    hung_up(scenario)
    assert len(terminal.left) == 1


def test_a_closed_terminal_is_a_reload_where_the_signal_was_ignored_from_the_start(terminal: Terminal) -> None:
    async def scenario(manager: Manager) -> None:
        terminal.is_there = False
        await send()
        await manager.reloads.get()
        assert manager.stops.empty()

    terminal.is_there = True
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hung_up(scenario)
    finally:
        signal.signal(signal.SIGHUP, before)
