"""What an agent says of itself: asked of its own process, and of the newest where it has several."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent_service.contract import DefinitionSummary, ThreadPage
from manager.adapter_client import CONTROL_TIMEOUT_SECONDS, AdapterClient
from manager.errors import AdapterDied, AdapterTimeout, NotReady, StateConflict
from manager.registry.registry import Registry
from manager.supervision.views import AgentView

# A page does not wait as long for a fact as a caller does who asked for nothing else.
PAGE_SECONDS = 2.0

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)


class Introspection:
    """Every method raises `UnknownAgent`, `StateConflict` for who has no such thing to tell, and `NotReady` where
    nobody answers `within_seconds`. `view_of`: the manager's own view of an agent.
    """

    def __init__(self, view_of: Callable[[str], AgentView], registry: Registry, adapters: AdapterClient) -> None:
        self._view_of = view_of
        self._registry = registry
        self._adapters = adapters

    async def status(self, agent_id: str) -> dict[str, Any]:
        """The adapter's `GET /status`, as it is."""
        return await self._ask(agent_id, self._adapters.status, CONTROL_TIMEOUT_SECONDS)

    async def info(self, agent_id: str, *, within_seconds: float = CONTROL_TIMEOUT_SECONDS) -> dict[str, Any]:
        """The adapter's `GET /info`, as it is."""
        return await self._ask(agent_id, self._adapters.info, within_seconds)

    async def definition(self, agent_id: str, *, within_seconds: float = PAGE_SECONDS) -> DefinitionSummary | None:
        """What an agent from data is made of, and how its MCP servers are; None for an agent of another kind."""

        async def read(url: str) -> DefinitionSummary | None:
            told = (await self._adapters.info(url)).get("definition")
            return None if told is None else _parsed(DefinitionSummary, told)

        return await self._ask(agent_id, read, within_seconds)

    async def threads(
        self, agent_id: str, *, limit: int = 50, before: str | None = None, within_seconds: float = PAGE_SECONDS
    ) -> ThreadPage:
        """The agent's newest `limit` conversations, or those that come after the cursor `before`."""
        query = {"limit": str(limit)} | ({"before": before} if before else {})

        async def read(url: str) -> ThreadPage:
            answer = await self._adapters.ask("GET", f"{url}/threads", query)
            if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise StateConflict(
                    f"{agent_id} keeps no threads; only an agent from data with memory.kind thread does.",
                    agent_id=agent_id,
                )
            if answer.is_error:
                raise AdapterDied(f"it answered {answer.status_code}")
            return _parsed(ThreadPage, answer.content)

        return await self._ask(agent_id, read, within_seconds)

    def address(self, agent_id: str) -> str:
        """The URL of a process that can be asked."""
        return self._address_of(self._view_of(agent_id))

    async def _ask(self, agent_id: str, read: Callable[[str], Awaitable[Answer]], within_seconds: float) -> Answer:
        view = self._view_of(agent_id)
        url = self._address_of(view)
        try:
            async with asyncio.timeout(within_seconds):
                return await read(url)
        except TimeoutError as error:
            raise _silent(view, f"no answer within {within_seconds:g} s") from error
        except (AdapterDied, AdapterTimeout) as error:
            raise _silent(view, error.detail.rstrip(".")) from error

    def _address_of(self, view: AgentView) -> str:
        if view.sidecar:
            raise StateConflict(
                f"{view.id} is a sidecar and has no adapter to ask; GET /api/agent-services/{view.id} tells what the "
                "manager knows.",
                agent_id=view.id,
                state=view.state,
            )
        known = [instance for instance in self._registry.of(view.id) if not instance.expired]
        # One that drains is asked where there is no other: it still knows.
        staying = [instance for instance in known if not instance.draining] or known
        if not staying:
            raise _silent(view, "it is not registered")
        return staying[-1].service_url


def _parsed(model: type[Model], told: Any) -> Model:
    try:
        return model.model_validate_json(told) if isinstance(told, bytes) else model.model_validate(told)
    except ValidationError as error:
        raise AdapterDied(f"its answer breaks the contract: {error.errors(include_url=False)[0]['msg']}") from error


def _silent(view: AgentView, why: str) -> NotReady:
    return NotReady(
        f"{view.id} is {view.state} and does not answer for itself ({why}); "
        f"GET /api/agent-services/{view.id} tells what the manager knows.",
        agent_id=view.id,
        state=view.state,
    )
