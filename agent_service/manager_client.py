"""The adapter's side of the registry: register, heartbeat, unregister. The agent serves whether this works or not."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import structlog
from pydantic import BaseModel, ValidationError

from agent_service.backoff import backoff
from agent_service.contract import (
    TOKEN_HEADER,
    AdapterStatus,
    Heartbeat,
    Registration,
    RegistrationAnswer,
    StatusReport,
    Unregistration,
)
from agent_service.errors import AdapterError
from agent_service.http.client.answer import BrokenExchange
from agent_service.http.client.connector import Connector
from agent_service.http.client.kept import KeptConnection, Reply
from agent_service.manager_address import ManagerAddress
from agent_service.notice import Notice

log = structlog.stdlib.get_logger(__name__)

BASE_PATH = "/api/agent-services"
REQUEST_TIMEOUT_SECONDS = 5.0
UNREGISTER_TIMEOUT_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 10.0
# Between heartbeats that only tell of a task's end during a drain.
DEBOUNCE_SECONDS = 0.25
SHORTEST_INTERVAL_SECONDS = 0.05


class ManagerTrouble(AdapterError):
    """The manager is unreachable or refused; tried again after a backoff."""


class UnknownInstance(ManagerTrouble):
    """The manager does not know this instance (any more)."""


class ManagerClient:
    """Keeps one instance registered. Trouble is logged once per change, not once per try."""

    def __init__(
        self,
        http: KeptConnection,
        address: ManagerAddress,
        registration: Registration,
        report: Callable[[], StatusReport],
        activity: Notice,
        registered: Callable[[RegistrationAnswer], None] = lambda _: None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._address = address
        self._registration = registration
        self._report = report
        self._activity = activity
        self._on_registered = registered
        self._sleep = sleep
        self._jitter = jitter
        self._monotonic = monotonic
        self._trouble: str | None = None
        self._sent: StatusReport | None = None
        self._sent_at = 0.0
        self._registered = False

    async def run(self) -> None:
        """Register and send heartbeats until cancelled."""
        while True:
            try:
                await self._beat(await self._register())
            except Exception:
                log.exception("The manager client failed; it starts again after a pause")
                await self._sleep(LONGEST_BACKOFF_SECONDS)

    async def unregister(self) -> None:
        """Tell the manager, if it was ever told of us, that this instance is gone; once, and without insisting."""
        if not self._registered:
            return
        who = Unregistration(id=self._registration.id, instance_id=self._registration.instance_id)
        try:
            await self._post("unregister", who, UNREGISTER_TIMEOUT_SECONDS)
        except UnknownInstance:
            return
        except ManagerTrouble as trouble:
            log.warning("The instance could not be unregistered", reason=str(trouble))

    async def _register(self) -> float:
        """Try until it works; the heartbeat interval in seconds."""
        attempt = 0
        while True:
            try:
                answer = RegistrationAnswer.model_validate_json(await self._post("register", self._registration))
            except ValidationError:
                self._note("The manager's answer to the registration is not of this contract; check its version.")
            except ManagerTrouble as trouble:
                self._note(str(trouble))
            else:
                break
            await self._sleep(self._backoff(attempt))
            attempt += 1
        self._registered = True
        self._on_registered(answer)
        self._recovered()
        log.info("Registered with the manager", heartbeat_interval_seconds=answer.heartbeat_interval_seconds)
        return max(SHORTEST_INTERVAL_SECONDS, answer.heartbeat_interval_seconds)

    async def _beat(self, interval: float) -> None:
        """Send heartbeats until the manager does not know us; the first at once, for it carries the status."""
        self._sent = None
        failures = 0
        while True:
            if failures:
                await self._sleep(min(interval, self._backoff(failures)))
            else:
                await self._until_due(interval)
            try:
                await self._send_heartbeat()
                failures = 0
            except UnknownInstance:
                log.info("The manager does not know this instance; registering again")
                await self._sleep(self._backoff(0))
                return
            except ManagerTrouble as trouble:
                self._note(str(trouble))
                failures += 1

    async def _until_due(self, interval: float) -> None:
        """Until the interval has passed or there is news."""
        while (wait := self._due_in(interval)) > 0:
            await self._activity.wait(wait)

    def _due_in(self, interval: float) -> float:
        """Seconds until the next heartbeat: none at a change of status, few at a change of tasks during a drain."""
        report = self._report()
        if self._sent is None or report.status is not self._sent.status:
            return 0.0
        if report.status is AdapterStatus.STOPPING and _work(report) != _work(self._sent):
            interval = min(interval, DEBOUNCE_SECONDS)
        return self._sent_at + interval - self._monotonic()

    async def _send_heartbeat(self) -> None:
        report = self._report()
        heartbeat = Heartbeat(
            id=self._registration.id, instance_id=self._registration.instance_id, **report.model_dump()
        )
        await self._post("heartbeat", heartbeat)
        self._sent, self._sent_at = report, self._monotonic()
        self._recovered()

    async def _post(self, action: str, body: BaseModel, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> bytes:
        content = body.model_dump_json(by_alias=True).encode()
        try:
            async with asyncio.timeout(timeout_seconds):
                reply = await self._http.post(f"{self._address.url}{BASE_PATH}/{action}", content)
        except (OSError, BrokenExchange) as error:
            raise ManagerTrouble(
                f"The manager at {self._address.url} cannot be reached ({str(error) or type(error).__name__}); "
                "it is tried again."
            ) from error
        if reply.status == HTTPStatus.NOT_FOUND and action != "register":
            raise UnknownInstance("The manager does not know this instance.")
        if not reply.is_success:
            raise ManagerTrouble(f"The manager refused to {action} ({reply.status}): {_detail(reply)}")
        return reply.body

    def _backoff(self, attempt: int) -> float:
        return backoff(attempt, first=FIRST_BACKOFF_SECONDS, longest=LONGEST_BACKOFF_SECONDS, jitter=self._jitter())

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("Trouble with the manager; the agent goes on serving", reason=trouble)

    def _recovered(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.info("The manager answers again")


@asynccontextmanager
async def kept_registered(
    address: ManagerAddress,
    token: str | None,
    registration: Registration,
    report: Callable[[], StatusReport],
    activity: Notice,
    registered: Callable[[RegistrationAnswer], None] = lambda _: None,
) -> AsyncIterator[None]:
    """While inside, the instance is registered and its heart beats; on leaving it is unregistered.

    `address` has one. `registered` is told what a manager answers to each registration.
    """
    assert address.url is not None
    headers = {"Content-Type": "application/json", **({TOKEN_HEADER: token} if token else {})}
    http = KeptConnection(Connector().connect, headers)
    client = ManagerClient(http, address, registration, report, activity, registered)
    beating = asyncio.create_task(client.run(), name="manager client")
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait({beating})
        await client.unregister()
        http.close()


def _work(report: StatusReport) -> tuple[int, int]:
    return report.in_flight, report.queued


def _detail(reply: Reply) -> str:
    """The problem document's sentence, or the start of whatever came instead."""
    try:
        return str(json.loads(reply.body)["detail"])
    except (ValueError, KeyError, TypeError):
        return reply.body[:200].decode(errors="replace")
