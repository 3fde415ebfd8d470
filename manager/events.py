"""Lifecycle facts and the bus they travel on. A change publishes; logs, history and dashboard subscribe.

Sources call `EventBus.publish` from the event loop. A listener is a plain function called at once, in order;
a subscription is a bounded queue for one slow reader, which is closed rather than allowed to hold others up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue

from agent_service.contract import rfc3339
from manager.clock import Clock

ACTOR_HEADER = "X-Actor"
"""Where a request to the API says who asks, for the history."""


class EventKind(StrEnum):
    """Every kind of lifecycle event; docs/operations.md says when each is published."""

    MANAGER_STARTED = "manager_started"
    MANAGER_STOPPING = "manager_stopping"
    STATE_DIRECTORY_LOST = "state_directory_lost"
    CONFIG_RELOADED = "config_reloaded"
    CONFIG_REJECTED = "config_rejected"
    STATE_CHANGED = "state_changed"
    DESIRED_CHANGED = "desired_changed"
    INSTANCE_STARTED = "instance_started"
    INSTANCE_ADOPTED = "instance_adopted"
    INSTANCE_REGISTERED = "instance_registered"
    INSTANCE_UNREGISTERED = "instance_unregistered"
    INSTANCE_EXITED = "instance_exited"
    HEARTBEAT_MISSED = "heartbeat_missed"
    HEARTBEAT_RESUMED = "heartbeat_resumed"
    CIRCUIT_OPENED = "circuit_opened"
    CIRCUIT_CLOSED = "circuit_closed"
    DRAIN_STARTED = "drain_started"
    DRAIN_TIMED_OUT = "drain_timed_out"
    SIDECAR_MOVED = "sidecar_moved"
    RESTART_SCHEDULED = "restart_scheduled"
    START_FAILED = "start_failed"
    ROLLOUT_FAILED = "rollout_failed"
    DEFINITION_RELOADED = "definition_reloaded"
    DEFINITION_REFUSED = "definition_refused"
    WEBHOOK_FAILED = "webhook_failed"


STATES = ("starting", "running", "paused", "stopping", "stopped", "backoff", "failed", "unresponsive", "lost")
"""An agent's states: of `state_changed`, its `data` says which one is new."""
TOPICS = frozenset({*(kind.value for kind in EventKind), *STATES})
"""What events can be chosen by: their kind, or the state that an agent is in from then on."""


@dataclass(frozen=True)
class Event:
    """One fact. `message` is a sentence; `reason` and `actor` are a person's where a person acted."""

    id: int
    at: datetime
    kind: EventKind
    message: str
    agent_id: str | None = None
    instance_id: str | None = None
    reason: str | None = None
    actor: str | None = None
    data: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        """The most telling of its topics: the new state where it tells of one, else its kind."""
        state = self.data.get("state")
        return state if self.kind is EventKind.STATE_CHANGED and isinstance(state, str) else self.kind.value

    def to_wire(self) -> dict[str, JsonValue]:
        """The JSON object that API, command line and dashboard show."""
        return {
            "id": self.id,
            "at": rfc3339(self.at),
            "kind": self.kind.value,
            "message": self.message,
            "agent_id": self.agent_id,
            "instance_id": self.instance_id,
            "reason": self.reason,
            "actor": self.actor,
            "data": self.data,
        }


class Subscription:
    """Events from the moment of subscribing on, for one reader.

    Iteration ends when the bus closes or when the reader fell `limit` events behind (`lagged` is then true);
    the reader catches up from the store by the last id it saw.
    """

    def __init__(self, limit: int) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._limit = limit
        self._closed = False
        self.lagged = False

    def offer(self, event: Event) -> None:
        """Queue one event; called by the bus."""
        if self._closed:
            return
        if self._queue.qsize() >= self._limit:
            self.lagged = True
            self.close()
        else:
            self._queue.put_nowait(event)

    def close(self) -> None:
        """End the iteration after what is already queued."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event


Listener = Callable[[Event], None]


class EventBus:
    """Hands each event its id (increasing, continued over restarts) and everybody who listens the event."""

    def __init__(self, clock: Clock, *, next_id: int = 1) -> None:
        self._clock = clock
        self._next_id = next_id
        self._listeners: list[Listener] = []
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    @property
    def last_id(self) -> int:
        """The id of the newest event; 0 before the first."""
        return self._next_id - 1

    def publish(
        self,
        kind: EventKind,
        message: str,
        *,
        agent_id: str | None = None,
        instance_id: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
        **data: JsonValue,
    ) -> Event:
        """Make the event a fact: number it, stamp it, tell everybody."""
        event = Event(self._next_id, self._clock.now(), kind, message, agent_id, instance_id, reason, actor, data)
        self._next_id += 1
        for listener in tuple(self._listeners):
            listener(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)
        return event

    def listen(self, listener: Listener) -> None:
        """Call `listener` for every event; it must be quick and must not raise."""
        self._listeners.append(listener)

    def subscribe(self, *, limit: int = 1000) -> SubscriptionScope:
        """A scope that yields a `Subscription` and ends it on leaving."""
        return SubscriptionScope(self, limit)

    @property
    def is_closed(self) -> bool:
        """Whether every stream is to end."""
        return self._closed

    def close(self) -> None:
        """End every subscription, now and later: event streams finish, so that the server can."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()

    def _enter(self, subscription: Subscription) -> None:
        self._subscriptions.add(subscription)
        if self._closed:
            subscription.close()

    def _leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)


class SubscriptionScope:
    """`with bus.subscribe() as events: async for event in events: …`"""

    def __init__(self, bus: EventBus, limit: int) -> None:
        self._bus = bus
        self._subscription = Subscription(limit)

    def __enter__(self) -> Subscription:
        self._bus._enter(self._subscription)
        return self._subscription

    def __exit__(self, *_: object) -> None:
        self._bus._leave(self._subscription)
