from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from agent_service.contract import rfc3339
from agent_service.definition import Tracing
from manager.errors import StoreUnavailable
from manager.store.tracing_table import TracingRecord
from manager.telemetry.tracing.policies import Policies
from tests.unit.manager.fakes.clock import START, FakeClock
from tests.unit.manager.fakes.tracing_table import FakeTracingTable

DEFINED = {"quiet": Tracing(enabled=False), "half": Tracing(sample_rate=0.5)}


def policies(table: FakeTracingTable | None = None) -> Policies:
    return Policies(DEFINED.get, 0.5, table or FakeTracingTable(), FakeClock())  # type: ignore[arg-type]


async def switch_off(of: Policies, agent_id: str, *, managed: bool = True) -> None:
    await of.set(agent_id, enabled=False, sample_rate=None, actor="alice", managed=managed)


def test_each_agent_is_traced_as_its_definition_says_within_the_fleets_share() -> None:
    found = policies()
    assert found.of("half") == Tracing(sample_rate=0.25)
    assert not found.of("quiet").enabled
    assert found.of("no definition") == Tracing(sample_rate=0.5)


def test_what_a_person_sets_is_that_agents_alone_and_can_be_taken_back() -> None:
    async def scenario() -> None:
        found = policies()
        await found.set("half", enabled=None, sample_rate=1, actor="alice", managed=True)
        assert found.of("half") == found.override_of("half") == Tracing(sample_rate=1)
        assert found.record_of("half") == TracingRecord("half", True, 1, True, "alice", rfc3339(START))
        assert found.override_of("quiet") is None
        await found.reset("half")
        await found.reset("half")
        assert found.of("half") == Tracing(sample_rate=0.25)
        assert found.record_of("half") is None

    asyncio.run(scenario())


def test_two_people_who_set_one_part_each_at_once_both_get_theirs() -> None:
    async def scenario() -> None:
        found = policies()
        await asyncio.gather(
            switch_off(found, "half"),
            found.set("half", enabled=None, sample_rate=1, actor="bob", managed=True),
        )
        assert found.of("half") == Tracing(enabled=False, sample_rate=1)

    asyncio.run(scenario())


def test_the_next_manager_goes_on_with_what_was_set() -> None:
    async def scenario() -> None:
        table = FakeTracingTable()
        first = policies(table)
        await switch_off(first, "half")
        second = policies(table)
        await second.restore()
        assert second.of("half") == Tracing(enabled=False, sample_rate=0.25)
        assert second.record_of("half") == first.record_of("half")
        await second.reset("half")
        third = policies(table)
        await third.restore()
        assert third.override_of("half") is None

    asyncio.run(scenario())


def test_what_cannot_be_kept_does_not_hold() -> None:
    async def scenario() -> None:
        table = FakeTracingTable()
        found = policies(table)
        await switch_off(found, "quiet")
        table.refusing = True
        with pytest.raises(StoreUnavailable):
            await switch_off(found, "half")
        with pytest.raises(StoreUnavailable):
            await found.reset("quiet")
        assert found.override_of("half") is None
        assert found.override_of("quiet") is not None

    asyncio.run(scenario())


def test_an_agent_that_has_left_the_config_comes_back_as_its_definition_says() -> None:
    async def scenario() -> None:
        table = FakeTracingTable()
        found = policies(table)
        for agent_id in ("half", "quiet"):
            await switch_off(found, agent_id)
        await switch_off(found, "elsewhere", managed=False)
        await found.retain({"quiet", "new"})
        assert found.override_of("half") is None
        # One that was never in the config has not left it.
        assert set(table.rows) == {"quiet", "elsewhere"}

    asyncio.run(scenario())


def test_what_cannot_be_forgotten_on_disk_does_not_hold_any_more() -> None:
    async def scenario() -> None:
        table = FakeTracingTable()
        found = policies(table)
        await switch_off(found, "half")
        table.refusing = True
        await found.retain(())
        assert found.override_of("half") is None

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert [entry["agents"] for entry in logs] == [["half"]]
