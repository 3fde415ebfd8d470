from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from manager.errors import StateDirectoryBusy, StoreUnavailable
from manager.store.lock import StateDirectoryLock


def refused(directory: Path) -> str:
    with pytest.raises(StateDirectoryBusy) as refusal:
        StateDirectoryLock(directory).acquire()
    return refusal.value.detail


def test_a_second_manager_is_refused_with_the_first_one_s_pid_and_url(tmp_path: Path) -> None:
    lock = StateDirectoryLock(tmp_path)
    lock.acquire()
    lock.announce("http://127.0.0.1:8000")
    detail = refused(tmp_path)
    assert f"pid {os.getpid()}, http://127.0.0.1:8000" in detail
    assert str(tmp_path) in detail
    assert "agent-manager down" in detail
    lock.release()


def test_before_it_has_an_address_the_first_one_is_said_to_be_starting(tmp_path: Path) -> None:
    lock = StateDirectoryLock(tmp_path)
    lock.acquire()
    assert f"pid {os.getpid()}, just starting" in refused(tmp_path)
    lock.release()


@pytest.mark.parametrize("holder", [None, "", "{", "[]", '{"pid": 1}', "null"])
def test_a_holder_that_cannot_be_read_is_still_a_holder(tmp_path: Path, holder: str | None) -> None:
    lock = StateDirectoryLock(tmp_path)
    lock.acquire()
    file = tmp_path / "manager.json"
    file.unlink() if holder is None else file.write_text(holder, encoding="utf-8")
    assert "just starting" in refused(tmp_path)
    lock.release()


def test_a_refused_manager_leaves_the_holder_s_name_alone(tmp_path: Path) -> None:
    lock = StateDirectoryLock(tmp_path)
    lock.acquire()
    lock.announce("http://127.0.0.1:8000")
    refused(tmp_path)
    assert json.loads((tmp_path / "manager.json").read_text("utf-8"))["url"] == "http://127.0.0.1:8000"
    lock.release()


def test_after_release_the_next_one_may_have_it(tmp_path: Path) -> None:
    first, second = StateDirectoryLock(tmp_path), StateDirectoryLock(tmp_path)
    first.acquire()
    first.release()
    assert not (tmp_path / "manager.json").exists()
    second.acquire()
    second.release()


def test_what_a_killed_manager_left_behind_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "manager.lock").touch()
    (tmp_path / "manager.json").write_text('{"pid": 1, "url": "http://127.0.0.1:1"}', encoding="utf-8")
    lock = StateDirectoryLock(tmp_path)
    lock.acquire()
    assert json.loads((tmp_path / "manager.json").read_text("utf-8")) == {"pid": os.getpid(), "url": None}
    lock.release()


def test_the_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    lock = StateDirectoryLock(tmp_path / "a" / "b")
    lock.acquire()
    lock.release()
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_directory_s_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StoreUnavailable, match=r"cannot be written .*; free disk space, mend its permissions"):
        StateDirectoryLock(tmp_path / "state").acquire()


def test_a_failed_acquire_does_not_keep_the_directory(tmp_path: Path) -> None:
    in_the_way = tmp_path / "manager.json"
    in_the_way.mkdir()
    failing = StateDirectoryLock(tmp_path)
    with pytest.raises(StoreUnavailable):
        failing.acquire()
    in_the_way.rmdir()
    other = StateDirectoryLock(tmp_path)
    other.acquire()
    other.release()


def test_a_directory_that_is_there_is_in_order_and_one_that_was_removed_or_replaced_is_not(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    lock = StateDirectoryLock(directory)
    lock.acquire()
    lock.check()
    directory.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match=r"was removed or replaced .* restart the manager"):
        lock.check()
    directory.mkdir()
    (directory / "manager.lock").touch()
    with pytest.raises(StoreUnavailable):
        lock.check()
    lock.release()


def test_the_name_of_a_manager_that_has_begun_in_the_removed_directory_s_place_is_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    first, second = StateDirectoryLock(directory), StateDirectoryLock(directory)
    first.acquire()
    shutil.rmtree(directory)
    second.acquire()
    first.release()
    assert (directory / "manager.json").exists()
    second.check()
    second.release()
    assert not (directory / "manager.json").exists()
