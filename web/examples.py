"""A first request to try: what an agent's own description gives as an example."""

from __future__ import annotations

import json
import shlex
from typing import Any

_DECODER = json.JSONDecoder()


def example_of(description: str) -> dict[str, Any]:
    """The first JSON object that the description quotes, or an empty one."""
    for start, character in enumerate(description):
        if character == "{":
            try:
                found, _ = _DECODER.raw_decode(description, start)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                return found
    return {}


def curl(base_url: str, agent_id: str, parameters: dict[str, Any], *, with_token: bool) -> str:
    """The same request from a shell; `static/execute.js` writes it by the same rules."""
    token = ' -H "X-Manager-Token: $MANAGER_TOKEN"' if with_token else ""
    body = shlex.quote(json.dumps({"parameters": parameters}, ensure_ascii=False))
    return (
        f"curl -N {base_url.rstrip('/')}/api/agent-services/{agent_id}/execute"
        f" -H 'Content-Type: application/json' -H 'Accept: text/event-stream'{token} -d {body}"
    )
