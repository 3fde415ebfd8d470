"""What `-f` does while the manager is away: it says so, tries again until the manager is back, and goes on there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from manager.cli.output import print_error
from manager.cli.session import Session

if TYPE_CHECKING:
    from manager.cli.client import ManagerClient, RequestFailed

PAUSE_SECONDS = 1.0
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 5.0


def follow(session: Session, url: str | None, step: Callable[[ManagerClient], None]) -> NoReturn:
    """Call `step` for ever, with a pause in between, and over a new connection after each one that broke.

    Raises `RequestFailed` when the manager was never there, or where trying again would not help.
    """
    from manager.cli.client import RequestFailed

    outage = _Outage(session)
    while True:
        # Connected anew rather than kept: the next manager may be found at another address.
        with session.connect(url) as manager:
            try:
                outage.end(manager)
                while True:
                    step(manager)
                    session.sleep(PAUSE_SECONDS)
            except RequestFailed as error:
                outage.go_on(manager, error)


class _Outage:
    """Whether the manager is away, and how long to wait for it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._was_there = False
        self._is_away = False
        self._retry_seconds = FIRST_RETRY_SECONDS

    def end(self, manager: ManagerClient) -> None:
        """Say that the manager is back, once it is. Raises `RequestFailed` until then."""
        if self._is_away:
            manager.check_ready()
            print_error(f"The manager at {manager.url} is back.")
            self._is_away = False
            self._retry_seconds = FIRST_RETRY_SECONDS

    def go_on(self, manager: ManagerClient, error: RequestFailed) -> None:
        """Say once that the manager is away, and wait. Raises `error` where waiting does not mend it."""
        self._was_there = self._was_there or manager.has_answered
        if not (self._was_there and error.is_passing):
            raise error
        if not self._is_away:
            print_error(f"The manager at {manager.url} is away; trying again until it is back.")
            self._is_away = True
        self._session.sleep(self._retry_seconds)
        self._retry_seconds = min(self._retry_seconds * 2, LONGEST_RETRY_SECONDS)
