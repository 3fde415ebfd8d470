from __future__ import annotations

import asyncio

import pytest

from agent_service.http.client.answer import RawHeaders
from agent_service.http.recording import Reader, Recording
from manager.errors import AdapterDied
from tests.unit.manager.fakes.clock import run


async def read(reader: Reader) -> bytes:
    return b"".join([chunk async for chunk in reader])


async def write(recording: Recording, *chunks: bytes) -> None:
    recording.begin(200, [])
    for chunk in chunks:
        await recording.write(chunk)
        await asyncio.sleep(0.1)
    recording.complete()


def test_whoever_joins_reads_from_the_start() -> None:
    async def scenario() -> None:
        recording = Recording(100)
        writing = asyncio.create_task(write(recording, b"one", b"two", b"three"))
        await asyncio.sleep(0.15)
        early, late = recording.reader(), recording.reader()
        await late.until_head()
        assert await asyncio.gather(read(early), read(late)) == [b"onetwothree"] * 2
        await writing
        assert await read(recording.reader()) == b"onetwothree" == recording.body()

    run(scenario())


def test_an_error_is_told_after_what_has_come() -> None:
    async def scenario() -> None:
        recording = Recording(100)
        reader = recording.reader()
        await recording.write(b"half")
        recording.fail(AdapterDied("gone"))
        assert await anext(reader) == b"half"
        with pytest.raises(AdapterDied):
            await anext(reader)

    run(scenario())


def test_over_the_limit_the_writer_goes_at_the_slowest_readers_pace_and_keeps_no_more_than_it_needs() -> None:
    async def scenario() -> None:
        recording = Recording(10)
        quick, slow = recording.reader(), recording.reader()
        writing = asyncio.create_task(write(recording, *[b"12345"] * 20))
        reading = asyncio.create_task(read(quick))
        await asyncio.sleep(10)
        assert not recording.is_whole and not writing.done() and recording.size <= 20
        assert len(await read(slow)) == 100
        assert len(await reading) == 100
        await writing
        assert recording.body() == b""

    run(scenario())


def test_over_the_limit_without_readers_nothing_is_kept_and_nobody_waited_for() -> None:
    async def scenario() -> None:
        recording = Recording(10)
        reader = recording.reader()
        writing = asyncio.create_task(write(recording, *[b"12345"] * 20))
        await asyncio.sleep(10)
        assert not writing.done()
        reader.close()
        await writing
        assert recording.size == 100 and recording.body() == b""

    run(scenario())


def test_every_reader_is_told_the_interim_answers_and_the_writer_waits_for_none() -> None:
    async def scenario() -> None:
        recording = Recording(100)
        told: list[int] = []

        async def slowly(status: int, _: RawHeaders) -> None:
            await asyncio.sleep(60)
            told.append(status)

        early, late = recording.reader(), recording.reader()
        waiting = asyncio.create_task(early.until_head(slowly))
        await asyncio.sleep(1)
        for status in (102, 103):
            await recording.tell_interim(status, [])
        await write(recording, b"one")
        assert told == []
        await waiting
        await late.until_head(slowly)
        assert told == [102, 103] * 2
        await recording.reader().until_head()

    run(scenario())
