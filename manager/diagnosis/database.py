"""The database in the state directory: whether it is one, is whole, and which version wrote it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from manager.diagnosis.finding import Finding, error, well
from manager.diagnosis.surroundings import Surroundings
from manager.store.database import FILE_NAME, NEWEST_REVISION

_REMEDY = "move the file away to start with an empty history, or restore a backup"


def check_database(around: Surroundings) -> Iterator[Finding]:
    """Looked at only while no manager works with it; a running one has found it right, or would not run."""
    if around.config is None:
        return
    path = around.config.state_directory / FILE_NAME
    if around.holder is not None:
        yield well("database", f"{path} is open in the running manager")
    elif not path.exists():
        yield well("database", f"{path} will be made")
    else:
        yield _looked_at(path)


@contextmanager
def copy_of(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy of the database, with what was not merged into its file yet.

    SQLite itself would merge that, which would be a change. Raises OSError, `sqlite3.Error`.
    """
    with tempfile.TemporaryDirectory(prefix="agent-manager-doctor-") as directory:
        for each in (path, path.with_name(f"{path.name}-wal")):
            if each.exists():
                shutil.copyfile(each, Path(directory) / each.name)
        with closing(sqlite3.connect(Path(directory) / path.name)) as connection:
            yield connection


def _looked_at(path: Path) -> Finding:
    try:
        with copy_of(path) as database:
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            revision = _revision(database)
    except (sqlite3.Error, OSError) as unreadable:
        return error("database", f"{path} cannot be read ({unreadable})", _REMEDY)
    if verdict != "ok":
        return error("database", f"{path} is damaged: {verdict}", _REMEDY)
    if revision > NEWEST_REVISION:
        message = f"{path} was written by a newer version ({revision}; this one knows {NEWEST_REVISION})"
        return error("database", message, "run that version, or move the file away")
    later = "" if revision == NEWEST_REVISION else f"; the next start brings it from {revision} to {NEWEST_REVISION}"
    return well("database", f"{path} is whole{later}")


def _revision(database: sqlite3.Connection) -> str:
    """As Alembic numbers them; `0000` where there are no tables yet."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return "0000"
    found = database.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else "0000"
