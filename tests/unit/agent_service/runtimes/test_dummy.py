from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent_service.runtimes.dummy import DummyRuntime


def execute(**parameters: Any) -> Any:
    return asyncio.run(DummyRuntime().execute(parameters))


def test_it_echoes_its_parameters() -> None:
    assert execute(x=1, sleep_ms=0) == {"echo": {"x": 1, "sleep_ms": 0}}


def test_it_fails_when_told_to() -> None:
    with pytest.raises(RuntimeError, match="no luck"):
        execute(fail="no luck")


def test_it_logs_and_holds_memory() -> None:
    with capture_logs() as lines:
        execute(log=2, allocate_mb=1)
    assert [(line["event"], line["number"]) for line in lines] == [("Dummy log line", 1), ("Dummy log line", 2)]


def test_it_streams_chunks_and_echoes_at_the_end() -> None:
    chunks: list[Any] = []

    async def emit(chunk: Any) -> None:
        chunks.append(chunk)

    result = asyncio.run(DummyRuntime().stream({"stream": 3}, emit))
    assert chunks == [{"chunk": 0}, {"chunk": 1}, {"chunk": 2}]
    assert result == {"echo": {"stream": 3}}


def test_it_sleeps_between_chunks_or_before_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def emit(chunk: Any) -> None: ...

    asyncio.run(DummyRuntime().stream({"stream": 3, "sleep_ms": 500}, emit))
    assert slept == [0.5, 0.5]
    slept.clear()
    execute(sleep_ms=250)
    assert slept == [0.25]


def test_it_waits_for_as_long_as_a_file_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            gate.unlink()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert execute(while_file=str(gate)) == {"echo": {"while_file": str(gate)}}
    assert len(slept) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sleep_ms", "100"),
        ("sleep_ms", -1),
        ("sleep_ms", True),
        ("block_ms", None),
        ("fail", 1),
        ("exit", "0"),
        ("exit", 256),
        ("stream", 1.5),
        ("log", [1]),
        ("allocate_mb", -1),
    ],
)
def test_orders_that_cannot_be_obeyed_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"cannot obey its parameters \({name}: .*, found .*; correct them"):
        execute(**{name: value})
