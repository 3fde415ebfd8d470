from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from manager.telemetry.self_report import Identity, SelfReport, SelfReporter
from manager.telemetry.series import Series

STARTED = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Server:
    profile: str = "light"
    pid: int = os.getpid()
    instances: int = 3
    retiring: bool = False


def report(directory: Path, values: dict[str, Any] | None = None, servers: tuple[Server, ...] = ()) -> SelfReport:
    identity = Identity(
        version="1.2.3",
        started_at=STARTED,
        url="http://127.0.0.1:8000",
        config_path=directory / "agents.config.json",
        state_directory=directory / "state",
        log_directory=directory / "logs",
        token_required=True,
    )
    reporter = SelfReporter(
        identity,
        newest=lambda: Series(10.0, None, values or {}),
        agents=lambda: 7,
        events_waiting=lambda: 2,
        fork_servers=lambda: servers,
    )
    return asyncio.run(reporter.read())


def test_it_tells_who_the_manager_is_and_how_it_is(tmp_path: Path) -> None:
    told = report(tmp_path, {"loop_lag_ms": [1.0, 4.0], "cpu_percent": [2.5], "store_ms": [None]})
    assert (told.version, told.pid, told.agents, told.events_waiting) == ("1.2.3", os.getpid(), 7, 2)
    assert (told.loop_lag_ms, told.cpu_percent, told.store_ms) == (4.0, 2.5, None)
    assert told.token_required and told.started_at == STARTED


def test_before_the_first_point_nothing_is_made_up(tmp_path: Path) -> None:
    told = report(tmp_path)
    assert (told.loop_lag_ms, told.cpu_percent, told.open_streams) == (None, None, None)


def test_directories_are_measured_and_those_that_are_not_there_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_bytes(b"x" * 1000)
    (tmp_path / "logs" / "deeper").mkdir()
    told = report(tmp_path)
    assert told.logs.used_bytes == 1000 and (told.logs.free_bytes or 0) > 0
    assert (told.state.used_bytes, told.state.free_bytes) == (0, None)


def test_a_fork_server_is_told_with_its_memory_and_one_that_has_gone_without(tmp_path: Path) -> None:
    here, gone = report(tmp_path, servers=(Server(), Server(pid=2**22 + 1, retiring=True))).fork_servers
    assert here.instances == 3 and (here.rss_bytes or 0) > 1024**2
    assert gone.rss_bytes is None and gone.retiring
