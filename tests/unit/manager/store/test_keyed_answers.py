from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent_service.contract import rfc3339
from manager.store.keyed_answers import CallState, KeyedAnswers, KeyedCall
from manager.store.store import Store

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CALL = KeyedCall("echo", "k", "f" * 64, rfc3339(NOW), instance_id="i")
ANSWERED = replace(
    CALL, state=CallState.ANSWERED, status=200, headers=[["content-type", "text/plain"]], body=b"\x00answer"
)


def stored(directory: Path, scenario: Callable[[KeyedAnswers], Awaitable[None]]) -> None:
    async def opened() -> None:
        store = await Store.open(directory)
        try:
            await scenario(store.keyed_answers)
        finally:
            await store.close()

    asyncio.run(opened())


def test_a_call_is_there_for_the_next_manager(tmp_path: Path) -> None:
    async def write(answers: KeyedAnswers) -> None:
        await answers.put(CALL)
        await answers.put(ANSWERED)

    async def read(answers: KeyedAnswers) -> None:
        assert await answers.get("echo", "k", since=NOW) == ANSWERED
        assert await answers.get("other", "k", since=NOW) is None

    stored(tmp_path, write)
    stored(tmp_path, read)


def test_what_is_too_old_does_not_count_and_is_forgotten(tmp_path: Path) -> None:
    async def scenario(answers: KeyedAnswers) -> None:
        await answers.put(ANSWERED)
        later = NOW + timedelta(seconds=1)
        assert await answers.get("echo", "k", since=later) is None
        await answers.prune(before=later, max_bytes=1000)
        assert await answers.get("echo", "k", since=NOW) is None

    stored(tmp_path, scenario)


def test_the_oldest_answers_are_dropped_but_not_their_keys(tmp_path: Path) -> None:
    async def scenario(answers: KeyedAnswers) -> None:
        for age in range(4):
            at = rfc3339(NOW - timedelta(seconds=age))
            await answers.put(replace(ANSWERED, key=str(age), created_at=at, body=b"1234"))
        await answers.prune(before=NOW - timedelta(days=1), max_bytes=8)
        found = [await answers.get("echo", str(age), since=NOW - timedelta(days=1)) for age in range(4)]
        assert [call and (call.state, call.body) for call in found] == [
            (CallState.ANSWERED, b"1234"),
            (CallState.ANSWERED, b"1234"),
            (CallState.DROPPED, None),
            (CallState.DROPPED, None),
        ]

    stored(tmp_path, scenario)


def test_a_call_that_was_never_run_is_forgotten(tmp_path: Path) -> None:
    async def scenario(answers: KeyedAnswers) -> None:
        await answers.put(CALL)
        await answers.remove("echo", "k")
        await answers.remove("echo", "k")
        assert await answers.get("echo", "k", since=NOW) is None

    stored(tmp_path, scenario)
