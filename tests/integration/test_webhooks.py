"""Notifications to a receiver that fails, hangs, redirects and comes back, over a manager that is killed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manager.cli.main import build_app
from tests.fixtures.http_server import HttpServer
from tests.integration.manager_process import DEADLINE_SECONDS, ManagerProcess, running_manager, until, write_config

pytestmark = [pytest.mark.full, pytest.mark.timeout(180)]

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATH = "/hooks/t0p-s3cret"
# Its start fails at once and for good: it needs no process to become `failed`.
DOOMED = {"id": "doomed", "command": ["/no/such/program"], "autostart": False}


@dataclass(frozen=True)
class Received:
    """One POST, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verify(self) -> None:
        """As a receiver does it that knows the specification and not this project."""
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert self.headers["webhook-signature"] == f"v1,{expected}"
        assert abs(int(self.headers["webhook-timestamp"]) - time.time()) < 300


class Receiver:
    """Answers each POST with the next of `answers`; the last one stays.

    Each is a status, `hang`, `late` (204 on release) or `busy` (503, and to be left alone for 10 s).
    """

    def __init__(self) -> None:
        self.answers: list[int | str] = [204]
        self.received: queue.Queue[Received] = queue.Queue()
        self.release = threading.Event()
        self._server = HttpServer(self._handler())
        self.url = f"{self._server.url}{PATH}"

    def next(self) -> Received:
        """The next POST, once it comes."""
        return self.received.get(timeout=DEADLINE_SECONDS)

    def close(self) -> None:
        self.release.set()
        self._server.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                receiver.received.put(Received(self.path, headers, body))
                if answer == "hang":
                    receiver.release.wait(DEADLINE_SECONDS)
                    self.close_connection = True
                    return
                if answer == "late":
                    receiver.release.wait(DEADLINE_SECONDS)
                self.send_response({"late": 204, "busy": 503}.get(str(answer)) or int(answer))
                if answer == "busy":
                    self.send_header("retry-after", "10")
                if answer == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        return Handler


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


def config(directory: Path, receiver: Receiver, **webhook: Any) -> Path:
    (directory / "url").write_text(receiver.url)
    hook = {"name": "oncall", "url": "file:url", "secret": "env:ONCALL_SECRET", "timeoutSeconds": 30, **webhook}
    return write_config(directory, [DOOMED], webhooks=[hook])


@contextmanager
def managed(path: Path) -> Iterator[ManagerProcess]:
    with running_manager(path, environment={"ONCALL_SECRET": SECRET}) as manager:
        yield manager


def fail(manager: ManagerProcess) -> None:
    manager.act("doomed", "start", reason="to see it fail")
    manager.wait_for("doomed", "failed")


def deliveries(manager: ManagerProcess) -> list[dict[str, Any]]:
    """Newest first."""
    found: list[dict[str, Any]] = manager.http.get("/api/webhooks/oncall/deliveries").json()["deliveries"]
    return found


def delivery(manager: ManagerProcess, state: str, delivery_id: str) -> dict[str, Any]:
    """The notification, once it is in that state."""

    def found() -> dict[str, Any] | None:
        listed = deliveries(manager)
        return next((each for each in listed if (each["id"], each["state"]) == (delivery_id, state)), None)

    return until(found, f"the notification is {state}", seconds=120)


def test_a_notification_arrives_in_the_end_signed_and_under_one_id(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, "hang", 302, 204]
    with managed(config(tmp_path, receiver, timeoutSeconds=2)) as manager:
        fail(manager)
        attempts = [receiver.next()]
        done = delivery(manager, "delivered", attempts[0].id)
        # On a busy machine an answer may come too late, and the attempt is repeated: there are four at least.
        while not receiver.received.empty():
            attempts.append(receiver.next())
        for attempt in attempts:
            attempt.verify()
        assert {(attempt.id, attempt.body, attempt.path) for attempt in attempts} == {
            (done["id"], attempts[0].body, PATH)
        }
        message = attempts[0].message
        assert (message["type"], message["data"]["data"]["state"]) == ("agent.failed", "failed")
        told = [event for event in manager.events("doomed") if event["id"] == message["data"]["id"]]
        assert told == [message["data"]]
        assert len(attempts) >= 4
        assert done["attempts"] >= len(attempts)
        assert (done["status"], done["error"]) == (204, None)
        (view,) = manager.http.get("/api/webhooks").json()["webhooks"]
        assert (view["pending"], view["consecutive_failures"]) == (0, 0)
        metrics = manager.http.get("/metrics").text
        assert f'manager_webhook_attempts_total{{outcome="failed",webhook="oncall"}} {done["attempts"] - 1}' in metrics
        shown = "".join(manager.http.get(path).text for path in ("/api/webhooks", "/api/config", "/api/events"))
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "url")
    for secret in (SECRET, SECRET.removeprefix("whsec_"), PATH):
        assert secret not in shown
        assert secret.encode() not in kept


@pytest.mark.parametrize("trouble", [503, "hang"])
def test_a_manager_that_is_killed_before_the_delivery_loses_nothing(
    trouble: int | str, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers = [trouble]
    path = config(tmp_path, receiver)
    with managed(path) as manager:
        fail(manager)
        first = receiver.next()
        manager.process.send_signal(signal.SIGKILL)
        manager.wait()
    while not receiver.received.empty():
        assert receiver.received.get().id == first.id
    receiver.answers = [204]
    receiver.release.set()
    with managed(path) as manager:
        # The agent fails once more under this manager, which is told as well.
        again = next(each for each in iter(receiver.next, None) if each.id == first.id)
        again.verify()
        assert again.body == first.body
        delivery(manager, "delivered", first.id)


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_manager_goes_on_in_the_same_order(
    tmp_path: Path, receiver: Receiver, ended_by: signal.Signals
) -> None:
    receiver.answers = ["busy"]
    path = config(tmp_path, receiver)
    with managed(path) as manager:
        fail(manager)
        first = receiver.next().id
        until(lambda: deliveries(manager)[0]["attempts"] > 0, "the first attempt is written down")
        manager.act("doomed", "start", reason="to see it fail again")
        until(lambda: len(deliveries(manager)) == 2, "the second notification waits")
        manager.process.send_signal(ended_by)
        manager.wait()
    while not receiver.received.empty():
        assert receiver.received.get().id == first
    receiver.answers = [204]
    with managed(path) as manager:
        # The agent fails once more under this manager, which is told as well.
        until(lambda: [each["state"] for each in deliveries(manager)] == ["delivered"] * 3, "all have arrived")
        told = [receiver.next() for _ in range(3)]
        assert receiver.received.empty()
        events = [each.message["data"]["id"] for each in told]
        assert (told[0].id, events) == (first, sorted(events))


def test_what_is_taken_while_the_manager_stops_comes_once(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = ["late", 204]
    path = config(tmp_path, receiver)
    with managed(path) as manager:
        fail(manager)
        first = receiver.next().id
        manager.process.send_signal(signal.SIGTERM)
        until(lambda: (tmp_path / "logs" / "manager.log").read_text().count("The manager drains"), "it is about to end")
        receiver.release.set()
        manager.wait()
    with managed(path) as manager:
        delivery(manager, "delivered", first)
        assert receiver.next().id != first


def test_a_reload_takes_webhooks_over_and_a_test_says_whether_they_are_reached(
    tmp_path: Path, receiver: Receiver
) -> None:
    path = write_config(tmp_path, [DOOMED])
    with managed(path) as manager:
        assert manager.http.get("/api/webhooks").json() == {"webhooks": []}
        config(tmp_path, receiver)
        assert manager.http.post("/api/config/reload").status_code == 202
        well = command(manager, "webhooks", "test", "oncall")
        assert (well.exit_code, well.stdout.split(":")[0]) == (0, f"oncall took the test {receiver.next().id}")
        receiver.answers = [401]
        ill = command(manager, "webhooks", "test", "oncall")
        assert (ill.exit_code, ill.stderr) == (
            1,
            f"oncall did not take the test {receiver.next().id}: It answered 401 Unauthorized.\n",
        )
        unknown = command(manager, "webhooks", "test", "nobody")
        assert (unknown.exit_code, "known: oncall" in unknown.stderr) == (1, True)
        listed = command(manager, "webhooks", "list").stdout
        assert "file:url" in listed
        assert "webhook.test, given up: It answered 401 Unauthorized." in listed


def command(manager: ManagerProcess, *arguments: str) -> Any:
    return CliRunner().invoke(build_app(), ["--url", manager.url, *arguments])
