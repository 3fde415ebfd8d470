from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from manager.telemetry import access_log
from manager.telemetry.access_log import FILE_NAME, AccessLog


def lines(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / FILE_NAME).read_text(encoding="utf-8").splitlines()]


def written(
    directory: Path, work: Callable[[AccessLog], Awaitable[None] | None], *, redact: tuple[str, ...] = ()
) -> None:
    """Let `work` use a log, then close it."""

    async def scenario() -> None:
        log = AccessLog(directory, redact=redact)
        done = work(log)
        if done is not None:
            await done
        log.close()

    asyncio.run(scenario())


def test_each_entry_is_a_line(tmp_path: Path) -> None:
    def work(log: AccessLog) -> None:
        log.record({"path": "/a", "status": 200})
        log.record({"path": '/"\n', "status": None})

    written(tmp_path / "logs", work)
    assert lines(tmp_path / "logs") == [{"path": "/a", "status": 200}, {"path": '/"\n', "status": None}]


def test_no_secret_reaches_the_file(tmp_path: Path) -> None:
    secret = 's3"cret\\x'
    written(tmp_path, lambda log: log.record({"request_id": f"id-{secret}"}), redact=(secret,))
    assert lines(tmp_path) == [{"request_id": "id-[redacted]"}]


def test_half_a_key_in_one_line_takes_no_other_along(tmp_path: Path) -> None:
    def work(log: AccessLog) -> None:
        log.record({"path": "/-----BEGIN PRIVATE KEY-----"})
        log.record({"path": "/a"})

    written(tmp_path, work)
    assert lines(tmp_path) == [{"path": "/[redacted]"}, {"path": "/a"}]


def test_lines_are_written_while_the_manager_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "GATHERING_SECONDS", 0)

    async def work(log: AccessLog) -> None:
        running = asyncio.create_task(log.run())
        log.record({"path": "/a"})
        while not (tmp_path / FILE_NAME).exists() or not lines(tmp_path):
            await asyncio.sleep(0)
        running.cancel()

    written(tmp_path, work)


def test_a_file_that_is_full_is_rotated_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MAX_BYTES", 100)
    monkeypatch.setattr(access_log, "BACKUPS", 2)
    for number in range(5):
        written(tmp_path, lambda log, number=number: log.record({"number": number, "filler": "x" * 80}))  # type: ignore[misc]
    assert [line["number"] for line in lines(tmp_path)] == [4]
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME, f"{FILE_NAME}.1", f"{FILE_NAME}.2"]


def test_lines_that_the_disk_does_not_take_are_lost_beyond_a_bound_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "MAX_WAITING", 2)

    def work(log: AccessLog) -> None:
        for number in range(5):
            log.record({"number": number})

    written(tmp_path, work)
    assert lines(tmp_path) == [{"number": 0}, {"number": 1}, {"lost_lines": 3}]


def test_a_directory_that_cannot_be_written_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in its place")
    written(tmp_path / "logs", lambda log: log.record({"path": "/a"}))
