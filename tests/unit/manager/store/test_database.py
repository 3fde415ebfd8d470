from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from manager.errors import StoreUnavailable
from manager.store import database, tables
from manager.store.database import FILE_NAME, NEWEST_REVISION, open_database

TABLES = {
    "desired_states",
    "events",
    "idempotency_keys",
    "instances",
    "tracing_overrides",
    "webhook_deliveries",
    "alembic_version",
}


def table_names(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def migrations(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def refused(directory: Path) -> str:
    with pytest.raises(StoreUnavailable) as refusal:
        open_database(directory)
    return refusal.value.detail


def test_an_empty_directory_gets_the_newest_tables(tmp_path: Path) -> None:
    engine = open_database(tmp_path)
    assert table_names(engine) == TABLES
    engine.dispose()


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    first = open_database(tmp_path)
    with first.begin() as connection:
        connection.execute(
            tables.desired_states.insert().values(agent_id="echo", desired_state="paused", actor="a", changed_at="t")
        )
    first.dispose()
    second = open_database(tmp_path)
    with second.connect() as connection:
        assert connection.execute(text("SELECT agent_id, desired_state FROM desired_states")).all() == [
            ("echo", "paused")
        ]
    second.dispose()


def migrated(directory: Path, revision: str) -> Engine:
    engine = create_engine(f"sqlite:///{directory / FILE_NAME}")
    with engine.connect() as connection:
        command.upgrade(migrations(connection), revision)
    return engine


def test_the_newest_revision_is_that_of_the_last_migration() -> None:
    assert ScriptDirectory.from_config(migrations(None)).get_heads() == [NEWEST_REVISION]


def test_an_older_file_is_migrated_and_keeps_what_it_holds(tmp_path: Path) -> None:
    engine = migrated(tmp_path, "0001")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO desired_states VALUES ('echo', 'paused', NULL, 'a', 't')"))
    engine.dispose()
    engine = open_database(tmp_path)
    assert table_names(engine) == TABLES
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT agent_id FROM desired_states")).all() == ["echo"]
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == NEWEST_REVISION
    engine.dispose()


def test_notifications_that_wait_in_an_older_file_go_on_waiting(tmp_path: Path) -> None:
    engine = migrated(tmp_path, "0004")
    row = "'msg_1', 'oncall', 'agent.failed', '{}', 'pending', 't', 3"
    columns = "id, webhook, type, body, state, created_at, attempts"
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO webhook_deliveries ({columns}) VALUES ({row})"))
    engine.dispose()
    engine = open_database(tmp_path)
    with engine.connect() as connection:
        (kept,) = connection.execute(tables.webhook_deliveries.select()).mappings().all()
    assert (kept["id"], kept["attempts"], kept["refused"]) == ("msg_1", 3, False)
    engine.dispose()


def test_an_up_to_date_file_is_opened_without_alembic(tmp_path: Path) -> None:
    open_database(tmp_path).dispose()
    script = (
        "import sys; from pathlib import Path; from manager.store.database import open_database; "
        "open_database(Path(sys.argv[1])).dispose(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 0


def test_the_committed_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    engine = migrated(tmp_path, "head")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_the_migrations_lead_up_and_all_the_way_down(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / FILE_NAME}")
    with engine.connect() as connection:
        command.upgrade(migrations(connection), "head")
    assert table_names(engine) == TABLES
    with engine.connect() as connection:
        command.downgrade(migrations(connection), "base")
    assert table_names(engine) == {"alembic_version"}
    with engine.connect() as connection:
        command.upgrade(migrations(connection), "head")
    assert table_names(engine) == TABLES
    engine.dispose()


def test_readers_go_on_beside_the_writer(tmp_path: Path) -> None:
    engine = open_database(tmp_path)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 5000
    engine.dispose()


def test_a_path_may_hold_what_means_something_in_a_url(tmp_path: Path) -> None:
    directory = tmp_path / "100%25 my #state?"
    directory.mkdir()
    open_database(directory).dispose()
    assert (directory / FILE_NAME).exists()


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_bytes(b"# not a database, but somebody's notes\n" * 100)
    detail = refused(tmp_path)
    assert str(file) in detail
    assert "not a database" in detail
    assert "move the file away" in detail
    assert file.read_bytes().startswith(b"# not a database")


def test_a_newer_revision_is_refused_with_its_name(tmp_path: Path) -> None:
    engine = open_database(tmp_path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    detail = refused(tmp_path)
    assert "newer version" in detail
    assert "9999" in detail


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be opened" in refused(tmp_path / "gone")


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """An empty directory in the file's place is refused whoever asks, the superuser included."""
    (tmp_path / FILE_NAME).mkdir()
    assert "permissions" in refused(tmp_path)


def cut_off(*_: object, **__: object) -> None:
    raise CutOff


class CutOff(Exception):
    pass


def test_a_first_start_that_is_cut_off_leaves_nothing_that_stops_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(database._REVISIONS, "create", cut_off)
        with pytest.raises(CutOff):
            open_database(tmp_path)
    engine = open_database(tmp_path)
    assert table_names(engine) == TABLES
    engine.dispose()


def test_a_migration_that_is_cut_off_is_done_by_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrated(tmp_path, "0001").dispose()
    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", cut_off)
        with pytest.raises(CutOff):
            open_database(tmp_path)
    engine = open_database(tmp_path)
    assert table_names(engine) == TABLES
    engine.dispose()
