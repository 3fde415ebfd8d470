from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from agent_service.errors import BadRequest, StateConflict
from agent_service.manager_address import ManagerAddress
from tests.unit.agent_service.harness import Adapter


def test_a_manager_that_moves_is_found_where_it_says() -> None:
    address = ManagerAddress("http://127.0.0.1:8000")
    address.move("http://127.0.0.1:9000/")
    assert address.url == "http://127.0.0.1:9000"


def test_an_agent_that_runs_alone_gets_no_manager() -> None:
    address = ManagerAddress(None)
    with pytest.raises(StateConflict, match="--manager-url"):
        address.move("http://127.0.0.1:9000")
    assert address.url is None


def test_how_a_manager_is_reached_does_not_change() -> None:
    address = ManagerAddress("https://manager")
    with pytest.raises(BadRequest, match="https://manager"):
        address.move("http://manager")
    assert address.url == "https://manager"


def put(
    body: Any, *, token: str | None = "t", manager_url: str | None = "http://m:1"
) -> tuple[httpx.Response, Adapter]:
    async def scenario() -> tuple[httpx.Response, Adapter]:
        adapter = Adapter(tokens=("t",), manager_url=manager_url)
        async with adapter.client() as client:
            headers = {"X-Manager-Token": token} if token else {}
            return await client.put("/manager", json=body, headers=headers), adapter

    return asyncio.run(scenario())


def test_the_adapter_takes_it_over_http() -> None:
    answer, adapter = put({"url": "http://127.0.0.1:9000"})
    assert (answer.status_code, answer.json()) == (200, {"url": "http://127.0.0.1:9000"})
    assert adapter.manager.url == "http://127.0.0.1:9000"


def test_it_takes_it_from_the_manager_only() -> None:
    answer, adapter = put({"url": "http://127.0.0.1:9000"}, token="wrong")
    assert answer.status_code == 401
    assert adapter.manager.url == "http://m:1"


def test_alone_it_says_409() -> None:
    answer, _ = put({"url": "http://127.0.0.1:9000"}, manager_url=None)
    assert answer.status_code == 409


@pytest.mark.parametrize("body", [{}, {"url": None}, {"url": "9000"}, {"url": "ftp://m"}, {"url": "http://m:0"}, ["m"]])
def test_what_is_no_address_is_a_400(body: Any) -> None:
    answer, adapter = put(body)
    assert answer.status_code == 400
    assert "http://127.0.0.1:8000" in answer.json()["detail"]
    assert adapter.manager.url == "http://m:1"
