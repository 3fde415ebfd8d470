"""An agent's own port after everybody has died who held it but the agent's own processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from manager.supervision.fork_spawner import ForkSpawner
from tests.integration.chaos import quiet_port
from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config
from tests.integration.spawning import pid_at

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not ForkSpawner.available(), reason="instances share a port by the fork server"),
]


def both_die(manager: ManagerProcess) -> None:
    """Kill the manager and its fork server, and nobody else."""
    os.kill(pid_at(manager.directory / ".state" / "forkserver" / "light.sock"), signal.SIGKILL)
    manager.process.kill()
    manager.wait()


def whole(manager: ManagerProcess) -> dict[str, Any]:
    """The agent's row, once two instances of it are ready."""

    def row() -> dict[str, Any] | None:
        found = manager.agent("echo")
        return found if sum(instance["ready"] for instance in found["instances"]) == 2 else None

    return until(row, "two instances are ready")


def pids(row: dict[str, Any]) -> set[int]:
    return {instance["pid"] for instance in row["instances"]}


def test_instances_are_replaced_at_a_port_that_only_their_siblings_still_hold(tmp_path: Path) -> None:
    port = quiet_port()
    config = write_config(tmp_path, [{"id": "echo", "port": port, "instances": 2}])
    with running_manager(config) as manager:
        before = pids(whole(manager))
        both_die(manager)
        with running_manager(config) as successor:
            assert pids(whole(successor)) == before
            killed, sibling = sorted(before)
            os.kill(killed, signal.SIGKILL)
            until(lambda: killed not in pids(successor.agent("echo")), "its end is seen")
            now = pids(whole(successor))
            assert sibling in now
            successor.act("echo", "restart", strategy="rolling")
            until(lambda: not pids(successor.agent("echo")) & now, "all are replaced")
            whole(successor)
            assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200


@pytest.mark.full
def test_a_manager_that_came_back_holds_the_port_when_the_fork_server_dies_after_it(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "echo", "port": quiet_port(), "instances": 2}])
    with running_manager(config) as manager:
        before = pids(whole(manager))
        manager.process.kill()
        manager.wait()
        with running_manager(config) as successor:
            server = pid_at(manager.directory / ".state" / "forkserver" / "light.sock")
            os.kill(server, signal.SIGKILL)
            os.kill(min(before), signal.SIGKILL)
            until(lambda: min(before) not in pids(successor.agent("echo")), "its end is seen")
            assert max(before) in pids(whole(successor))


def test_instances_that_were_taken_back_go_on_side_by_side_at_their_port(tmp_path: Path) -> None:
    """A connection wakes both; the one that does not get it must not wait for the next one."""
    config = write_config(tmp_path, [{"id": "echo", "port": (port := quiet_port()), "instances": 2}])
    with running_manager(config) as manager:
        whole(manager)
        manager.process.kill()
        manager.wait()
        with running_manager(config) as successor:
            taken_back = whole(successor)
            for _ in range(50):
                assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
            for instance in taken_back["instances"]:
                health = httpx.get(f"{instance['service_url']}/health", trust_env=False, timeout=10)
                assert health.status_code == 200
            successor.stop()
            assert "ignored SIGTERM" not in "\n".join(successor.output)
