"""Which state one agent is in, told to all whom a change concerns; the diagram stands in `states.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from manager.events import EventKind
from manager.registry.route import Route
from manager.supervision.states import TRANSITIONS, AgentState
from manager.supervision.tools import Tools

log = structlog.get_logger(__name__)


class StateKeeper:
    """`route`: where requests for the agent go while it is in that state, for that reason."""

    def __init__(self, agent_id: str, tools: Tools, route: Callable[[AgentState, str | None], Route]) -> None:
        self.state = AgentState.STOPPED
        self.reason: str | None = None
        self._agent_id = agent_id
        self._tools = tools
        self._route = route
        self._changed = asyncio.Event()

    def change(self, state: AgentState, reason: str | None, waits_for: tuple[str, ...] = ()) -> bool:
        """The one place where the state changes; false where it is that already.

        `waits_for` are those that the agent needs before anything of it is started.
        """
        # One that is stopped from the beginning never changes, and yet others may wait for it.
        self._tools.dependencies.note(self._agent_id, state, reason, waits_for)
        if (state, reason) == (self.state, self.reason):
            return False
        previous, self.state, self.reason = self.state, state, reason
        self.publish_route()
        if state is not previous:
            self._announce(previous)
        self._changed.set()
        self._changed = asyncio.Event()
        return True

    def publish_route(self, state: AgentState | None = None) -> None:
        """Let requests go where they are to go in this state, or in `state` for the time being."""
        self._tools.router.set_route(self._agent_id, self._route(state or self.state, self.reason))

    async def settled(self, wanted: frozenset[AgentState], *, timeout: float) -> bool:
        """Wait until the state is one of `wanted`; false when `timeout` seconds pass first."""
        deadline = self._tools.clock.monotonic() + timeout
        while self.state not in wanted:
            left = deadline - self._tools.clock.monotonic()
            if left <= 0:
                return False
            await self.next_change(left)
        return True

    async def next_change(self, seconds: float) -> None:
        """Return at the next change, or when so many seconds have passed."""
        await wait_for(self._changed, seconds)

    def _announce(self, previous: AgentState) -> None:
        if self.state not in TRANSITIONS[previous]:
            log.error("Unforeseen state change", agent_id=self._agent_id, previous=previous, state=self.state)
        self._tools.bus.publish(
            EventKind.STATE_CHANGED,
            f"{self._agent_id} {self.state.in_words}" + (f": {self.reason}" if self.reason else ""),
            agent_id=self._agent_id,
            state=self.state.value,
            previous=previous.value,
        )


async def wait_for(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, or when so many seconds have passed."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
