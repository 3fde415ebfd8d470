"""Adapters that the test plays: what they answer to the manager, and what they tell it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from agent_service.contract import TOKEN_HEADER, AdapterAction, AdapterStatus, Registration, StatusReport
from manager.adapter_client import AdapterClient

_STATUS_AFTER = {
    AdapterAction.PAUSE: AdapterStatus.PAUSED,
    AdapterAction.RESUME: AdapterStatus.RUNNING,
    AdapterAction.STOP: AdapterStatus.STOPPING,
    AdapterAction.RESTART: AdapterStatus.STOPPING,
}


@dataclass(frozen=True)
class Call:
    """One action that an adapter was asked for."""

    url: str
    action: AdapterAction
    timeout_seconds: float | None = None


class FakeAdapters:
    """Every adapter of the fleet behind one transport: takes actions and says the status that follows.

    `refusal` answers actions with that HTTP status, `unreachable` refuses connections, `silent` never answers.
    `token`: what they demand for orders, the manager's unless it is changed; None demands none.
    `locations`: the manager's URL that each was told; `knows_no_location` answers 404 to that. `reloads`: the
    definitions that they were told, with the address of each.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refusal: int | None = None
        self.unreachable = False
        self.silent = False
        self.token: str | None = "secret"
        self.locations: dict[str, str] = {}
        self.knows_no_location = False
        self.infos: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.reloads: list[tuple[str, dict[str, Any]]] = []
        self.on_action: Callable[[Call], Awaitable[None]] | None = None
        self.client = AdapterClient(
            httpx.AsyncClient(transport=httpx.MockTransport(self._answer), trust_env=False), tokens=("secret",)
        )

    @property
    def actions(self) -> list[AdapterAction]:
        return [call.action for call in self.calls]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        url = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if self.unreachable:
            raise httpx.ConnectError("connection refused", request=request)
        if self.silent:
            await asyncio.sleep(request.extensions["timeout"]["read"])
            raise httpx.ReadTimeout("", request=request)
        if request.url.path == "/info":
            return httpx.Response(200, json=self.infos.get(url, {}))
        if request.url.path == "/status":
            return httpx.Response(200, json=self.statuses.get(url, {"status": "running"}))
        if request.url.path == "/health":
            return httpx.Response(200)
        if self.token is not None and request.headers.get(TOKEN_HEADER) != self.token:
            return httpx.Response(401, json={"detail": "the token was missing or wrong"})
        body = json.loads(request.content)
        if request.url.path == "/manager":
            return self._locate(url, body)
        if request.url.path == "/reload":
            self.reloads.append((url, body["definition"]))
            return httpx.Response(200, json={"changed": ["behavior"]})
        return await self._act(url, body)

    def _locate(self, url: str, body: dict[str, Any]) -> httpx.Response:
        if self.knows_no_location:
            return httpx.Response(404, json={"detail": "no such address"})
        self.locations[url] = body["url"]
        return httpx.Response(200, json=body)

    async def _act(self, url: str, body: dict[str, Any]) -> httpx.Response:
        call = Call(url, AdapterAction(body["action"]), body.get("timeout_seconds"))
        self.calls.append(call)
        if self.on_action is not None:
            await self.on_action(call)
        if self.refusal is not None:
            return httpx.Response(self.refusal, json={"detail": "not now"})
        return httpx.Response(202, json={"status": _STATUS_AFTER[call.action].value})


def registration(instance_id: str = "i-1", agent_id: str = "echo", port: int = 8100, **changes: Any) -> Registration:
    return Registration(
        **{"id": agent_id, "service_url": f"http://127.0.0.1:{port}", "instance_id": instance_id, **changes}
    )


def report(status: AdapterStatus = AdapterStatus.RUNNING, **changes: Any) -> StatusReport:
    return StatusReport(status=status, **changes)
