from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from manager.cli.client import ManagerClient, ManagerUnreachable, RequestFailed
from manager.supervision.states import AgentAction

URL = "http://127.0.0.1:8000"
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler, *, url: str = URL, token: str | None = None) -> ManagerClient:
    return ManagerClient(url, token=token, transport=httpx.MockTransport(handler))


def answering(response: httpx.Response) -> Handler:
    return lambda request: response


def raising(error: type[httpx.HTTPError]) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error("broke")

    return handler


def failure(handler: Handler) -> RequestFailed:
    with client(handler) as manager, pytest.raises(RequestFailed) as caught:
        manager.agents()
    return caught.value


def test_the_problems_detail_is_the_message(make: Any) -> None:
    error = failure(answering(make.problem(409, "The agent is paused; resume it.")))
    assert (error.detail, error.status) == ("The agent is paused; resume it.", 409)


def test_nobody_listening_names_both_remedies() -> None:
    error = failure(raising(httpx.ConnectError))
    assert isinstance(error, ManagerUnreachable)
    assert error.detail == (f"No manager answers at {URL}; start one with `agent-manager up` or name it with --url.")


@pytest.mark.parametrize("kind", [httpx.ReadTimeout, httpx.ConnectTimeout])
def test_a_silent_manager_is_told_apart(kind: type[httpx.HTTPError]) -> None:
    error = failure(raising(kind))
    assert not isinstance(error, ManagerUnreachable)
    assert "did not answer GET /api/agent-services in time" in error.detail


def test_a_broken_connection_is_told_apart() -> None:
    assert "broke during GET /api/agent-services" in failure(raising(httpx.RemoteProtocolError)).detail


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(404, text="<html>nginx</html>"),
        httpx.Response(500, json=["no", "problem"]),
        httpx.Response(502, json={"detail": {"not": "text"}}),
        httpx.Response(307, headers={"location": "/elsewhere"}),
    ],
)
def test_an_error_that_is_no_problem_document_casts_doubt_on_the_url(response: httpx.Response) -> None:
    error = failure(answering(response))
    assert f"answered {response.status_code}" in error.detail
    assert "is it an agent manager?" in error.detail


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"agents": "none"}),
        httpx.Response(200, json={}),
        httpx.Response(200, content=b"\xff"),
    ],
)
def test_an_answer_of_another_kind_casts_doubt_on_the_url(response: httpx.Response) -> None:
    assert "does not understand" in failure(answering(response)).detail


def test_a_row_that_is_no_agent_casts_doubt_on_the_version(make: Any) -> None:
    row = make.row() | {"state": "levitating"}
    with client(answering(httpx.Response(200, json={"agents": [row]}))) as manager:
        with pytest.raises(RequestFailed, match="same version"):
            manager.views()


def test_a_url_that_httpx_refuses_is_no_traceback() -> None:
    with pytest.raises(RequestFailed, match="--url"):
        client(raising(httpx.ConnectError), url="http://a" + "b" * 300 + "é\u0378")


def test_the_token_goes_with_every_request() -> None:
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("X-Manager-Token"))
        return httpx.Response(200, json={"agents": []})

    for token in ("secret", None, ""):
        with client(handler, token=token) as manager:
            manager.agents()
    assert seen == ["secret", None, None]


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    seen: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(200, json={})

    with client(handler) as manager:
        manager.agent("../../metrics?x#y")
    assert seen == [b"/api/agent-services/..%2F..%2Fmetrics%3Fx%23y"]


def test_a_url_with_a_path_is_kept_in_front() -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200, json={"agents": []})

    with client(handler, url="https://example/fleet") as manager:
        manager.agents()
    assert seen == ["/fleet/api/agent-services"]


def test_whoever_asks_by_command_line_says_so() -> None:
    seen: list[httpx.Headers] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json={"agents": []})

    with client(handler) as manager, client(handler, token="s3cret") as trusted:
        manager.agents()
        trusted.agents()
    assert [headers["x-actor"] for headers in seen] == ["cli", "cli"]
    assert [headers.get("x-manager-token") for headers in seen] == [None, "s3cret"]


def test_an_action_says_only_what_was_given(make: Any) -> None:
    bodies: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(202, json=make.row())

    with client(handler) as manager:
        manager.act("planner", AgentAction.STOP, reason=None, timeout_seconds=None)
        manager.act("planner", AgentAction.STOP, reason="upgrade", timeout_seconds=0)
    assert bodies == [b'{"action":"stop"}', b'{"action":"stop","reason":"upgrade","timeout_seconds":0}']


def test_a_stream_that_breaks_is_one_sentence() -> None:
    class Breaking(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            yield b'data: {"id": 1}\n\n'
            raise httpx.ReadError("gone")

    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Breaking())
    with client(answering(response)) as manager:
        events = manager.event_stream({}, after=0)
        assert next(events) == {"id": 1}
        with pytest.raises(RequestFailed, match="broke during GET /api/events"):
            next(events)


def test_a_stream_that_is_refused_gives_the_problem(make: Any) -> None:
    with client(answering(make.problem(401, "Send the token."))) as manager:
        with pytest.raises(RequestFailed, match="Send the token"):
            list(manager.event_stream({}, after=0))


def test_a_stream_of_another_kind_casts_doubt_on_the_url() -> None:
    with client(answering(httpx.Response(200, json={"events": []}))) as manager:
        with pytest.raises(RequestFailed, match="does not understand"):
            list(manager.event_stream({}, after=0))
