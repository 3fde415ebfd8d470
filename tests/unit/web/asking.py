"""Requests to a `World`'s pages, from plain test functions."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx

from tests.unit.web.fakes import World

HTMX = {"HX-Request": "true"}


def get(world: World, path: str, **options: Any) -> httpx.Response:
    """The answer to one GET; `options` are the client's."""
    return asyncio.run(_send(world, "GET", path, options))


def post(world: World, path: str, data: dict[str, str], **options: Any) -> httpx.Response:
    """The answer to a posted form."""
    return asyncio.run(_send(world, "POST", path, options, data=data))


def text_of(answer: httpx.Response) -> str:
    """What a reader sees: no tags, single spaces."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


async def _send(world: World, method: str, path: str, options: dict[str, Any], **request: Any) -> httpx.Response:
    async with world.client(**options) as client:
        return await client.request(method, path, **request)
