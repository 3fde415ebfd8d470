"""Fleets for the tests: one manager for many of them, each test with an agent of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.manager_process import COMMAND, ROOT, ManagerProcess, running_manager, write_config

_AGENTS = 40


class Fleet:
    """A manager with dummies that nobody has started yet."""

    def __init__(self, manager: ManagerProcess) -> None:
        self.manager = manager
        self._taken = 0

    def fresh(self) -> str:
        """The id of an agent that no other test uses."""
        self._taken += 1
        assert self._taken <= _AGENTS, "give the fleet more agents"
        return f"agent-{self._taken:02}"

    def started(self) -> str:
        """The same, running and ready."""
        agent_id = self.fresh()
        self.manager.start(agent_id)
        return agent_id


@pytest.fixture(
    scope="session",
    params=[
        pytest.param((COMMAND, ()), id="agent-manager"),
        pytest.param(((str(ROOT / "scripts" / "up"),), ("--dummy",)), id="scripts-up-dummy", marks=pytest.mark.full),
    ],
)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The command as installed, and as black box the script that a newcomer runs."""
    command, arguments = request.param
    directory: Path = tmp_path_factory.mktemp("fleet")
    config = write_config(directory, [{"id": f"agent-{n + 1:02}", "autostart": False} for n in range(_AGENTS)])
    with running_manager(config, *arguments, command=command) as manager:
        yield Fleet(manager)
