"""Follows the config file by what it holds, whichever way it is replaced: in place, by renaming, behind links."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from manager.errors import ConfigError, ManagerError, NotReady
from manager.supervision.reloading import Reloader

ACTOR = "watch"
RECHECK_SECONDS = 5.0
# An editor may write in several steps: a change is complete when nothing has happened for so long.
QUIET_SECONDS = 0.2

Identity = tuple[int, ...]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Seen:
    """The file as the file system tells it (None when it is not there) and the directories around it.

    Each directory with its identity: a new one under the same name is another, of which the old watch knows nothing.
    """

    file: Identity | None
    directories: dict[str, Identity | None]


async def watch(path: Path, reloader: Reloader) -> None:
    """Reload at each change of the file at `path`, for ever.

    What was changed between the reading of the running config and the beginning of the watch counts as well.
    """
    await _WatchedFile(path, reloader).follow()


class _WatchedFile:
    def __init__(self, path: Path, reloader: Reloader) -> None:
        self._path = path
        self._reloader = reloader
        # Nothing yet, which not even a missing file is.
        self._taken: Identity | None = ()
        self._complaint: str | None = None

    async def follow(self) -> None:
        while True:
            seen = await self._look()
            try:
                await self._while_in_place(seen)
            except (OSError, WatchfilesRustInternalError) as error:
                self._complain(str(error))
                await asyncio.sleep(RECHECK_SECONDS)

    async def _while_in_place(self, seen: _Seen) -> None:
        """Look whenever something stirs in the directories, until they are others.

        Raises `OSError` or the library's own error when there is none or the system has no watch left.
        """
        stirs = awatch(
            *seen.directories,
            watch_filter=None,
            recursive=False,
            # Network drives and links further up the path do not stir: look every so often anyhow.
            rust_timeout=int(RECHECK_SECONDS * 1000),
            yield_on_timeout=True,
        )
        async with aclosing(stirs):
            while True:
                stir = asyncio.ensure_future(anext(stirs))
                try:
                    # It watches from its first step on: what this look misses, it does not.
                    await asyncio.sleep(0)
                    if (await self._look()).directories != seen.directories:
                        return
                    await stir
                finally:
                    stir.cancel()
                    await asyncio.gather(stir, return_exceptions=True)

    async def _look(self) -> _Seen:
        seen = await asyncio.to_thread(_see, self._path)
        if seen.file != self._taken:
            seen = await self._settled(seen)
            self._taken = seen.file
            await self._reload()
        return seen

    async def _settled(self, seen: _Seen) -> _Seen:
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            before, seen = seen, await asyncio.to_thread(_see, self._path)
            if seen.file == before.file:
                return seen

    async def _reload(self) -> None:
        try:
            await self._reloader.apply(actor=ACTOR, quiet=True)
        except ConfigError:
            # The reloader has said what is wrong; the next change is the next try.
            return
        except NotReady:
            # The manager is starting or stopping: the next look is the next try.
            self._taken = ()
        except ManagerError as error:
            log.warning("Changed config was not taken", error=error.detail)
        except Exception:  # outermost loop: the next change may be one that works
            log.exception("Reload failed")

    def _complain(self, error: str) -> None:
        if error != self._complaint:
            log.warning("Config cannot be watched; it is looked at every few seconds", error=error)
        self._complaint = error


def _see(path: Path) -> _Seen:
    # The link's directory and its target's: orchestrators swap the one, people write into the other.
    directories = {os.path.dirname(path), os.path.dirname(os.path.realpath(path))}
    return _Seen(
        _identity(path, "st_dev", "st_ino", "st_mtime_ns", "st_size"),
        {directory: _identity(directory, "st_dev", "st_ino") for directory in sorted(directories)},
    )


def _identity(path: str | Path, *facts: str) -> Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return tuple(getattr(status, fact) for fact in facts)
