"""An agent in one function. agent-manager runs it as `greeter`, named in config/agents.config.json.

    agent-manager execute greeter '{"name": "Ada"}'

Change it and say `agent-manager restart greeter`: a restart always runs the code on disk.
"""

from typing import Any


async def greet(parameters: dict[str, Any]) -> dict[str, str]:
    """Gets the task's parameters; what it returns is the task's result."""
    return {"greeting": f"Hello, {parameters.get('name', 'world')}!"}
