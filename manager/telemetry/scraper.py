"""Reads the `/metrics` pages of many agents at once; what an agent answers, or fails to, costs the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx

from manager.telemetry.target import Target

MAX_PAGE_BYTES = 1024 * 1024
MAX_CONCURRENT = 256

# Compressed pages are refused: a few kilobytes of them can hold gigabytes.
_HEADERS = {"Accept": "text/plain; version=0.0.4", "Accept-Encoding": "identity"}


class ScrapeError(Exception):
    """The page of one agent could not be had; the message says why."""


class Scraper:
    """`timeout_seconds` is for one whole page, from connecting to its last byte."""

    def __init__(self, client: httpx.AsyncClient, *, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def scrape(self, targets: Iterable[Target]) -> list[str | ScrapeError]:
        """Each target's page, in order, or why there is none."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._page_or_error(target), name=f"scrape {target.agent_id}") for target in targets
            ]
        return [task.result() for task in tasks]

    async def _page_or_error(self, target: Target) -> str | ScrapeError:
        if target.service_url is None:
            return ScrapeError("it has no address")
        try:
            async with self._slots, asyncio.timeout(self._timeout_seconds):
                return await self._page(f"{target.service_url.rstrip('/')}/metrics")
        except TimeoutError:
            return ScrapeError(f"it did not answer within {self._timeout_seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return ScrapeError(f"the request failed: {type(error).__name__} {error}".rstrip())
        except UnicodeDecodeError:
            return ScrapeError("its page is not UTF-8")
        except ScrapeError as error:
            return error

    async def _page(self, url: str) -> str:
        body = bytearray()
        async with self._client.stream("GET", url, headers=_HEADERS) as response:
            if response.status_code != httpx.codes.OK:
                raise ScrapeError(f"it answered {response.status_code}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise ScrapeError("it answered compressed, unasked")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise ScrapeError(f"its page is over {MAX_PAGE_BYTES} bytes")
        return body.decode()
