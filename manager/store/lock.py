"""One manager per state directory: a lock that the kernel drops when its holder dies, and who holds it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from filelock import FileLock, Timeout

from manager.errors import StateDirectoryBusy, StoreUnavailable
from manager.store.holder import HOLDER_FILE, LOCK_FILE, named_holder


class StateDirectoryLock:
    """Held from `acquire` until `release` or the process's end, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._holder = directory / HOLDER_FILE
        self._lock = FileLock(directory / LOCK_FILE)
        self._locked: tuple[int, int] | None = None

    def acquire(self) -> None:
        """Take the directory.

        Raises `StateDirectoryBusy` with the holder's pid and URL, `StoreUnavailable` where it cannot be written.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise StateDirectoryBusy(
                f"Another manager {self._describe_holder()} holds the state directory {self._directory}; "
                "stop it with `agent-manager down`, or give this one another `stateDirectory`."
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        self._locked = self._found()
        try:
            self.announce(None)
        except StoreUnavailable:
            self._lock.release()
            raise

    def announce(self, url: str | None) -> None:
        """Write down, for whoever is refused, which process this is and at which URL it answers."""
        try:
            self._holder.write_text(json.dumps({"pid": os.getpid(), "url": url}), encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error

    def check(self) -> None:
        """Raises `StoreUnavailable` where the directory that was locked is no longer there.

        What is written then is lost with the removed files, and another manager may have begun in its place.
        """
        if self._found() != self._locked:
            raise StoreUnavailable(
                f"The state directory {self._directory} was removed or replaced while this manager ran, and nothing "
                "can be kept any more; restart the manager."
            )

    def release(self) -> None:
        """Let the directory go; where it is another manager's by now, its name stays."""
        if self._found() == self._locked:
            self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _found(self) -> tuple[int, int] | None:
        """What tells the lock file from another one under its name: the kernel gives a held file's number to none."""
        try:
            found = os.stat(self._lock.lock_file)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _unwritable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"The state directory {self._directory} cannot be written ({error}); "
            "free disk space, mend its permissions, or set another `stateDirectory`."
        )

    def _describe_holder(self) -> str:
        # The holder writes its name after it takes the lock: a reader in between finds nothing yet.
        holder = named_holder(self._directory)
        return f"(pid {holder.pid}, {holder.url or 'just starting'})" if holder else "(just starting)"
