"""One attempt to deliver one notification over HTTP, and what came of it, in a sentence that gives no secret away."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from agent_service.references import UnresolvedReference, resolve
from manager.clock import Clock
from manager.notifications.signing import signed_headers
from manager.store.deliveries import Delivery
from manager.version import __version__
from manager.webhook_settings import WebhookSettings, checked_url, signing_key

_HEADERS = {"content-type": "application/json", "user-agent": f"agent-manager/{__version__}"}
# A proxy from the environment is for the network outside, never for this machine.
_DIRECT: dict[str, httpx.AsyncBaseTransport | None] = {
    "all://127.0.0.1": None,
    "all://localhost": None,
    "all://[::1]": None,
}


# Said of the moment, not of what was sent.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True)
class Attempt:
    """`error` is None where it was delivered; `status` is that of the answer, if one came."""

    duration_ms: float
    status: int | None = None
    error: str | None = None
    retry_after_seconds: float = 0.0

    @property
    def is_refused(self) -> bool:
        """Whether the receiver is there and does not take this one."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in _PASSING

    @property
    def is_final(self) -> bool:
        """Whether the receiver wants it never again."""
        return self.status == HTTPStatus.GONE


class Unsendable(Exception):
    """What the webhook refers to cannot be used; the message says why."""


class Sender:
    """References are looked up in `environ` and below `base` at each attempt: a secret is changed by changing its file.

    Answers are not read beyond their head, and redirects are not followed.
    """

    def __init__(self, clock: Clock, environ: Mapping[str, str], base: Path) -> None:
        self._clock = clock
        self._environ = environ
        self._base = base
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def send(self, webhook: WebhookSettings, delivery: Delivery) -> Attempt:
        """Post it once; never raises for what the receiver or the network does."""
        started = self._clock.monotonic()
        answer: httpx.Response | None = None
        try:
            client = await self._opened()
            # What takes long once is not part of the receiver's time.
            started = self._clock.monotonic()
            async with asyncio.timeout(webhook.timeout_seconds):
                answer = await self._post(client, webhook, delivery)
            error = _complaint(answer)
        except TimeoutError:
            error = f"It did not answer within {webhook.timeout_seconds:g} s."
        except Unsendable as unsendable:
            error = str(unsendable)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as broken:
            error = f"It could not be reached: {_reason(broken)}."
        return Attempt(
            round((self._clock.monotonic() - started) * 1000, 3),
            status=answer.status_code if answer is not None else None,
            error=error,
            retry_after_seconds=_retry_after(answer) if answer is not None else 0.0,
        )

    async def close(self) -> None:
        """Close the connections that were kept."""
        if self._client is not None:
            await self._client.aclose()

    async def _post(self, client: httpx.AsyncClient, webhook: WebhookSettings, delivery: Delivery) -> httpx.Response:
        url, key = await asyncio.to_thread(self._resolved, webhook)
        body = delivery.body.encode()
        headers = signed_headers(key, delivery.id, int(self._clock.now().timestamp()), body)
        async with client.stream("POST", url, content=body, headers=_HEADERS | headers) as answer:
            return answer

    async def _opened(self) -> httpx.AsyncClient:
        # Made when it is needed: the certificates of the world take a few megabytes.
        async with self._opening:
            if self._client is None:
                context = await asyncio.to_thread(httpx.create_ssl_context)
                self._client = httpx.AsyncClient(verify=context, timeout=None, mounts=_DIRECT)
        return self._client

    def _resolved(self, webhook: WebhookSettings) -> tuple[str, bytes]:
        """Its address and its key. Raises `Unsendable`."""
        place = "url"
        try:
            url = checked_url(self._value(webhook.url))
            place = "secret"
            return url, signing_key(self._value(webhook.secret))
        except UnresolvedReference as error:
            raise Unsendable(f"Its {place} is not there: {error}.") from None
        except ValueError as error:
            raise Unsendable(f"Its {place} cannot be used: {error}.") from None

    def _value(self, text: str) -> str:
        return resolve(text, self._environ, self._base, whose="the manager's")


def _complaint(answer: httpx.Response) -> str | None:
    """What is wrong with an answer, if anything is."""
    told = f"It answered {answer.status_code} {answer.reason_phrase}".rstrip()
    if answer.is_success:
        return None
    if answer.has_redirect_location:
        return f"{told}: redirects are not followed; write the address that it leads to."
    return f"{told}."


def _retry_after(answer: httpx.Response) -> float:
    """Seconds that the receiver asks to be left alone; dates are not understood."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def _reason(error: BaseException) -> str:
    """Why, in words that hold neither host nor path: a webhook's address may be a secret."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "its host name is not known"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate is not trusted (SSL_CERT_FILE names others that are)"
        if isinstance(cause, ssl.SSLError):
            return "it does not speak TLS as this machine does"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
    return type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from _causes(error.exceptions[0])
        error = error.__cause__ or error.__context__
