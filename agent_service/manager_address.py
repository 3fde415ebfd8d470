"""Where the manager is. One that comes back elsewhere says so to the agents that it takes back."""

from __future__ import annotations

import structlog

from agent_service.errors import BadRequest, StateConflict

log = structlog.stdlib.get_logger(__name__)


class ManagerAddress:
    """`url` has no slash at its end; None for an agent that runs alone."""

    def __init__(self, url: str | None) -> None:
        self.url = url

    def move(self, url: str) -> None:
        """It is there from now on.

        Raises `StateConflict` for an agent that runs alone, `BadRequest` for one that would be reached in another way.
        """
        if self.url is None:
            raise StateConflict("This agent runs without a manager; start it again with --manager-url to give it one.")
        if _scheme(url) != _scheme(self.url):
            # How a connection is secured was settled when the agent started.
            raise BadRequest(f"The manager was at {self.url}; start the agent again to reach one by {_scheme(url)}.")
        before, self.url = self.url, url.rstrip("/")
        if before != self.url:
            log.info("The manager has moved", url=self.url, before=before)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()
