"""Opens the SQLite database in the state directory and brings its tables up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, Connection, Engine, MetaData, String, Table, create_engine, event, inspect, select
from sqlalchemy.exc import DatabaseError

from manager.errors import StoreUnavailable
from manager.store import tables

FILE_NAME = "manager.db"
# Of the newest file in `migrations/versions`.
NEWEST_REVISION = "0006"

# As Alembic makes it.
_REVISIONS = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
_MIGRATIONS = Path(__file__).parent / "migrations"


class NewerRevision(Exception):
    """No migration leads on from the file's revision."""


def open_database(directory: Path) -> Engine:
    """An engine on `directory`/manager.db, its tables those of the newest revision.

    Raises `StoreUnavailable` where the file cannot be opened, is no database, or was written by a newer version.
    """
    path = directory / FILE_NAME
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    try:
        _bring_up_to_date(engine)
    except (DatabaseError, OSError) as error:
        engine.dispose()
        cause = error.orig if isinstance(error, DatabaseError) else error
        raise StoreUnavailable(
            f"{path} cannot be opened ({cause}); free disk space or mend its permissions, "
            "or move the file away to start with an empty history."
        ) from error
    except NewerRevision as error:
        engine.dispose()
        raise StoreUnavailable(
            f"{path} was written by a newer version ({error}); run that version, or move the file away."
        ) from error
    return engine


def _set_up(connection: Any, _record: object) -> None:
    # Left to itself the driver commits before each change of a table: a migration cut off in the middle would stay
    # half done. SQLAlchemy begins and ends the transactions instead.
    connection.isolation_level = None
    # WAL lets readers go on beside the writer. With NORMAL a commit survives kill -9, a power cut may undo the newest.
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _bring_up_to_date(engine: Engine) -> None:
    """Raises `NewerRevision`."""
    with engine.begin() as connection:
        found = inspect(connection).get_table_names()
        if not found:
            _make(connection)
            return
        if _REVISIONS.name in found and connection.scalar(select(_REVISIONS)) == NEWEST_REVISION:
            return
    _migrate(engine)


def _make(connection: Connection) -> None:
    """All tables at once: what the migrations would come to."""
    tables.metadata.create_all(connection)
    _REVISIONS.create(connection)
    connection.execute(_REVISIONS.insert().values(version_num=NEWEST_REVISION))


def _migrate(engine: Engine) -> None:
    # Imported here, because Alembic takes 10 MB and is needed once in the life of an older file.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise NewerRevision(str(error)) from error
