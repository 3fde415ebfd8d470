"""A checkout begins with the fleet that `init` writes."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.integration.manager_process import ROOT


def committed(path: str) -> bytes:
    """A file as the next commit has it: whoever edits the config of their checkout has not committed that."""
    return subprocess.run(["git", "show", f":{path}"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="no checkout, or no git")
def test_the_committed_config_is_the_starter() -> None:
    assert committed("config/agents.config.json") == committed("manager/cli/starter/agents.config.json")
