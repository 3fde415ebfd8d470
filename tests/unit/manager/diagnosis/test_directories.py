"""Tests run as root at times, who may write everywhere: refusals are the file system's or are put in."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from manager.diagnosis import directories
from manager.diagnosis.directories import (
    MEBIBYTE,
    check_disk,
    check_lock,
    check_log_directory,
    check_state_directory,
)
from manager.store.holder import Holder
from tests.unit.manager.diagnosis.set_up import broken, found, surroundings

Usage = namedtuple("Usage", "total used free")


def test_directories_that_are_not_there_will_be_made(tmp_path: Path) -> None:
    around = surroundings(tmp_path, runtime={"stateDirectory": "a/b", "logDirectory": "l"})
    assert found(check_state_directory, around) == [("ok", f"{tmp_path / 'a/b'} will be made")]
    assert found(check_log_directory, around) == [("ok", f"{tmp_path / 'l'} will be made")]
    assert list(tmp_path.iterdir()) == [around.config_path]


def test_directories_that_are_there_can_be_written(tmp_path: Path) -> None:
    (tmp_path / ".state").mkdir()
    assert found(check_state_directory, surroundings(tmp_path)) == [("ok", f"{tmp_path / '.state'} can be written")]


def test_a_file_in_the_place_of_a_directory_is_an_error_for_root_as_well(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    around = surroundings(tmp_path, runtime={"stateDirectory": "file", "logDirectory": "file/logs"})
    assert found(check_state_directory, around) == [("error", f"{tmp_path / 'file'} is no directory")]
    (refusal,) = found(check_log_directory, around)
    assert refusal == ("error", f"{tmp_path / 'file/logs'} cannot be made: {tmp_path / 'file'} is no directory")


def test_a_directory_of_another_user_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    ((level, message),) = found(check_state_directory, surroundings(tmp_path))
    assert (level, "cannot be written by this user" in message) == ("error", True)


def test_a_file_system_that_is_mounted_read_only_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "_is_read_only", lambda _: True)
    ((level, message),) = found(check_log_directory, surroundings(tmp_path))
    assert (level, "mounted read-only" in message) == ("error", True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_state_directory_that_all_may_write_to_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state").chmod(0o777)
    ((level, message),) = found(check_state_directory, surroundings(tmp_path))
    assert (level, "every user" in message) == ("warning", True)


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [
        (10 * MEBIBYTE, 100_000 * MEBIBYTE, "error"),
        (500 * MEBIBYTE, 100_000 * MEBIBYTE, "warning"),
        (500 * MEBIBYTE, 1000 * MEBIBYTE, "ok"),
        (50_000 * MEBIBYTE, 10_000_000 * MEBIBYTE, "ok"),
    ],
)
def test_room_on_the_disk(free: int, total: int, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, total - free, free))
    # State and logs are in one place.
    assert [each for each, _ in found(check_disk, surroundings(tmp_path))] == [level]


def test_a_disk_without_inodes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "_free_inodes", lambda _: False)
    assert "all inodes are taken" in found(check_disk, surroundings(tmp_path))[-1][1]


def test_the_lock_is_held_was_left_or_is_free(tmp_path: Path) -> None:
    around, holder = surroundings(tmp_path), Holder(42, "http://127.0.0.1:8000")
    assert found(check_lock, around) == [("ok", "No manager holds the state directory")]
    assert found(check_lock, replace(around, holder=holder, last_holder=holder)) == [
        ("ok", "Held by the manager with pid 42 (http://127.0.0.1:8000)")
    ]
    ((level, message),) = found(check_lock, replace(around, last_holder=holder))
    assert (level, "pid 42 was killed" in message) == ("warning", True)


def test_without_a_config_there_is_no_directory_to_look_at(tmp_path: Path) -> None:
    around = broken(surroundings(tmp_path))
    for check in (check_state_directory, check_log_directory, check_disk):
        assert found(check, around) == []
