"""What a command gets from the process around it, in one object, so that tests hand in their own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from manager.cli.target import manager_url
from manager.clock import Clock, SystemClock

if TYPE_CHECKING:
    import httpx

    from manager.cli.client import ManagerClient


@dataclass(frozen=True)
class Session:
    """`url` is the `--url` given before the command; one given after it wins."""

    environ: Mapping[str, str]
    directory: Path
    clock: Clock
    sleep: Callable[[float], None]
    transport: httpx.BaseTransport | None = None
    url: str | None = None

    @classmethod
    def of_process(cls) -> Session:
        """This process's own environment, directory and clock."""
        return cls(os.environ, Path.cwd(), SystemClock(), time.sleep)

    def connect(self, url: str | None = None) -> ManagerClient:
        """A client of the manager that the command line or the environment names, that runs here or is configured."""
        # httpx and the models take a fifth of a second to import: only commands that talk pay for them.
        from manager.cli.client import ManagerClient

        target = manager_url(url or self.url, self.environ, self.directory)
        return ManagerClient(target, token=self.environ.get("MANAGER_TOKEN"), transport=self.transport)


def session_of(context: typer.Context) -> Session:
    """The session that the command line's root has put into the context."""
    session = context.find_object(Session)
    assert session is not None, "the root callback sets it"
    return session
