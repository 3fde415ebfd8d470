"""Notices that the state directory was removed under the running manager, which nothing else would tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from manager.errors import StoreUnavailable
from manager.events import EventBus, EventKind

_LOOK_SECONDS = 5.0


async def watch_state_directory(check: Callable[[], None], bus: EventBus) -> None:
    """Look every few seconds, for ever; say it once each time that `check` begins to raise `StoreUnavailable`."""
    is_lost = False
    while True:
        try:
            check()
            is_lost = False
        except StoreUnavailable as error:
            if not is_lost:
                bus.publish(EventKind.STATE_DIRECTORY_LOST, error.detail)
            is_lost = True
        await asyncio.sleep(_LOOK_SECONDS)
