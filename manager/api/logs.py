"""`GET /api/logs`, `GET /api/agent-services/{id}/logs`: the manager reads the files, so it needs no adapter to live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import replace

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agent_service.http.event_stream import HEADERS, KEEP_ALIVE, wants_stream
from agent_service.http.event_stream import event as frame
from manager.api.operation import Operation, QueryParameter, json_response
from manager.api.problem import problem_of
from manager.clock import Clock
from manager.errors import BadRequest, ManagerError, UnknownAgent
from manager.moments import WRITTEN
from manager.supervision.fleet import Fleet
from manager.telemetry.log_reading.entry import LEVELS, LogPage
from manager.telemetry.log_reading.query import DEFAULT_LINES, MAX_LINES, LogQuery, read_query
from manager.telemetry.log_reading.reader import LogReader
from manager.telemetry.logs import AgentLogs

# Not an agent's, and there all the same.
MANAGER = "manager"

_PARAMETERS = (
    QueryParameter(
        "lines",
        "At most so many; 0 only with Accept: text/event-stream.",
        {"type": "integer", "minimum": 0, "maximum": MAX_LINES, "default": DEFAULT_LINES},
    ),
    QueryParameter("since", f"Only lines from then on: {WRITTEN}.", {"type": "string"}),
    QueryParameter("until", f"Only lines until then: {WRITTEN}.", {"type": "string"}),
    QueryParameter("level", "Only lines of this level and graver ones.", {"type": "string", "enum": list(LEVELS)}),
    QueryParameter("instance", "Only lines of this instance.", {"type": "string"}),
    QueryParameter("request", "Only lines of the request with this id.", {"type": "string"}),
    QueryParameter("trace", "Only lines of the trace with this id.", {"type": "string"}),
    QueryParameter("task", "Only lines of the task with this id.", {"type": "string"}),
    QueryParameter("text", "Only lines that contain this, in upper or lower case.", {"type": "string"}),
    QueryParameter("regex", "Only lines in which this regular expression is found.", {"type": "string"}),
    QueryParameter("cursor", "Go on at the `older` or `newer` of a page; the rest as for that.", {"type": "string"}),
    QueryParameter(
        "order",
        "The newest lines that match, or the oldest.",
        {"type": "string", "enum": ["newest", "oldest"], "default": "newest"},
    ),
    QueryParameter(
        "follow",
        "With Accept: text/event-stream: go on with what comes, or end as a search does.",
        {"type": "boolean", "default": True},
    ),
)


class AgentLogPage(LogPage):
    """One agent's page; `lines`: the texts of the entries."""

    lines: list[str]


class SearchEnd(BaseModel):
    """The last event of a search. `older` and `newer`: as of a page."""

    found: int
    older: str | None
    newer: str


class Logs:
    """`lost_note` is (agent id, pids of its processes) → a sentence where they write to a file that was deleted."""

    def __init__(
        self,
        fleet: Fleet,
        reader: LogReader,
        logs: AgentLogs,
        lost_note: Callable[[str, Collection[int]], Awaitable[str | None]],
        clock: Clock,
    ) -> None:
        self._fleet = fleet
        self._reader = reader
        self._logs = logs
        self._lost_note = lost_note
        self._clock = clock

    def operations(self) -> list[Operation]:
        """What this module serves."""
        agents = QueryParameter(
            "agent",
            f"Only this agent's; several by repeating it. {MANAGER}: the manager's own log.",
            {"type": "array", "items": {"type": "string"}},
        )
        return [
            Operation(
                "GET",
                "/api/agent-services/{agent_id}/logs",
                "The newest lines of the agent's log; with Accept: text/event-stream followed or searched",
                self.of_agent,
                AgentLogPage,
                problems=(400, 404, 503),
                query=_PARAMETERS,
                streams_events=True,
                guarded=True,
            ),
            Operation(
                "GET",
                "/api/logs",
                "The newest lines of all agents' logs by time; with Accept: text/event-stream followed or searched",
                self.of_all,
                LogPage,
                problems=(400, 404, 503),
                query=(agents, *_PARAMETERS),
                streams_events=True,
                guarded=True,
            ),
        ]

    async def of_agent(self, request: Request) -> Response:
        agent_id = request.path_params["agent_id"]
        pids = self._pids(agent_id)
        query = self._query(request, (agent_id,))
        if wants_stream(request):
            return self._stream(request, query)
        page = await self._reader.page(query)
        note = await self._lost_note(agent_id, pids)
        answer = AgentLogPage(**{**vars(page), "note": page.note or note}, lines=[each.line for each in page.entries])
        return json_response(answer)

    async def of_all(self, request: Request) -> Response:
        agents = request.query_params.getlist("agent")
        for agent_id in agents:
            if agent_id != MANAGER:
                self._pids(agent_id)
        query = self._query(request, tuple(agents))
        if wants_stream(request):
            return self._stream(request, query)
        return json_response(await self._reader.page(query))

    def _pids(self, agent_id: str) -> list[int]:
        """Of the agent's processes; an agent that is gone has none, and is known by its log. Raises `UnknownAgent`."""
        try:
            instances = self._fleet.agent(agent_id).instances
        except UnknownAgent:
            if agent_id not in self._logs.ids():
                raise
            return []
        return [instance.pid for instance in instances if instance.pid is not None]

    def _query(self, request: Request, agents: tuple[str, ...]) -> LogQuery:
        fewest = 0 if wants_stream(request) else 1
        return read_query(request.query_params, agents=agents, now=self._clock.now(), fewest=fewest)

    def _stream(self, request: Request, query: LogQuery) -> Response:
        follow = request.query_params.get("follow") or "true"
        if follow not in ("true", "false"):
            raise BadRequest(f"follow is {follow[:40]!r}; give true or false.")
        if follow == "false":
            frames = self._search(query)
        else:
            # What a browser's EventSource sends when it reconnects wins: it is further on.
            cursor = request.headers.get("last-event-id") or query.cursor
            frames = self._follow(replace(query, cursor=cursor))
        return StreamingResponse(_told(frames), headers={name.decode(): value.decode() for name, value in HEADERS})

    async def _follow(self, query: LogQuery) -> AsyncIterator[bytes]:
        async with aclosing(self._reader.follow(query)) as pages:
            async for page in pages:
                yield KEEP_ALIVE if page is None else _frame(page)

    async def _search(self, query: LogQuery) -> AsyncIterator[bytes]:
        found = 0
        async with aclosing(self._reader.search(query)) as pages:
            async for page in pages:
                found += len(page.entries)
                if page.entries:
                    yield _frame(page)
        end = SearchEnd(found=found, older=page.older, newer=page.newer)
        yield frame("end", end.model_dump_json().encode())


async def _told(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The frames; what goes wrong on the way is the last one."""
    yield KEEP_ALIVE
    try:
        async for each in frames:
            yield each
    except ManagerError as error:
        yield frame("problem", problem_of(error).model_dump_json(exclude_none=True).encode())


def _frame(page: LogPage) -> bytes:
    return b"id: " + page.newer.encode() + b"\n" + frame("lines", page.model_dump_json().encode())
