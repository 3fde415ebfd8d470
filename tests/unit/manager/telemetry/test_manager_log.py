from __future__ import annotations

import logging
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from manager.telemetry.manager_log import FILE_NAME, ManagerLog

Configure = Callable[..., ManagerLog]
Lines = Callable[[], list[dict[str, Any]]]


def test_a_line_is_json_with_time_level_and_sentence_first(tmp_path: Path, configured: Configure, lines: Lines) -> None:
    configured(tmp_path)
    structlog.get_logger("manager.x").info("Agent drained", agent="planner", waited_ms=12)
    (line,) = lines()
    assert list(line) == ["timestamp", "level", "event", "agent", "waited_ms", "logger"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert (line["level"], line["event"], line["agent"]) == ("info", "Agent drained", "planner")
    assert (line["waited_ms"], line["logger"]) == (12, "manager.x")


def test_libraries_lines_look_the_same_and_only_their_warnings_are_kept(
    tmp_path: Path, configured: Configure, lines: Lines
) -> None:
    configured(tmp_path)
    for name in ("uvicorn.error", "sqlalchemy.engine", "asyncio", "httpx"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble with %s", name)
    assert [(line["level"], line["event"]) for line in lines()] == [
        ("warning", f"trouble with {name}") for name in ("uvicorn.error", "sqlalchemy.engine", "asyncio", "httpx")
    ]


def test_level_decides_what_is_kept(tmp_path: Path, configured: Configure, lines: Lines) -> None:
    configured(tmp_path, level="warning")
    structlog.get_logger("manager.x").info("no")
    structlog.get_logger("manager.x").warning("yes")
    assert [line["event"] for line in lines()] == ["yes"]


def test_context_and_tracebacks_are_fields(tmp_path: Path, configured: Configure, lines: Lines) -> None:
    configured(tmp_path)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        try:
            raise ValueError("bad")
        except ValueError:
            structlog.get_logger("manager.x").exception("Task failed")
            logging.getLogger("library").exception("Library failed")
    for line in lines():
        assert line["request_id"] == "r1"
        assert line["exception"].startswith("Traceback") and line["exception"].endswith("ValueError: bad")


def test_secrets_are_in_no_line(tmp_path: Path, configured: Configure, lines: Lines) -> None:
    secret = 'to"ken\\ü'
    configured(tmp_path, redact=(secret,))
    try:
        raise ValueError(f"refused {secret}")
    except ValueError:
        structlog.get_logger("manager.x").exception(f"Using {secret}", header={"X-Manager-Token": "other"})
    logging.getLogger("library").warning("sent %s", secret)
    text = (tmp_path / FILE_NAME).read_text("utf-8")
    assert "ken" not in text.replace("X-Manager-Token", "") and "other" not in text
    assert [line["event"] for line in lines()] == ["Using [redacted]", "sent [redacted]"]


def test_what_json_does_not_know_is_still_one_line(tmp_path: Path, configured: Configure, lines: Lines) -> None:
    configured(tmp_path)
    structlog.get_logger("manager.x").info("Odd\nvalues", path=tmp_path, raw="\udcff", things={1})
    (line,) = lines()
    assert line["event"] == "Odd\nvalues" and str(tmp_path) in line["path"] and line["things"] == [1]


def test_a_removed_or_rotated_file_is_opened_anew(tmp_path: Path, configured: Configure, lines: Lines) -> None:
    configured(tmp_path)
    log = structlog.get_logger("manager.x")
    log.info("one")
    log.info("two")
    (tmp_path / FILE_NAME).rename(tmp_path / "rotated.log")
    log.info("three")
    assert [line["event"] for line in lines()] == ["three"]
    (tmp_path / FILE_NAME).unlink()
    log.info("four")
    assert [line["event"] for line in lines()] == ["four"]


def test_a_removed_directory_is_made_anew(tmp_path: Path, configured: Configure) -> None:
    directory = tmp_path / "logs"
    configured(directory)
    log = structlog.get_logger("manager.x")
    log.info("one")
    log.info("two")
    shutil.rmtree(directory)
    log.info("three")
    assert "three" in (directory / FILE_NAME).read_text("utf-8")


def test_a_directory_that_cannot_be_made_loses_lines_and_raises_nothing(
    tmp_path: Path, configured: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "logs"
    directory.write_text("in the way")
    configured(directory)
    log = structlog.get_logger("manager.x")
    log.error("lost")
    directory.unlink()
    log.error("kept")
    assert "kept" in (directory / FILE_NAME).read_text("utf-8")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this platform")
def test_a_full_disk_loses_lines_and_raises_nothing(
    tmp_path: Path, configured: Configure, lines: Lines, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE_NAME).symlink_to("/dev/full")
    handler = configured(tmp_path)
    log = structlog.get_logger("manager.x")
    for _ in range(1000):
        log.error("lost", padding="x" * 1000)
    handler.close()
    (tmp_path / FILE_NAME).unlink()
    configured(tmp_path)
    log.error("kept")
    assert [line["event"] for line in lines()] == ["kept"]
    assert capfd.readouterr() == ("", "")


def test_a_wrong_call_in_a_library_is_told_on_stderr_and_raises_nothing(
    tmp_path: Path, configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    # Handed to the handler itself: pytest's own handler raises such errors.
    configured(tmp_path).handle(logging.makeLogRecord({"msg": "%d", "args": ("not a number",)}))
    assert "Logging error" in capsys.readouterr().err


def test_nothing_goes_to_the_console(tmp_path: Path, configured: Configure, capfd: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path)
    structlog.get_logger("manager.x").critical("x")
    logging.getLogger("uvicorn").critical("x")
    sys.stdout.flush()
    assert capfd.readouterr() == ("", "")


def test_closing_ends_it(tmp_path: Path, configured: Configure) -> None:
    handler = configured(tmp_path)
    assert handler in logging.getLogger().handlers
    handler.close()
    assert handler not in logging.getLogger().handlers
