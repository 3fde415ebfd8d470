"""The conversations that an agent remembers: listed, read and forgotten by its adapter, reached through the manager."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import Thread, ThreadPage
from manager.adapter_client import AdapterClient
from manager.api.operation import Operation, QueryParameter, whole_number
from manager.supervision.introspection import Introspection

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 1000


class Threads:
    """Every process of an agent knows all its threads, so any that answers is asked; its answer comes back as it is."""

    def __init__(self, introspection: Introspection, adapters: AdapterClient) -> None:
        self._introspection = introspection
        self._adapters = adapters

    def operations(self) -> list[Operation]:
        """What this module serves."""
        all_of_them = "/api/agent-services/{agent_id}/threads"
        one = f"{all_of_them}/{{thread_id}}"
        problems = (404, 409, 502, 503, 504)
        limit = {"type": "integer", "minimum": 1, "maximum": _MAX_LIMIT, "default": _DEFAULT_LIMIT}
        query = (
            QueryParameter("limit", "How many.", limit),
            QueryParameter("before", "The `next` of the page before.", {"type": "string"}),
        )
        return [
            Operation(
                "GET",
                all_of_them,
                "The agent's conversations, newest first",
                self.page,
                ThreadPage,
                problems=(400, *problems),
                query=query,
                guarded=True,
            ),
            Operation("GET", one, "One conversation", self.one, Thread, problems=problems, guarded=True),
            Operation(
                "DELETE", one, "Forget a conversation", self.one, None, status=204, problems=problems, guarded=True
            ),
        ]

    async def page(self, request: Request) -> Response:
        limit = whole_number(request, "limit", default=_DEFAULT_LIMIT, lowest=1, highest=_MAX_LIMIT)
        before = request.query_params.get("before")
        return await self._ask(request, "", {"limit": str(limit)} | ({"before": before} if before else {}))

    async def one(self, request: Request) -> Response:
        return await self._ask(request, f"/{quote(request.path_params['thread_id'], safe='')}", {})

    async def _ask(self, request: Request, path: str, query: dict[str, str]) -> Response:
        url = f"{self._introspection.address(request.path_params['agent_id'])}/threads{path}"
        answer = await self._adapters.ask(request.method, url, query)
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))
