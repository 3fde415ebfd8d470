"""Fleets for the tests: one manager for many of them, each test with an agent of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.chaos import MARK
from tests.integration.manager_process import COMMAND, ROOT, ManagerProcess, running_manager, write_config
from tests.integration.watchman import watched

_AGENTS = 40


@pytest.fixture(scope="session", autouse=True)
def nothing_outlives_the_tests() -> Iterator[None]:
    """A fleet outlives its manager on purpose; it shall not outlive a test that fails, or is cut off, in between."""
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark
    with watched(mark):
        yield
    del os.environ[MARK]


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
