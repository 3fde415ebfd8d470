"""Reads the `/metrics` pages of many processes at once; what one answers, or fails to, costs the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from agent_service.http.client.answer import Answer, BrokenExchange
from agent_service.http.client.connection import Connection
from manager.telemetry.target import Page

MAX_PAGE_BYTES = 1024 * 1024
MAX_CONCURRENT = 256

Connect = Callable[[str], Awaitable[Connection]]


class ScrapeError(Exception):
    """A page could not be had; the message says why."""


class NoMetrics(ScrapeError):
    """There is no such page, and need not be."""


class Scraper:
    """Each page on a connection of its own: one that was kept may be closed by the adapter in that very moment.

    `timeout_seconds` is for one whole page, from connecting to its last byte.
    """

    def __init__(self, connect: Connect, *, timeout_seconds: float) -> None:
        self._connect = connect
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def scrape(self, pages: Iterable[Page]) -> list[bytes | ScrapeError]:
        """Each page, in order, or why there is none."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._text_or_error(page.service_url), name=f"scrape {page.instance_id}")
                for page in pages
            ]
        return [task.result() for task in tasks]

    async def _text_or_error(self, service_url: str) -> bytes | ScrapeError:
        try:
            async with self._slots, asyncio.timeout(self._timeout_seconds):
                return await self._text(service_url)
        except TimeoutError:
            return ScrapeError(f"it did not answer within {self._timeout_seconds:g} s")
        except OSError as error:
            return ScrapeError(f"it takes no connections: {error.strerror or error}")
        except BrokenExchange as error:
            return ScrapeError(str(error))
        except ScrapeError as error:
            return error

    async def _text(self, service_url: str) -> bytes:
        connection = await self._connect(service_url)
        try:
            return await _body(connection.begin(_head(service_url), b""))
        finally:
            connection.abort()


def _head(service_url: str) -> bytes:
    # Compressed pages are refused: a few kilobytes of them can hold gigabytes.
    return (
        f"GET /metrics HTTP/1.1\r\nHost: {urlsplit(service_url).netloc}\r\nAccept: text/plain; version=0.0.4\r\n"
        "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ).encode()


async def _body(answer: Answer) -> bytes:
    await answer.until_head()
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NoMetrics("it has no /metrics")
    if answer.status != HTTPStatus.OK:
        raise ScrapeError(f"it answered {answer.status}")
    if any(name == b"content-encoding" and value != b"identity" for name, value in answer.headers):
        raise ScrapeError("it answered compressed, unasked")
    body = bytearray()
    async for chunk in answer:
        body += chunk
        if len(body) > MAX_PAGE_BYTES:
            raise ScrapeError(f"its page is over {MAX_PAGE_BYTES} bytes")
    return bytes(body)
