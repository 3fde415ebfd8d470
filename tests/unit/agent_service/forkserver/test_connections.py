from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent_service.forkserver import connections
from agent_service.forkserver.connections import KeptExits
from agent_service.forkserver.wire import ExitNotice


class FakeConnection:
    """Notes what it is sent."""

    def __init__(self) -> None:
        self.channel = self
        self.lines: list[str] = []

    def send(self, line: bytes) -> None:
        self.lines.append(ExitNotice.model_validate_json(line).instance_id)


def notice(instance_id: str) -> ExitNotice:
    return ExitNotice(
        agent_id="a", instance_id=instance_id, pid=1, code=0, signal=None, at=datetime.now(UTC), group_empty=True
    )


def told(exits: KeptExits) -> list[str]:
    connection = FakeConnection()
    exits.tell(connection)  # type: ignore[arg-type]
    return connection.lines


def test_exits_are_told_in_order_until_they_are_acknowledged() -> None:
    exits = KeptExits()
    for name in ("one", "two", "three"):
        exits.keep(notice(name))
    assert told(exits) == told(exits) == ["one", "two", "three"]
    exits.drop(("two", "unknown"))
    assert told(exits) == ["one", "three"]


def test_of_too_many_exits_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEPT_EXITS", 2)
    exits = KeptExits()
    for name in ("one", "two", "three"):
        exits.keep(notice(name))
    assert told(exits) == ["two", "three"]
