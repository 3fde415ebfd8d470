"""Opens the SQLite database in the state directory and brings its tables up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError

from manager.errors import StoreUnavailable

FILE_NAME = "manager.db"
_MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(directory: Path) -> Engine:
    """An engine on `directory`/manager.db, migrated to the newest revision.

    Raises `StoreUnavailable` where the file cannot be opened, is no database, or was written by a newer version.
    """
    path = directory / FILE_NAME
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    try:
        _migrate(engine)
    except (DatabaseError, OSError) as error:
        engine.dispose()
        cause = error.orig if isinstance(error, DatabaseError) else error
        raise StoreUnavailable(
            f"{path} cannot be opened ({cause}); free disk space or mend its permissions, "
            "or move the file away to start with an empty history."
        ) from error
    except CommandError as error:
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


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
