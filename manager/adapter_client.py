"""The manager's control calls to adapters: status, info, actions. Never the execute path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import ValidationError

from agent_service.contract import (
    TOKEN_HEADER,
    ActionRequest,
    AdapterAction,
    ManagerLocation,
    ReloadRequest,
    StatusReport,
)
from agent_service.definition import AgentDefinition, Tracing
from manager.errors import AdapterDied, AdapterTimeout

CONTROL_TIMEOUT_SECONDS = 5.0

# AttributeError: what anyio, below httpx, makes of a connection that the peer closed the moment it was made.
_UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL, AttributeError)


class AdapterRefused(AdapterDied):
    """The adapter answered a control call with an error."""


class OtherToken(AdapterRefused):
    """The adapter does not share the manager's token: it demands another one, or none though the manager has one."""


class AdapterClient:
    """Control calls over one shared httpx client. Raises `AdapterDied`, `AdapterRefused`, `AdapterTimeout`.

    `tokens`: the one in force, then the one before it, which adapters that run since before the rotation still have.
    """

    def __init__(self, client: httpx.AsyncClient, *, tokens: Sequence[str]) -> None:
        self._client = client
        self._headers = [{TOKEN_HEADER: token} for token in tokens] or [{}]

    async def act(
        self, service_url: str, action: AdapterAction, *, timeout_seconds: float | None = None
    ) -> StatusReport:
        """Post an action; answers the adapter's new status."""
        body = ActionRequest(action=action, timeout_seconds=timeout_seconds)
        answer = await self._call("POST", f"{service_url}/action", json=body.model_dump(mode="json", exclude_none=True))
        return _report(answer)

    async def tell_location(self, service_url: str, manager_url: str) -> None:
        """Tell the adapter where this manager is: one that it was taken over from may have been elsewhere.

        Raises `OtherToken`, also for an adapter that was told because it asks for no token, and so will send none.
        """
        url, location = f"{service_url}/manager", ManagerLocation(url=manager_url).model_dump(mode="json")
        if all(self._headers) and (await self._send("PUT", url, headers=[{}], json=location)).is_success:
            raise OtherToken(f"The adapter at {service_url} takes orders without the manager's token.")
        await self._call("PUT", url, json=location)

    async def report(self, service_url: str) -> StatusReport:
        """The adapter's `GET /status`, as the manager understands it."""
        return _report(await self._call("GET", f"{service_url}/status"))

    async def status(self, service_url: str) -> dict[str, Any]:
        """The adapter's own `GET /status`, as it is."""
        return _object(await self._call("GET", f"{service_url}/status"))

    async def info(self, service_url: str) -> dict[str, Any]:
        """The adapter's own `GET /info`, as it is."""
        return _object(await self._call("GET", f"{service_url}/info"))

    async def ask(self, method: str, url: str, query: Mapping[str, str]) -> httpx.Response:
        """The adapter's own answer, whatever its status."""
        return await self._send(method, url, params=query)

    async def reload(self, service_url: str, definition: AgentDefinition) -> bool:
        """Give an agent that is described by data its definition; answers whether it had another one."""
        body = ReloadRequest(definition=definition)
        answer = await self._call("POST", f"{service_url}/reload", json=body.model_dump(mode="json"))
        return bool(_object(answer).get("changed"))

    async def set_tracing(self, service_url: str, policy: Tracing | None) -> None:
        """Tell the adapter what to trace of what comes to it directly; None: as its definition says."""
        if policy is None:
            await self._call("DELETE", f"{service_url}/tracing")
        else:
            await self._call("PUT", f"{service_url}/tracing", json=policy.model_dump(mode="json"))

    async def probe(self, url: str, *, timeout_seconds: float) -> None:
        """Ask what is no adapter of ours, and gets no token, whether it is well: any status below 400 says so."""
        with _errors_mapped(url, timeout_seconds):
            async with asyncio.timeout(timeout_seconds):
                answer = await self._client.get(url, timeout=timeout_seconds)
        if answer.is_error:
            raise AdapterRefused(f"{url} answered {answer.status_code}.")

    async def _call(self, method: str, url: str, **options: Any) -> httpx.Response:
        answer = await self._send(method, url, **options)
        if answer.is_error:
            refusal = OtherToken if answer.status_code == HTTPStatus.UNAUTHORIZED else AdapterRefused
            raise refusal(f"The adapter answered {answer.status_code} to {method} {url}: {_detail(answer)}")
        return answer

    async def _send(
        self, method: str, url: str, headers: Sequence[dict[str, str]] | None = None, **options: Any
    ) -> httpx.Response:
        """The answer to the first of `headers`, those with our tokens, that is not refused for its token."""
        with _errors_mapped(f"The adapter at {url}", CONTROL_TIMEOUT_SECONDS):
            for each in headers or self._headers:
                answer = await self._client.request(
                    method, url, headers=each, timeout=CONTROL_TIMEOUT_SECONDS, **options
                )
                if answer.status_code != HTTPStatus.UNAUTHORIZED:
                    break
        return answer


@contextmanager
def _errors_mapped(asked: str, timeout_seconds: float) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise AdapterTimeout(f"{asked} did not answer within {timeout_seconds:g} s.") from error
    except _UNREACHABLE as error:
        raise AdapterDied(f"{asked} cannot be reached ({str(error) or type(error).__name__}).") from error


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as error:
        raise AdapterDied(f"The adapter's answer to {answer.request.url} is not JSON.") from error
    if not isinstance(value, dict):
        raise AdapterDied(f"The adapter's answer to {answer.request.url} is not a JSON object.")
    return value


def _report(answer: httpx.Response) -> StatusReport:
    try:
        return StatusReport.model_validate(_object(answer))
    except ValidationError as error:
        raise AdapterDied(f"The adapter's answer to {answer.request.url} breaks the contract: {error}") from error
