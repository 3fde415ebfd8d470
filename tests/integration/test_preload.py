"""What a fork server of the profile `langgraph` holds: all that an agent from data needs, up to its first answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.manager_process import ROOT

pytestmark = [pytest.mark.full, pytest.mark.timeout(240)]

# In a process of its own: this one has imported everything already.
_CODE = """
import asyncio, json, os, sys
from agent_service.contract import AgentSpec
from agent_service.forkserver.preload import preload
from agent_service.forkserver.rehearsal import rehearse

preload("langgraph")
rehearse("langgraph")
before = set(sys.modules)
from agent_service.runtimes.entry_point import load_runtime

async def live():
    runtime = load_runtime(AgentSpec.model_validate_json(sys.argv[1]))
    await runtime.open()
    after_start = set(sys.modules) - before
    result = await runtime.execute({"input": "x"})
    await runtime.close()
    return sorted(after_start), sorted(set(sys.modules) - before), result["output"]

print(json.dumps(asyncio.run(live())))
"""


def test_an_agent_from_data_imports_nothing_more_until_it_has_started(tmp_path: Path) -> None:
    model = {"provider": "scripted", "model": "script", "script": ["It is done."]}
    definition = {"behavior": {"model_parameters": model}, "memory": {"kind": "thread"}}
    spec = {"id": "a", "name": "a", "entryPoint": "react", "definition": definition, "stateDirectory": str(tmp_path)}
    command = [sys.executable, "-c", _CODE, json.dumps(spec)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    # Logs come before it.
    at_start, until_answered, output = json.loads(ended.stdout.splitlines()[-1])
    assert output == "It is done."
    assert at_start == []
    assert not [name for name in until_answered if name.startswith(("langchain_core.tracers", "langgraph", "mcp"))]
