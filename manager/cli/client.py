"""The manager's API as Python calls. Every way in which a request can fail becomes one `RequestFailed`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import Json, TypeAdapter, ValidationError

from agent_service.contract import EVENT_STREAM_MEDIA_TYPE, TASK_ID_HEADER, TOKEN_HEADER
from manager.cli.sse import ServerSentEvent, parse_events
from manager.cli.target import is_loopback
from manager.errors import ConfigIssue, ManagerError
from manager.events import ACTOR_HEADER, Event
from manager.supervision.states import AgentAction, Strategy
from manager.supervision.views import AgentDetail, AgentView
from manager.version import __version__

if TYPE_CHECKING:
    from manager.notifications.views import DeliveryView, WebhookView
    from manager.specs.diff import ConfigDiff
    from manager.supervision.stack_inspection import AgentStacks

JsonObject = dict[str, Any]
T = TypeVar("T")

_JSON_TEXT: TypeAdapter[JsonObject] = TypeAdapter(Json[JsonObject])
_ISSUES: TypeAdapter[list[ConfigIssue]] = TypeAdapter(list[ConfigIssue])

_TIMEOUT = httpx.Timeout(30, connect=5)
# The longest `timeoutSeconds` that a webhook may have, and a moment.
_LONGEST_TEST_SECONDS = 130
# How long a task may take is the agent's `executeTimeoutSeconds`, which the manager enforces.
_PATIENT = httpx.Timeout(None, connect=5)


class RequestFailed(ManagerError):
    """The manager refused, failed or did not answer; the message is the sentence for the person."""

    def __init__(self, detail: str, status: int | None = None, *, task_id: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.task_id = task_id

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later: a manager that starts or stops answers 503."""
        return self.status == httpx.codes.SERVICE_UNAVAILABLE


class ConnectionLost(RequestFailed):
    """The manager did not answer to the end, or not in time."""

    @property
    def is_passing(self) -> bool:
        return True


class ManagerUnreachable(ConnectionLost):
    """Nobody listens at the URL."""


class ManagerClient:
    """A connection to the manager at `url`; use it in a `with` block."""

    def __init__(self, url: str, *, token: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self.has_answered = False
        try:
            host = httpx.URL(url).host
        except httpx.InvalidURL as error:
            raise RequestFailed(f"{url} is no URL of a manager ({error}); name the right one with --url.") from None
        self._http = httpx.Client(
            base_url=url,
            headers={ACTOR_HEADER.encode(): b"cli", **({TOKEN_HEADER.encode(): token.encode()} if token else {})},
            timeout=_TIMEOUT,
            transport=transport,
            # A proxy from the environment is for the network outside, never for this machine.
            trust_env=not is_loopback(host),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def agents(self) -> list[JsonObject]:
        """Every known agent, as the API answers it."""
        return self._list("/api/agent-services", "agents")

    def views(self) -> list[AgentView]:
        """Every known agent."""
        return self.parse_views(self.agents())

    def agent(self, agent_id: str) -> JsonObject:
        """One agent with its spec and newest events, as the API answers it."""
        return self._object("GET", _path(agent_id))

    def act(
        self,
        agent_id: str,
        action: AgentAction,
        *,
        reason: str | None,
        timeout_seconds: float | None,
        strategy: Strategy | None = None,
    ) -> JsonObject:
        """Ask for a lifecycle action; the agent as it is now."""
        body: JsonObject = {
            "action": action.value,
            "reason": reason,
            "timeout_seconds": timeout_seconds,
            "strategy": strategy.value if strategy else None,
        }
        given = {key: value for key, value in body.items() if value is not None}
        return self._object("POST", _path(agent_id, "action"), body=given)

    def scale(self, agent_id: str, instances: int, *, reason: str | None) -> JsonObject:
        """Ask for so many instances; the agent as it is now."""
        body: JsonObject = {"action": "scale", "instances": instances}
        return self._object("POST", _path(agent_id, "action"), body={**body, **({"reason": reason} if reason else {})})

    def tracing(self, agent_id: str) -> JsonObject:
        """What of an agent is traced."""
        return self._object("GET", _path(agent_id, "tracing"))

    def set_tracing(self, agent_id: str, enabled: bool | None, sample_rate: float | None) -> JsonObject:
        """Set what of an agent is traced; None leaves it as it is."""
        body: JsonObject = {"enabled": enabled, "sample_rate": sample_rate}
        return self._object("PUT", _path(agent_id, "tracing"), body=_given(body))

    def reset_tracing(self, agent_id: str) -> JsonObject:
        """Let an agent be traced as its definition says."""
        return self._object("DELETE", _path(agent_id, "tracing"))

    def execute(self, agent_id: str, parameters: JsonObject) -> JsonObject:
        """Run one task to its end."""
        body = {"parameters": parameters}
        return self._object("POST", _path(agent_id, "execute"), body=body, timeout=_PATIENT)

    @contextmanager
    def execute_stream(self, agent_id: str, parameters: JsonObject) -> Iterator[Iterator[ServerSentEvent]]:
        """Run one task; its events as they come."""
        with self._stream("POST", _path(agent_id, "execute"), body={"parameters": parameters}) as events:
            yield events

    def check_ready(self) -> None:
        """Return when the manager takes work. Raises `RequestFailed` otherwise."""
        self._object("GET", "/ready")

    def log_pages(self, ids: Sequence[str], query: Mapping[str, Any]) -> Iterator[JsonObject]:
        """Pages of the logs of these agents, of all where none is named, as a stream of the API gives them.

        The end of a search is a page without entries. Raises `RequestFailed` for what goes wrong on the way.
        """
        path, named = (_path(ids[0], "logs"), {}) if len(ids) == 1 else ("/api/logs", {"agent": list(ids)})
        with self._stream("GET", path, query={**named, **query}) as events:
            for event in events:
                page = self._parsed(_JSON_TEXT, event.data)
                if event.event == "problem":
                    raise RequestFailed(str(page.get("detail")), int(page.get("status", 500)))
                if "newer" not in page:
                    raise self._not_understood()
                yield page

    def log_note(self, agent_id: str) -> str | None:
        """A sentence on why the agent's log is not all that it has written, where that is so."""
        note = self._object("GET", _path(agent_id, "logs"), query={"lines": 1}).get("note")
        return note if isinstance(note, str) else None

    def events(self, asked: Mapping[str, Any], *, limit: int) -> JsonObject:
        """The newest of the lifecycle events `asked` for (parameters of the API), oldest first, as it answers them."""
        return self._object("GET", "/api/events", query={**asked, "limit": limit})

    def event_stream(self, asked: Mapping[str, Any], *, after: int) -> Iterator[JsonObject]:
        """Those after the one with id `after`, as they happen, until the manager ends the stream.

        Raises `ConnectionLost` when it breaks off.
        """
        with self._stream("GET", "/api/events", query={**asked, "after": after}) as events:
            for event in events:
                yield self._parsed(_JSON_TEXT, event.data)

    def date(self) -> str | None:
        """What the manager's clock says, as HTTP puts it, to the second."""
        with self._errors_mapped("GET", "/health"):
            response = self._http.get("/health")
        self._check(response)
        date: str | None = response.headers.get("date")
        return date

    def stacks(self, agent_id: str) -> JsonObject:
        """What the agent's processes are doing, as the API answers it."""
        return self._object("GET", _path(agent_id, "stacks"))

    def webhooks(self) -> JsonObject:
        """Every webhook and how it does, as the API answers it."""
        return self._object("GET", "/api/webhooks")

    def test_webhook(self, name: str) -> JsonObject:
        """Have a test sent; what came of it, as the API answers it."""
        path = f"/api/webhooks/{quote(name, safe='')}/test"
        return self._object("POST", path, timeout=httpx.Timeout(_LONGEST_TEST_SECONDS, connect=5))

    def config_diff(self) -> JsonObject:
        """What a reload would change, as the API answers it."""
        return self._object("GET", "/api/config/diff")

    def reload(self) -> JsonObject:
        """Take the config file over; what has changed, as the API answers it."""
        return self._object("POST", "/api/config/reload", body={})

    def shutdown(self, *, leave_agents: bool) -> JsonObject:
        """Ask the manager to end, after a drain of every agent or leaving them as they are."""
        return self._object("POST", "/api/manager/shutdown", body={"leave_agents": leave_agents})

    def parse_views(self, rows: Iterable[JsonObject]) -> list[AgentView]:
        """Rows of the API as views."""
        return self._parsed(TypeAdapter(list[AgentView]), list(rows))

    def parse_detail(self, answer: JsonObject) -> AgentDetail:
        """The API's answer about one agent as a view."""
        return self._parsed(TypeAdapter(AgentDetail), answer)

    def parse_events(self, rows: object) -> list[Event]:
        """Rows of the API as events."""
        return self._parsed(TypeAdapter(list[Event]), rows)

    def parse_stacks(self, answer: JsonObject) -> AgentStacks:
        """The API's answer about an agent's processes."""
        from manager.supervision.stack_inspection import AgentStacks

        return self._parsed(TypeAdapter(AgentStacks), answer)

    def parse_webhooks(self, rows: object) -> list[WebhookView]:
        """Rows of the API as webhooks."""
        from manager.notifications.views import WebhookView

        return self._parsed(TypeAdapter(list[WebhookView]), rows)

    def parse_delivery(self, answer: JsonObject) -> DeliveryView:
        """The API's answer to a test."""
        from manager.notifications.views import DeliveryView

        return self._parsed(TypeAdapter(DeliveryView), answer)

    def parse_diff(self, answer: JsonObject) -> ConfigDiff:
        """The API's answer about the config."""
        # The settings' library, which only this needs, takes a tenth of a second to import.
        from manager.specs.diff import ConfigDiff

        return self._parsed(TypeAdapter(ConfigDiff), answer)

    def _list(self, path: str, key: str, query: Mapping[str, Any] | None = None) -> list[JsonObject]:
        answer = self._object("GET", path, query=query)
        return self._parsed(TypeAdapter(list[JsonObject]), answer.get(key))

    def _parsed(self, shape: TypeAdapter[T], value: object) -> T:
        try:
            return shape.validate_python(value)
        except ValidationError:
            raise self._not_understood() from None

    def _object(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        query: Mapping[str, Any] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> JsonObject:
        with self._errors_mapped(method, path):
            response = self._http.request(method, path, json=body, params=_given(query), timeout=timeout)
        self._check(response)
        return self._parsed(TypeAdapter(JsonObject), _json_of(response))

    @contextmanager
    def _stream(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Iterator[ServerSentEvent]]:
        headers = {"Accept": EVENT_STREAM_MEDIA_TYPE}
        request = self._http.build_request(
            method, path, json=body, params=_given(query), headers=headers, timeout=_PATIENT
        )
        with self._errors_mapped(method, path):
            response = self._http.send(request, stream=True)
            try:
                if not response.headers.get("content-type", "").startswith(EVENT_STREAM_MEDIA_TYPE):
                    response.read()
                    self._check(response)
                    raise self._not_understood()
                self.has_answered = True
                yield parse_events(response.iter_bytes())
            finally:
                response.close()

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            self.has_answered = True
            return
        answer = _json_of(response)
        detail = answer.get("detail") if isinstance(answer, dict) else None
        if not isinstance(detail, str):
            request = f"{response.request.method} {response.request.url.path}"
            detail = (
                f"{self.url} answered {response.status_code} {response.reason_phrase} to {request}; "
                "is it an agent manager? Name the right one with --url."
            )
        else:
            detail = "\n".join([detail, *_issues(answer)])
        raise RequestFailed(detail, response.status_code, task_id=response.headers.get(TASK_ID_HEADER))

    def _not_understood(self) -> RequestFailed:
        return RequestFailed(
            f"{self.url} answered something that agent-manager {__version__} does not understand; "
            "is it a manager of the same version? Name the right one with --url."
        )

    @contextmanager
    def _errors_mapped(self, method: str, path: str) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            raise ManagerUnreachable(
                f"No manager answers at {self.url}; start one with `agent-manager up` or name it with --url."
            ) from None
        except httpx.TimeoutException:
            raise ConnectionLost(
                f"The manager at {self.url} did not answer {method} {path} in time; try again or see its output."
            ) from None
        except httpx.HTTPError as error:
            raise ConnectionLost(
                f"The connection to the manager at {self.url} broke during {method} {path} ({error}); try again."
            ) from None


def _path(agent_id: str, *rest: str) -> str:
    return "/".join(("/api/agent-services", quote(agent_id, safe=""), *rest))


def _issues(answer: JsonObject) -> Iterator[str]:
    """What is wrong with a config, a line for each."""
    try:
        issues = _ISSUES.validate_python(answer.get("errors", []))
    except ValidationError:
        return
    for issue in issues:
        yield f"  {issue}"


def _given(query: Mapping[str, Any] | None) -> JsonObject:
    return {key: value for key, value in (query or {}).items() if value is not None}


def _json_of(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
