from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_service.log_files import LogLimits, numbered, rotate, rotated_files
from agent_service.log_rotation import IDLE_SECONDS, Rotation, descriptors_of
from tests.unit.agent_service.platform_marks import linux_only

LIMITS = LogLimits(max_bytes=1000, max_files=3)
LINE = b"x" * 99 + b"\n"


class Writer:
    """Two descriptors of one log, as stdout and stderr are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self.descriptors = [out, os.dup(out)]
        self.rotation = Rotation(path, self.descriptors, LIMITS)

    def write(self, data: bytes, which: int = 0) -> None:
        os.write(self.descriptors[which], data)

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "planner.log")
    yield made
    made.close()


pytestmark = linux_only


def everything(path: Path) -> bytes:
    return b"".join(each.path.read_bytes() for each in rotated_files(path)) + path.read_bytes()


def test_a_log_below_its_limit_is_left_alone(writer: Writer) -> None:
    writer.write(LINE)
    assert 0 < writer.rotation.look() <= IDLE_SECONDS
    assert rotated_files(writer.path) == []


def test_a_full_log_is_rotated_and_both_descriptors_go_on_in_the_new_file(writer: Writer) -> None:
    writer.write(LINE * 10)
    writer.rotation.look()
    writer.write(b"out\n", 0)
    writer.write(b"err\n", 1)
    assert numbered(writer.path, 1).read_bytes() == LINE * 10
    assert writer.path.read_bytes() == b"out\nerr\n"


def test_every_line_is_there_once_and_in_order_over_many_rotations(writer: Writer) -> None:
    wanted = b""
    for number in range(250):
        line = b"%099d\n" % number
        writer.write(line)
        wanted += line
        if number % 7 == 0:
            writer.rotation.look()
    kept = everything(writer.path)
    assert wanted.endswith(kept) and len(kept) >= LIMITS.max_bytes * (LIMITS.max_files - 1)
    assert len(rotated_files(writer.path)) == LIMITS.max_files - 1


def test_a_line_is_not_cut_by_the_rotation_unless_it_has_no_end(writer: Writer) -> None:
    writer.write(b"y" * 1500)
    writer.rotation.look()
    assert rotated_files(writer.path) == []
    writer.write(b"y" * 600)
    writer.rotation.look()
    assert len(rotated_files(writer.path)) == 1


def test_another_instance_s_rotation_is_followed(writer: Writer) -> None:
    writer.write(b"before\n")
    assert rotate(writer.path) is not None
    writer.write(b"between\n")
    writer.rotation.look()
    writer.write(b"after\n")
    assert numbered(writer.path, 1).read_bytes() == b"before\nbetween\n"
    assert writer.path.read_bytes() == b"after\n"


def test_a_deleted_log_is_made_anew_with_what_was_written_since(writer: Writer) -> None:
    writer.write(b"read already\n")
    writer.rotation.look()
    writer.path.unlink()
    writer.write(b"into the void\n")
    writer.rotation.look()
    writer.write(b"after\n", 1)
    assert writer.path.read_bytes() == b"into the void\nafter\n"


def test_a_log_whose_directory_was_removed_is_made_anew(writer: Writer) -> None:
    writer.rotation.look()
    writer.path.unlink()
    writer.path.parent.rmdir()
    writer.write(b"said\n")
    writer.rotation.look()
    assert writer.path.read_bytes() == b"said\n"


def test_a_log_that_was_moved_away_keeps_its_lines_there(writer: Writer, tmp_path: Path) -> None:
    writer.write(b"old\n")
    moved = tmp_path / "kept-by-somebody"
    writer.path.rename(moved)
    writer.rotation.look()
    writer.write(b"new\n")
    assert (moved.read_bytes(), writer.path.read_bytes()) == (b"old\n", b"new\n")


def test_a_fast_writer_is_looked_at_more_often(writer: Writer) -> None:
    writer.rotation.look()
    writer.write(LINE * 9)
    assert writer.rotation.look() < IDLE_SECONDS / 2


def test_descriptors_of_a_log_are_those_that_lead_to_it(writer: Writer, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    elsewhere = os.open(tmp_path / "elsewhere", os.O_WRONLY | os.O_CREAT)
    try:
        candidates = [*writer.descriptors, writing, elsewhere, 999_999]
        assert descriptors_of(writer.path, candidates) == writer.descriptors
        rotate(writer.path)
        assert descriptors_of(writer.path, candidates) == writer.descriptors
        numbered(writer.path, 1).unlink()
        assert descriptors_of(writer.path, candidates) == writer.descriptors
    finally:
        for descriptor in (reading, writing, elsewhere):
            os.close(descriptor)
