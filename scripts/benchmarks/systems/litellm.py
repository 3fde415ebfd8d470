"""LiteLLM's proxy before one adapter: of the gateways in Python on PyPI the one that most people run.

Its pass-through endpoints send any POST on, without a model behind it. One worker, no key, no database, no request log.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.benchmarks.client import HOST, until_answered
from scripts.benchmarks.daemon import running
from scripts.benchmarks.environment import Environment
from scripts.benchmarks.fleet import Agent
from scripts.benchmarks.ports import free_ports

_ENVIRONMENT = Environment("litellm", ("litellm[proxy]==1.106.2",))
# It imports for some ten seconds.
_START_SECONDS = 120.0
_START_EVERY = 0.5


@asynccontextmanager
async def litellm(directory: Path, agent: Agent, *, token: str) -> AsyncIterator[int]:
    """The port of a proxy that takes tasks for the agent at /execute."""
    _ENVIRONMENT.install()
    (port,) = free_ports(1, besides=[agent.port])
    config = directory / "config.yaml"
    # JSON is YAML.
    config.write_text(json.dumps(_config(agent, token)), encoding="utf-8")
    options = ("--config", config, "--host", HOST, "--port", str(port), "--num_workers", "1")
    quiet = ("env", "LITELLM_LOG=ERROR")
    with running((*quiet, _ENVIRONMENT.program("litellm"), *options), directory / "output.log"):
        await until_answered(port, "GET", "/health/liveliness", every=_START_EVERY, seconds=_START_SECONDS)
        yield port


def _config(agent: Agent, token: str) -> dict[str, object]:
    endpoint = {
        "path": "/execute",
        "target": f"http://{HOST}:{agent.port}/execute",
        "headers": {"X-Manager-Token": token, "Content-Type": "application/json"},
    }
    return {
        "model_list": [],
        "general_settings": {
            "dangerously_permit_weak_or_unset_master_key": True,
            "pass_through_endpoints": [endpoint],
        },
    }
