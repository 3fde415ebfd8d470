"""A state directory that is removed under the running manager."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.manager_process import running_manager, until, write_config

pytestmark = pytest.mark.full


def test_a_removed_state_directory_is_noticed_and_no_action_is_accepted_and_lost(tmp_path: Path) -> None:
    with running_manager(write_config(tmp_path, [{"id": "echo"}])) as manager:
        manager.wait_for("echo", "running")
        shutil.rmtree(tmp_path / ".state")
        for answer in (manager.http.get("/ready"), manager.post("echo", "action", {"action": "stop"})):
            assert answer.status_code == 503
            assert "was removed or replaced" in answer.json()["detail"]
            assert "restart the manager" in answer.json()["detail"]
        assert manager.agent("echo")["desired_state"] == "running"
        assert manager.execute("echo", still="here").status_code == 200
        said = "state_directory_lost"
        until(lambda: said in manager.http.get("/api/events").text, "the history says it")
        assert manager.stop() == 0
