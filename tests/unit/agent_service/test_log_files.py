from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent_service.log_files import (
    STRAGGLER_BYTES,
    LogLimits,
    base_of,
    keep_within,
    numbered,
    rotate,
    rotated_files,
)
from tests.unit.agent_service.platform_marks import linux_only

LIMITS = LogLimits(max_bytes=10_000, max_files=3)


def log_of(directory: Path, **files: int) -> Path:
    """A log of files of so many bytes: `now` is the one that is written, `n1` the first that was rotated."""
    path = directory / "planner.log"
    for name, size in files.items():
        target = path if name == "now" else numbered(path, int(name[1:]))
        target.write_bytes(b"x" * (size - 1) + b"\n")
    return path


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("planner.log", ("planner.log", None)),
        ("planner.000012.log", ("planner.log", 12)),
        ("planner.1234567.log", ("planner.log", 1234567)),
        ("fork-server.light.log", ("fork-server.light.log", None)),
        ("fork-server.light.000001.log", ("fork-server.light.log", 1)),
        ("planner.12.log", ("planner.12.log", None)),
        ("access.log.1", ("access.log.1", None)),
    ],
)
def test_a_file_tells_by_its_name_which_log_it_belongs_to(name: str, expected: tuple[str, int | None]) -> None:
    assert base_of(name) == expected


def test_a_log_has_its_rotated_files_in_order_and_none_of_another(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=5, n2=5, n1=5, n10=5)
    (tmp_path / "planner2.000003.log").write_text("another's\n")
    assert [each.number for each in rotated_files(path)] == [1, 2, 10]
    assert rotated_files(tmp_path / "no" / "such.log") == []


def test_a_rotated_file_takes_the_next_number_and_leaves_an_empty_one(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=5, n7=5)
    path.chmod(0o640)
    assert rotate(path) == tmp_path / "planner.000008.log"
    assert path.read_bytes() == b"" and path.stat().st_mode & 0o777 == 0o640
    assert names(path) == ["planner.000007.log", "planner.000008.log", "planner.log"]


@linux_only
def test_a_writer_goes_on_in_the_file_that_was_renamed_and_nothing_is_lost(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=5)
    with path.open("ab", buffering=0) as writer:
        target = rotate(path)
        writer.write(b"late\n")
    assert target is not None and target.read_bytes() == b"xxxx\nlate\n"


@linux_only
def test_two_do_not_rotate_at_once(tmp_path: Path) -> None:
    import fcntl

    path = log_of(tmp_path, now=5)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert rotate(path) is None
    assert names(path) == ["planner.log"]


def test_the_oldest_files_go_when_there_are_too_many(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=5, n1=5, n2=5, n3=5, n4=5)
    keep_within(path, LIMITS)
    assert names(path) == ["planner.000003.log", "planner.000004.log", "planner.log"]


def test_the_oldest_files_go_when_they_are_too_large_together(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=5, n1=8192, n2=25_000)
    keep_within(path, LIMITS)
    assert names(path) == ["planner.000002.log", "planner.log"]


@linux_only
def test_the_newest_rotated_file_stays_for_its_number_however_large(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=5, n1=500_000)
    keep_within(path, LIMITS)
    (newest,) = rotated_files(path)
    assert newest.number == 1 and LIMITS.max_bytes < newest.occupied <= LIMITS.all_bytes + 8192
    assert path.read_bytes() == b"xxxx\n"


@linux_only
def test_of_a_file_that_is_still_written_only_the_beginning_goes(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=5, n1=3 * STRAGGLER_BYTES, n2=5, n3=5)
    straggler = numbered(path, 1)
    with straggler.open("ab", buffering=0) as writer:
        writer.write(b"newest\n")
        keep_within(path, LIMITS)
        writer.write(b"newer still\n")
    assert os.stat(straggler).st_blocks * 512 <= STRAGGLER_BYTES + 8192
    assert straggler.read_bytes().endswith(b"x\nnewest\nnewer still\n")
    keep_within(path, LIMITS)
    assert not straggler.exists()


@linux_only
def test_a_single_file_that_nobody_rotates_loses_its_beginning(tmp_path: Path) -> None:
    path = log_of(tmp_path, now=100_000)
    size = path.stat().st_size
    keep_within(path, LIMITS)
    assert path.stat().st_size == size
    assert path.stat().st_blocks * 512 <= LIMITS.all_bytes + 4096
    assert path.read_bytes().endswith(b"xxx\n")
