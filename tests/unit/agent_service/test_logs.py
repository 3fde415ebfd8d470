from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent_service.logs import MemoryLog, Redactor, file_reader, processors


def rendered(secrets: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    chain = processors("a", "a-1", secrets)
    event: Any = {"event": "It happened", **fields}
    logger = logging.getLogger("room")
    for processor in chain:
        event = processor(logger, "info", event)
    found: dict[str, Any] = json.loads(structlog.processors.JSONRenderer()(logger, "info", event))
    return found


def test_a_line_says_when_what_and_who() -> None:
    line = rendered(number=1)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "It happened",
        "agent_id": "a",
        "instance_id": "a-1",
        "logger": "room",
        "number": 1,
    }


def test_the_ids_of_the_request_are_on_the_line() -> None:
    with structlog.contextvars.bound_contextvars(request_id="r", trace_id="t", task_id="k"):
        line = rendered()
    assert (line["request_id"], line["trace_id"], line["task_id"]) == ("r", "t", "k")


def test_a_traceback_is_a_field() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        line = rendered(exc_info=error)
    assert line["exception"].startswith("Traceback") and line["exception"].endswith("ValueError: boom")


def test_secrets_are_redacted_wherever_they_are() -> None:
    try:
        raise ValueError("s3cret in a message")
    except ValueError as error:
        line = rendered(("s3cret", "older"), a="xs3cretx", b=["older"], c={"s3cret": Path("/s3cret")}, exc_info=error)
    text = json.dumps(line)
    assert "s3cret" not in text and "older" not in text
    assert line["a"] == "x[redacted]x"


def test_without_secrets_values_keep_their_types() -> None:
    assert Redactor(())(None, "info", {"a": 1, "b": None, "c": [True, 1.5]}) == {"a": 1, "b": None, "c": [True, 1.5]}


def test_memory_keeps_the_newest_lines() -> None:
    memory = MemoryLog(3)
    for number in range(5):
        memory.emit(logging.LogRecord("n", logging.INFO, "p", 1, str(number), None, None))
    assert asyncio.run(memory.read(10)) == ["2", "3", "4"]
    assert asyncio.run(memory.read(2)) == ["3", "4"]


def test_a_file_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    read = file_reader(path)

    async def newest(lines: int) -> list[str]:
        return await read(lines)

    assert asyncio.run(newest(5)) == []
    path.write_bytes(b"1\n2\n3\n")
    assert asyncio.run(newest(2)) == ["2", "3"]


@pytest.mark.parametrize("fields", [{"value": object()}, {"value": {1: {2}}}])
def test_any_value_can_be_logged(fields: dict[str, Any]) -> None:
    assert "value" in rendered(**fields)
