from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from structlog.testing import capture_logs

from agent_service.log_files import LogLimits, rotate, rotated_files
from manager.telemetry import logs as telemetry_logs
from manager.telemetry.log_reading.entry import Context
from manager.telemetry.logs import LAST_WORDS_BYTES, LAST_WORDS_CHARACTERS, AgentLogs

INFO = '{"timestamp": "2026-01-02T03:04:05.678Z", "level": "info", "event": "Agent ready"}'
TRACEBACK = """Traceback (most recent call last):
  File "/app/main.py", line 1, in <module>
    import nothing
ModuleNotFoundError: No module named 'nothing'
"""
CHAINED = f"""{TRACEBACK}
During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/main.py", line 3, in <module>
    raise RuntimeError("no agent")
RuntimeError: no agent
and a second line of the message
"""
GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "/app/main.py", line 9, in <module>
  |     raise group
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/app/main.py", line 5, in work
    |     raise ValueError("bad")
    | ValueError: bad
    +------------------------------------
"""


def logs_with(directory: Path, text: str) -> AgentLogs:
    (directory / "a.log").write_text(text, encoding="utf-8")
    return AgentLogs(directory)


def test_one_file_per_agent(tmp_path: Path) -> None:
    assert AgentLogs(tmp_path).path("planner") == tmp_path / "planner.log"


def test_tail_gives_the_newest_lines(tmp_path: Path) -> None:
    assert asyncio.run(logs_with(tmp_path, "1\n2\n3\n").tail("a", 2)) == ["2", "3"]


def test_an_agent_that_never_wrote_has_an_empty_log(tmp_path: Path) -> None:
    logs = AgentLogs(tmp_path)
    assert asyncio.run(logs.tail("a", 5)) == []
    assert logs.size("a") == 0
    assert logs.last_words("a", 0) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (INFO, None),
        (f"{INFO}\n\n", None),
        (TRACEBACK, "ModuleNotFoundError: No module named 'nothing'"),
        (TRACEBACK + INFO, "ModuleNotFoundError: No module named 'nothing'"),
        (CHAINED, "RuntimeError: no agent"),
        (GROUP, "ValueError: bad"),
        ("Traceback (most recent call last):\n  File", "File"),
        (f"{INFO}\nSegmentation fault\n", "Segmentation fault"),
        (f"Segmentation fault\n{INFO}\n", None),
        ("[1, 2]\n", "[1, 2]"),
        ("{not json\n", "{not json"),
        ("{" * 50_000 + "\n", "{" * (LAST_WORDS_CHARACTERS - 1) + "…"),
        ('{"level": "error", "event": "Port 8100 is taken"}\n', "Port 8100 is taken"),
        ('{"level": "CRITICAL", "event": "Cannot start", "error": "no key"}\n', "Cannot start: no key"),
        ('{"level": "error", "event": "same", "error": "same"}\n', "same"),
        ('{"level": "error", "event": {"odd": 1}, "error": 5}\n' + INFO, None),
        (
            '{"level": "error", "event": "Task failed", "exception": "Traceback (most recent call last):\\n'
            '  File \\"x\\"\\nValueError: bad"}\n' + INFO,
            "Task failed: ValueError: bad",
        ),
        ('{"level": "error", "event": "older"}\n' + TRACEBACK, "ModuleNotFoundError: No module named 'nothing'"),
        (TRACEBACK + '{"level": "error", "event": "newer"}\n', "newer"),
        ("a\tb \x1b c\n", "a b \x1b c"),
        ('{"level": "error", "event": "Task finished", "error": "RuntimeError: boom", "task_id": "7"}\n', None),
        (
            '{"level": "error", "event": "Cannot go on"}\n{"level": "error", "event": "Task finished", "task_id": "7"}',
            "Cannot go on",
        ),
        (INFO[:60], None),
    ],
)
def test_last_words(tmp_path: Path, text: str, expected: str | None) -> None:
    assert logs_with(tmp_path, text).last_words("a", 0) == expected


def test_last_words_of_an_earlier_process_are_not_this_one_s(tmp_path: Path) -> None:
    logs = logs_with(tmp_path, TRACEBACK)
    offset = logs.size("a")
    assert offset == len(TRACEBACK)
    assert logs.last_words("a", offset) is None
    with logs.path("a").open("a") as file:
        file.write("Killed\n")
    assert logs.last_words("a", offset) == "Killed"


def test_a_log_that_was_truncated_since_is_read_from_its_start(tmp_path: Path) -> None:
    assert logs_with(tmp_path, "Killed\n").last_words("a", 10_000) == "Killed"


def test_last_words_are_looked_for_in_the_end_of_the_log_only(tmp_path: Path) -> None:
    logs = logs_with(tmp_path, TRACEBACK + f"{INFO}\n" * (LAST_WORDS_BYTES // len(INFO) + 1))
    assert logs.last_words("a", 0) is None


def test_a_log_that_cannot_be_read_has_no_last_words(tmp_path: Path) -> None:
    logs = AgentLogs(tmp_path)
    logs.path("a").mkdir()
    assert logs.last_words("a", 0) is None


def test_an_error_that_the_event_quotes_is_told_once(tmp_path: Path) -> None:
    entry = {"timestamp": "t", "level": "error", "event": "Cannot be used (KeyError: 'x').", "error": "KeyError: 'x'"}
    assert logs_with(tmp_path, json.dumps(entry)).last_words("a", 0) == "Cannot be used (KeyError: 'x')."


def test_a_log_that_is_there_has_no_note(tmp_path: Path) -> None:
    assert asyncio.run(logs_with(tmp_path, "1\n2\n").lost_note("a", [os.getpid()])) is None


def test_a_log_that_was_deleted_while_its_agent_writes_on_says_so(tmp_path: Path) -> None:
    logs = AgentLogs(tmp_path)
    note = asyncio.run(logs.lost_note("a", [7, 8]))
    assert note is not None
    assert note.startswith("The log file that a (pid 7, 8) writes to was deleted or moved away")
    assert "`agent-manager restart a`" in note
    assert asyncio.run(logs.lost_note("a", [])) is None


def test_a_new_log_beside_a_deleted_one_that_is_still_written_to_has_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = {
        "/proc/7/fd/1": f"{tmp_path.resolve()}/a.log (deleted)",
        "/proc/7/fd/2": "/dev/null",
        "/proc/8/fd/1": f"{tmp_path.resolve()}/a.log",
        "/proc/8/fd/2": f"{tmp_path.resolve()}/a.log",
    }
    monkeypatch.setattr(os, "readlink", outputs.__getitem__)
    note = asyncio.run(logs_with(tmp_path, "new\n").lost_note("a", [7, 8]))
    assert note is not None and "(pid 7)" in note


def test_a_start_ends_a_line_that_a_death_has_cut_and_says_who_speaks_next(tmp_path: Path) -> None:
    logs = logs_with(tmp_path, "cut in the mid")
    logs.begin("a", "i-2")
    cut, begun = logs.path("a").read_text().splitlines()
    entry = json.loads(begun)
    assert (cut, entry["event"], entry["instance_id"]) == ("cut in the mid", "Instance starts", "i-2")
    assert logs.last_words("a", 0) is None
    logs.begin("a", "i-3")
    assert len(logs.path("a").read_text().splitlines()) == 3


def test_stacks_are_announced_in_a_line_of_their_own_so_that_they_are_of_that_moment(tmp_path: Path) -> None:
    logs = logs_with(tmp_path, INFO + "\ncut in the mid")
    before = datetime.now(UTC)
    logs.announce_stacks("a", "i-2")
    with logs.path("a").open("ab") as file:
        file.write(b"Current thread 0x01 (most recent call first):\n")
    context = Context("a")
    *_, announced, dumped = [context.entry(line) for line in logs.path("a").read_bytes().splitlines()]
    assert (announced.message, announced.level) == ("Stacks of the unresponsive process", "warning")
    assert (dumped.structured, dumped.instance_id) == (False, "i-2")
    # On disk it is in milliseconds.
    assert dumped.at is not None and dumped.at >= before - timedelta(milliseconds=1)


def test_stacks_are_announced_in_the_new_file_where_the_log_is_rotated_in_that_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = logs_with(tmp_path, INFO + "\n")
    is_cut = telemetry_logs._is_cut

    def rotated(file: BinaryIO) -> bool:
        if not rotated_files(logs.path("a")):
            rotate(logs.path("a"))
        return is_cut(file)

    monkeypatch.setattr(telemetry_logs, "_is_cut", rotated)
    logs.announce_stacks("a", "i-2")
    (line,) = logs.path("a").read_text().splitlines()
    assert json.loads(line)["instance_id"] == "i-2"


def test_a_log_that_cannot_be_written_keeps_nobody_from_asking_for_stacks(tmp_path: Path) -> None:
    with capture_logs() as told:
        AgentLogs(tmp_path / "gone").announce_stacks("a", "i-2")
    assert [line["event"] for line in told] == ["The log could not be prepared for stacks"]


def test_a_full_log_is_rotated_at_a_start_and_tails_over_both_files(tmp_path: Path) -> None:
    logs = AgentLogs(tmp_path, LogLimits(max_bytes=10, max_files=2))
    logs.path("a").write_text("one\ntwo\nthree\n")
    logs.begin("a", "i-2")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.000001.log", "a.log"]
    assert asyncio.run(logs.tail("a", 3))[:2] == ["two", "three"]


def test_last_words_are_found_although_the_log_was_rotated_since(tmp_path: Path) -> None:
    logs = logs_with(tmp_path, "x" * 5000 + "\n")
    offset = logs.size("a")
    with logs.path("a").open("a") as file:
        file.write(TRACEBACK)
    rotate(logs.path("a"))
    assert logs.last_words("a", offset) == logs_with(tmp_path, TRACEBACK).last_words("a", 0)


def test_a_log_that_cannot_be_prepared_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    logs = AgentLogs(tmp_path)
    logs.path("a").mkdir()
    logs.begin("a", "i-1")
    assert logs.path("a").is_dir()


def test_agents_with_a_log_are_known_by_it(tmp_path: Path) -> None:
    for name in ("a.log", "b.000001.log", "manager.log", "access.log", "access.log.1", "fork-server.light.log", "x"):
        (tmp_path / name).touch()
    assert AgentLogs(tmp_path).ids() == ["a", "b"]
    assert AgentLogs(tmp_path / "none").ids() == []
