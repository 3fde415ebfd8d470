from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from manager.notifications.message import test_notification as make_notification
from manager.notifications.sender import Attempt, Sender
from manager.notifications.signing import signed_headers
from manager.webhook_settings import WebhookSettings
from tests.unit.manager.fakes.clock import START, FakeClock
from tests.unit.manager.notifications.receiver import webhook

SECRET = "a secret of more than 24 characters"
DELIVERY = make_notification("oncall", START)

Receiver = Callable[[httpx.Request], httpx.Response]


def attempt(receiver: Receiver, base: Path, settings: WebhookSettings | None = None, **environ: str) -> Attempt:
    async def main() -> Attempt:
        sender = Sender(FakeClock(), {"SECRET": SECRET, **environ}, base)
        sender._client = httpx.AsyncClient(transport=httpx.MockTransport(receiver))
        try:
            return await sender.send(settings or webhook(), DELIVERY)
        finally:
            await sender.close()

    return asyncio.run(main())


def test_it_posts_the_signed_body(tmp_path: Path) -> None:
    requests = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(204)

    assert attempt(receive, tmp_path) == Attempt(0.0, 204)
    (request,) = requests
    assert (request.method, str(request.url)) == ("POST", "https://hooks.example.com/x")
    assert request.content == DELIVERY.body.encode()
    timestamp = int(request.headers["webhook-timestamp"])
    assert timestamp == int(START.timestamp())
    for name, value in signed_headers(SECRET.encode(), DELIVERY.id, timestamp, request.content).items():
        assert request.headers[name] == value
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (500, {}, Attempt(0.0, 500, "It answered 500 Internal Server Error.")),
        (404, {}, Attempt(0.0, 404, "It answered 404 Not Found.")),
        (429, {"retry-after": "17"}, Attempt(0.0, 429, "It answered 429 Too Many Requests.", 17.0)),
        (
            503,
            {"retry-after": "Fri, 2 Jan 2026 03:04:05 GMT"},
            Attempt(0.0, 503, "It answered 503 Service Unavailable."),
        ),
        (410, {}, Attempt(0.0, 410, "It answered 410 Gone.")),
        (
            302,
            {"location": "http://169.254.169.254/"},
            Attempt(0.0, 302, "It answered 302 Found: redirects are not followed; write the address that it leads to."),
        ),
    ],
)
def test_any_other_answer_is_a_failure(status: int, headers: dict[str, str], expected: Attempt, tmp_path: Path) -> None:
    asked = []

    def receive(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(status, headers=headers)

    assert attempt(receive, tmp_path) == expected
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "to secret.example.com"), "connection refused"),
        (ssl.SSLCertVerificationError(1, "not valid for 'secret.example.com'"), "its certificate is not trusted"),
        (ExceptionGroup("all attempts to secret.example.com", [OSError(errno.EHOSTUNREACH, "x")]), "no route to host"),
        (ValueError("secret.example.com"), "ConnectError"),
    ],
)
def test_a_receiver_that_cannot_be_reached_is_told_without_its_address(
    cause: Exception, reason: str, tmp_path: Path
) -> None:
    def receive(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("secret.example.com") from cause

    found = attempt(receive, tmp_path)
    assert found.status is None
    assert found.error is not None
    assert reason in found.error
    assert "secret.example.com" not in found.error


def test_references_are_looked_up_at_each_attempt(tmp_path: Path) -> None:
    def receive(request: httpx.Request) -> httpx.Response:
        assert request.url == "https://from.env/hook"
        return httpx.Response(200)

    (tmp_path / "secret").write_text("another secret of more than 24 characters\n")
    settings = webhook(url="env:URL", secret="file:secret")
    assert attempt(receive, tmp_path, settings, URL="https://from.env/hook").error is None
    (tmp_path / "secret").unlink()
    gone = attempt(receive, tmp_path, settings, URL="https://from.env/hook")
    assert gone.error is not None
    assert gone.error.startswith("Its secret is not there: 'file:secret', which is no file; create ")


@pytest.mark.parametrize("url", ["ftp://host", "https://user:pass@host/", "nonsense", "https://host/ü", "http://a b"])
def test_a_reference_to_what_is_no_address_is_told_without_its_value(url: str, tmp_path: Path) -> None:
    found = attempt(lambda _: httpx.Response(200), tmp_path, webhook(url="env:URL"), URL=url)
    assert found.error is not None
    assert found.error.startswith("Its url cannot be used:")
    assert url not in found.error


def test_certificates_that_cannot_be_read_are_a_failure_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(httpx, "create_ssl_context", missing)
    sender = Sender(FakeClock(), {"SECRET": SECRET}, tmp_path)
    assert asyncio.run(sender.send(webhook(), DELIVERY)).error == "It could not be reached: no such file or directory."


def test_a_receiver_that_hangs_is_given_its_time_and_no_more(tmp_path: Path) -> None:
    async def main() -> Attempt:
        async def hang(request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        sender = Sender(FakeClock(), {"SECRET": SECRET}, tmp_path)
        sender._client = httpx.AsyncClient(transport=httpx.MockTransport(hang))
        return await sender.send(webhook(timeoutSeconds=0.1), DELIVERY)

    assert asyncio.run(main()).error == "It did not answer within 0.1 s."


@pytest.mark.parametrize(
    ("status", "is_refused"),
    [(None, False), (204, False), (400, True), (401, True), (408, False), (429, False), (500, False)],
)
def test_a_refusal_is_of_what_was_sent_and_not_of_the_moment(status: int | None, is_refused: bool) -> None:
    assert Attempt(0.0, status, None if status == 204 else "It failed.").is_refused is is_refused
