"""Prometheus's own linter reads a real adapter's page. Needs promtool; scripts/install-full installs it."""

from __future__ import annotations

import subprocess

import pytest

from tests.fixtures.adapter import AdapterProcess, execute

pytestmark = pytest.mark.full


def test_promtool_finds_no_fault() -> None:
    with AdapterProcess("--id", "x") as adapter, adapter.ready() as client:
        execute(client)
        execute(client, fail="x")
        page = client.get("/metrics").content
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=30)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
