from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from manager.telemetry.bookkeeping import DELAY_SECONDS, MAX_WAITING, Bookkeeping, at_once
from tests.unit.manager.fakes.clock import run

Scenario = Callable[[Bookkeeping, list[int]], Awaitable[None]]


def kept(work: Scenario) -> list[int]:
    async def scenario() -> None:
        await work(Bookkeeping(), done)

    done: list[int] = []
    run(scenario())
    return done


def test_what_is_told_is_done_a_moment_later_and_in_order() -> None:
    async def work(books: Bookkeeping, done: list[int]) -> None:
        for number in range(3):
            books.later(done.append, number)
        assert done == []
        await asyncio.sleep(2 * DELAY_SECONDS)
        assert done == [0, 1, 2]
        books.later(done.append, 3)
        await asyncio.sleep(2 * DELAY_SECONDS)

    assert kept(work) == [0, 1, 2, 3]


def test_no_more_than_so_much_waits() -> None:
    async def work(books: Bookkeeping, done: list[int]) -> None:
        for number in range(MAX_WAITING):
            books.later(done.append, number)
        assert len(done) == MAX_WAITING

    assert kept(work) == list(range(MAX_WAITING))


def test_who_reads_finds_everything_written_down() -> None:
    async def work(books: Bookkeeping, done: list[int]) -> None:
        books.later(done.append, 1)
        assert books.before(lambda extra: [*done, extra])(2) == [1, 2]

    assert kept(work) == [1]


def test_one_that_fails_does_not_take_the_others_with_it() -> None:
    def fail() -> None:
        raise ValueError("broken")

    async def work(books: Bookkeeping, done: list[int]) -> None:
        books.later(fail)
        books.later(done.append, 1)
        with pytest.raises(ValueError, match="broken"):
            books.catch_up()
        await asyncio.sleep(2 * DELAY_SECONDS)

    assert kept(work) == [1]


def test_at_the_end_what_waits_is_done_without_a_loop() -> None:
    books, done = Bookkeeping(), []

    async def scenario() -> None:
        books.later(done.append, 1)

    run(scenario())
    books.catch_up()
    assert done == [1]


def test_at_once_is_at_once() -> None:
    done: list[int] = []
    at_once(done.append, 1)
    assert done == [1]
