from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from agent_service.contract import AdapterAction, AdapterStatus
from manager.adapter_client import AdapterClient, AdapterRefused, OtherToken
from manager.errors import AdapterDied, AdapterTimeout
from tests.unit.manager.fakes.adapters import report
from tests.unit.manager.fakes.clock import run

URL = "http://127.0.0.1:8100"


def client(answer: httpx.Response | Callable[[httpx.Request], httpx.Response], *tokens: str) -> AdapterClient:
    handler = answer if callable(answer) else lambda _request: answer
    return AdapterClient(httpx.AsyncClient(transport=httpx.MockTransport(handler), trust_env=False), tokens=tokens)


def failing(error: type[httpx.HTTPError], message: str) -> Callable[[httpx.Request], httpx.Response]:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error(message, request=request)  # type: ignore[call-arg]

    return fail


def test_an_action_is_posted_with_its_timeout_and_the_token_and_answers_the_new_status() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(202, json={"status": "stopping", "in_flight": 1, "added_later": True})

    got = run(client(answer, "secret").act(URL, AdapterAction.STOP, timeout_seconds=7))
    assert got == report(AdapterStatus.STOPPING, in_flight=1)
    (request,) = asked
    assert (request.method, str(request.url)) == ("POST", f"{URL}/action")
    assert json.loads(request.content) == {"action": "stop", "timeout_seconds": 7}
    assert request.headers["x-manager-token"] == "secret"


def test_what_is_not_given_is_not_sent() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"action": "pause"}
        assert "x-manager-token" not in request.headers
        return httpx.Response(202, json={"status": "paused"})

    assert run(client(answer).act(URL, AdapterAction.PAUSE)).status is AdapterStatus.PAUSED


@pytest.mark.parametrize("what", ["status", "info"])
def test_the_adapter_s_own_words_come_as_they_are(what: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("GET", f"{URL}/{what}")
        return httpx.Response(200, json={"whatever": ["it", "says"]})

    assert run(getattr(client(answer), what)(URL)) == {"whatever": ["it", "says"]}


def test_a_report_is_what_the_manager_understands_of_the_status() -> None:
    answer = httpx.Response(200, json={"status": "running", "in_flight": 3})
    assert run(client(answer).report(URL)) == report(in_flight=3)


def test_a_refusal_is_told_with_the_adapter_s_own_sentence() -> None:
    answer = httpx.Response(409, json={"detail": "The agent is stopping."})
    with pytest.raises(AdapterRefused, match=r"answered 409 to POST http://127.0.0.1:8100/action: The agent is stop"):
        run(client(answer).act(URL, AdapterAction.PAUSE))


@pytest.mark.parametrize("body", [b"<html>no", b"[]", b"{}", b"null", b""])
def test_a_refusal_without_a_sentence_is_a_refusal(body: bytes) -> None:
    with pytest.raises(AdapterRefused, match="answered 500"):
        run(client(httpx.Response(500, content=body)).act(URL, AdapterAction.PAUSE))


def test_an_adapter_that_hangs_up_while_it_is_connected_to_cannot_be_reached() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise AttributeError("'NoneType' object has no attribute 'getpeername'")

    with pytest.raises(AdapterDied, match="cannot be reached"):
        run(client(fail).info(URL))


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError])
def test_an_adapter_that_cannot_be_reached_is_named_with_the_cause(error: type[httpx.HTTPError]) -> None:
    with pytest.raises(AdapterDied, match=r"http://127.0.0.1:8100/info cannot be reached \(refused\)"):
        run(client(failing(error, "refused")).info(URL))
    with pytest.raises(AdapterDied, match=error.__name__):
        run(client(failing(error, "")).info(URL))


@pytest.mark.parametrize("error", [httpx.ConnectTimeout, httpx.ReadTimeout, httpx.PoolTimeout])
def test_silence_is_a_timeout(error: type[httpx.HTTPError]) -> None:
    with pytest.raises(AdapterTimeout, match="did not answer within 5 s"):
        run(client(failing(error, "")).status(URL))


@pytest.mark.parametrize("body", [b"<html>", b"\xff\xfe", b"[1]", b'"text"', b"null"])
def test_an_answer_that_is_no_json_object_is_the_adapter_s_fault(body: bytes) -> None:
    for ask in ("info", "status", "report"):
        with pytest.raises(AdapterDied, match="is not "):
            run(getattr(client(httpx.Response(200, content=body)), ask)(URL))


@pytest.mark.parametrize("answer", [{}, {"status": "dancing"}, {"status": "running", "in_flight": -1}])
def test_an_answer_that_breaks_the_contract_is_the_adapter_s_fault(answer: dict[str, Any]) -> None:
    with pytest.raises(AdapterDied, match="contract"):
        run(client(httpx.Response(202, json=answer)).act(URL, AdapterAction.PAUSE))


def test_an_address_that_cannot_be_asked_is_the_adapter_s_fault() -> None:
    with pytest.raises(AdapterDied):
        run(client(httpx.Response(200, json={})).info("http://\u2603:80"))


def test_an_adapter_from_before_the_rotation_is_asked_with_the_previous_token() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["x-manager-token"])
        return httpx.Response(202 if asked[-1] == "old" else 401, json={"status": "paused"})

    assert run(client(answer, "new", "old").act(URL, AdapterAction.PAUSE)).status is AdapterStatus.PAUSED
    assert asked == ["new", "old"]


def test_an_adapter_that_takes_the_token_is_not_asked_twice() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["x-manager-token"])
        return httpx.Response(202, json={"status": "paused"})

    run(client(answer, "new", "old").act(URL, AdapterAction.PAUSE))
    assert asked == ["new"]


def test_an_adapter_that_takes_neither_has_refused() -> None:
    with pytest.raises(AdapterRefused, match="401"):
        run(client(httpx.Response(401, json={"detail": "no"}), "new", "old").act(URL, AdapterAction.PAUSE))


def test_an_adapter_is_told_where_the_manager_is() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("PUT", f"{URL}/manager")
        assert json.loads(request.content) == {"url": "http://127.0.0.1:8000"}
        return httpx.Response(200 if request.headers.get("x-manager-token") == "t" else 401, json={})

    run(client(answer, "t").tell_location(URL, "http://127.0.0.1:8000"))


@pytest.mark.parametrize("tokens", [(), ("new",), ("new", "old")])
def test_an_adapter_that_takes_none_of_the_managers_tokens_has_another(tokens: tuple[str, ...]) -> None:
    with pytest.raises(OtherToken, match="401"):
        run(client(httpx.Response(401, json={"detail": "no"}), *tokens).tell_location(URL, "http://127.0.0.1:8000"))


def test_an_adapter_that_asks_for_no_token_has_another_unless_the_manager_has_none() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    with pytest.raises(OtherToken, match="without the manager's token"):
        run(client(answer, "t").tell_location(URL, "http://127.0.0.1:8000"))
    assert ["x-manager-token" in request.headers for request in asked] == [False], "nor is it shown the token"
    run(client(answer).tell_location(URL, "http://127.0.0.1:8000"))


def test_an_adapter_that_knows_no_such_order_tells_nothing_of_its_token() -> None:
    with pytest.raises(AdapterRefused, match="404") as refused:
        run(client(httpx.Response(404, json={}), "t").tell_location(URL, "http://127.0.0.1:8000"))
    assert not isinstance(refused.value, OtherToken)
