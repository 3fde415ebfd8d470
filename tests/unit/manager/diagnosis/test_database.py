from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from manager.diagnosis.database import check_database
from manager.diagnosis.leftovers import check_leftovers
from manager.store.database import FILE_NAME, NEWEST_REVISION, open_database
from manager.store.holder import Holder
from manager.supervision.identity import identify
from tests.unit.manager.diagnosis.set_up import found, remember, surroundings


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / ".state").mkdir()
    return tmp_path / ".state"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_database_that_is_not_there_will_be_made(state: Path) -> None:
    assert found(check_database, surroundings(state.parent)) == [("ok", f"{state / FILE_NAME} will be made")]
    assert contents(state) == {}


def test_one_of_this_version_is_whole_and_left_as_it_is(state: Path) -> None:
    open_database(state).dispose()
    before = contents(state)
    assert found(check_database, surroundings(state.parent)) == [("ok", f"{state / FILE_NAME} is whole")]
    assert contents(state) == before


@pytest.mark.parametrize(
    ("revision", "level", "message"),
    [
        ("0002", "ok", f"the next start brings it from 0002 to {NEWEST_REVISION}"),
        ("9999", "error", f"written by a newer version (9999; this one knows {NEWEST_REVISION})"),
    ],
)
def test_its_revision_is_told_even_if_it_is_not_merged_into_the_file_yet(
    revision: str, level: str, message: str, state: Path
) -> None:
    engine = open_database(state)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    # Still open: as after a kill, the change stands in the write-ahead log alone.
    try:
        assert (state / f"{FILE_NAME}-wal").stat().st_size > 0
        ((found_level, told),) = found(check_database, surroundings(state.parent))
    finally:
        engine.dispose()
    assert (found_level, message in told) == (level, True)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no database" * 1000), lambda path: _scratch(path)])
def test_a_damaged_one_is_an_error(damage: Callable[[Path], object], state: Path) -> None:
    open_database(state).dispose()
    damage(state / FILE_NAME)
    ((level, message),) = found(check_database, surroundings(state.parent))
    assert (level, str(state / FILE_NAME) in message) == ("error", True)


def test_a_running_manager_s_is_not_looked_into(state: Path) -> None:
    (state / FILE_NAME).write_bytes(b"no database")
    around = replace(surroundings(state.parent), holder=Holder(1, None))
    assert found(check_database, around) == [("ok", f"{state / FILE_NAME} is open in the running manager")]


def _scratch(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)


def test_agents_that_go_on_without_a_manager_are_named(state: Path) -> None:
    remember(state, "known", "gone", pid=os.getpid(), created_at=identify(os.getpid()).created_at)
    assert found(check_leftovers, surroundings(state.parent, {"id": "known"})) == [
        ("warning", f"Agents go on without a manager: known (pid {os.getpid()})"),
        ("warning", f"Agents that are not in the config any more go on: gone (pid {os.getpid()})"),
    ]


def test_a_stranger_under_the_same_number_is_none_of_them(state: Path) -> None:
    remember(state, "known", pid=os.getpid(), created_at="0")
    assert found(check_leftovers, surroundings(state.parent)) == [("ok", "No agent runs without a manager")]


def test_a_running_manager_looks_after_its_own(state: Path) -> None:
    remember(state, "known", pid=os.getpid(), created_at=identify(os.getpid()).created_at)
    assert found(check_leftovers, replace(surroundings(state.parent), holder=Holder(1, None))) == []
