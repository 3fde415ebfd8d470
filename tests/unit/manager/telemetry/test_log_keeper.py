from __future__ import annotations

from pathlib import Path

import pytest

from agent_service.log_files import LogLimits, numbered, rotated_files
from manager.telemetry import log_keeper
from manager.telemetry.log_keeper import LogKeeper
from tests.unit.agent_service.platform_marks import linux_only

LIMITS = LogLimits(max_bytes=10_000, max_files=3)


def written(directory: Path, name: str, size: int) -> Path:
    path = directory / name
    path.write_bytes(b"x" * (size - 1) + b"\n")
    return path


def test_logs_within_their_limits_are_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "planner.log", 20_000)
    LogKeeper(tmp_path, LIMITS).look()
    assert path.stat().st_blocks * 512 >= 20_000 and rotated_files(path) == []


@linux_only
def test_a_log_that_its_agent_does_not_rotate_loses_its_beginning_while_it_is_written(tmp_path: Path) -> None:
    path = written(tmp_path, "foreign.log", 500_000)
    with path.open("ab", buffering=0) as writer:
        LogKeeper(tmp_path, LIMITS).look()
        writer.write(b"newest\n")
    assert path.stat().st_blocks * 512 <= LIMITS.all_bytes + 8192
    assert path.read_bytes().endswith(b"x\nnewest\n")


def test_rotated_files_count_too(tmp_path: Path) -> None:
    path = written(tmp_path, "planner.log", 10)
    for number in range(1, 5):
        numbered(path, number).write_bytes(b"x" * 9_000)
    LogKeeper(tmp_path, LIMITS).look()
    assert 1 not in [each.number for each in rotated_files(path)]


def test_the_manager_s_own_log_is_rotated_and_the_access_log_is_not(tmp_path: Path) -> None:
    manager, access = written(tmp_path, "manager.log", 20_000), written(tmp_path, "access.log", 500_000)
    LogKeeper(tmp_path, LIMITS).look()
    assert manager.stat().st_size == 0 and len(rotated_files(manager)) == 1
    assert access.stat().st_size == 500_000 and rotated_files(access) == []


def test_a_directory_that_is_not_there_yet_is_no_trouble(tmp_path: Path) -> None:
    LogKeeper(tmp_path / "logs", LIMITS).look()


def test_a_log_that_cannot_be_bounded_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "planner.log", 50_000)
    told: list[str] = []

    def refuse(path: Path, limits: LogLimits) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(log_keeper, "keep_within", refuse)
    monkeypatch.setattr(log_keeper.log, "warning", lambda event, **fields: told.append(fields["log"]))
    keeper = LogKeeper(tmp_path, LIMITS)
    keeper.look()
    keeper.look()
    assert told == ["planner.log"]
