from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from manager.errors import StoreUnavailable
from manager.store.store import Store
from manager.store.tracing_table import TracingRecord

SET = TracingRecord(
    agent_id="echo",
    enabled=False,
    sample_rate=0.25,
    managed=True,
    set_by="alice",
    set_at="2026-01-02T12:00:00.000Z",
)


def test_what_was_set_is_there_for_the_next_manager_until_it_is_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = await Store.open(tmp_path)
        await first.tracing.put(SET)
        await first.tracing.put(replace(SET, agent_id="planner"))
        newer = replace(SET, enabled=True, sample_rate=1.0, managed=False, set_by="bob")
        await first.tracing.put(newer)
        await first.close()
        second = await Store.open(tmp_path)
        assert await second.tracing.all() == [newer, replace(SET, agent_id="planner")]
        await second.tracing.remove(["echo", "nobody"])
        assert await second.tracing.all() == [replace(SET, agent_id="planner")]
        await second.close()

    asyncio.run(scenario())


def test_what_would_be_lost_with_its_directory_is_refused(tmp_path: Path) -> None:
    is_gone = False

    def check() -> None:
        if is_gone:
            raise StoreUnavailable("The state directory was removed; restart the manager.")

    async def scenario() -> None:
        nonlocal is_gone
        store = await Store.open(tmp_path, check)
        await store.tracing.put(SET)
        is_gone = True
        with pytest.raises(StoreUnavailable, match="was removed"):
            await store.tracing.put(replace(SET, enabled=True))
        with pytest.raises(StoreUnavailable, match="was removed"):
            await store.tracing.remove(["echo"])
        assert await store.tracing.all() == [SET]
        await store.close()

    asyncio.run(scenario())
