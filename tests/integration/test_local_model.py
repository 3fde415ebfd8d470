"""Acceptance, nothing mocked: the shipped assistant on the local model, through manager, adapter and sidecar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from manager.cli.init import CONFIG_NAME, STARTER
from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 20},
        "population": {"type": "integer", "minimum": 1, "maximum": 99_999_999},
    },
    "required": ["city", "population"],
    "additionalProperties": False,
}


def shipped() -> list[dict[str, Any]]:
    """The assistant and its model, as in the config that comes with the project but for the fixed port."""
    agents = json.loads((STARTER / CONFIG_NAME).read_text(encoding="utf-8"))["agents"]
    return [{**agent, "port": None} for agent in agents if agent["id"] in ("assistant", "llm")]


@contextmanager
def running_assistant(directory: Path, *, output_schema: dict[str, Any] | None = None) -> Iterator[ManagerProcess]:
    agents = shipped()
    agents[0]["definition"]["output_schema"] = output_schema
    agents[1]["probe"] |= {"intervalSeconds": 0.5}
    with running_manager(write_config(directory, agents)) as manager:
        manager.wait_for("assistant", "running", seconds=120)
        yield manager
        assert manager.stop() == 0


def test_it_answers_streams_tokens_and_remembers(tmp_path: Path) -> None:
    with running_assistant(tmp_path) as manager:
        answer = manager.execute("assistant", input="Say hello.", thread_id="t")
        assert answer.status_code == 200, answer.text
        result = answer.json()["result"]
        assert result["output"].strip()
        assert result["usage"]["output_tokens"] > 0
        body = {"parameters": {"input": "Count from one to five.", "thread_id": "t"}}
        headers = {"Accept": "text/event-stream"}
        url = "/api/agent-services/assistant/execute"
        with manager.http.stream("POST", url, json=body, headers=headers) as stream:
            kinds = [line.partition(": ")[2] for line in stream.iter_lines() if line.startswith("event:")]
        assert kinds.count("chunk") > 3 and kinds[-1] == "result", kinds


def test_it_fills_a_json_schema(tmp_path: Path) -> None:
    with running_assistant(tmp_path, output_schema=CITY) as manager:
        answer = manager.execute("assistant", input="Name a city and its population.")
        assert answer.status_code == 200, answer.text
        output = answer.json()["result"]["output"]
        assert set(output) == {"city", "population"} and isinstance(output["population"], int), output


def test_the_death_of_the_model_server_is_survived(tmp_path: Path) -> None:
    with running_assistant(tmp_path) as manager:
        before = manager.agent("assistant")["pid"]
        psutil.Process(manager.agent("llm")["pid"]).kill()
        until(lambda: manager.agent("llm")["restarts"] == 1, "the model server is started again")
        manager.wait_for("llm", "running", seconds=120)
        answer = manager.execute("assistant", input="Say hello.")
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"]["output"].strip()
        assert manager.agent("assistant")["pid"] == before
