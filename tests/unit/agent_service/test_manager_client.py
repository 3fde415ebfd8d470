from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from agent_service.contract import AdapterAction, Registration
from agent_service.http.client.answer import BrokenExchange
from agent_service.http.client.kept import Reply
from agent_service.manager_address import ManagerAddress
from agent_service.manager_client import LONGEST_BACKOFF_SECONDS, ManagerClient
from tests.unit.agent_service.harness import Adapter

REGISTRATION = Registration(id="a", service_url="http://127.0.0.1:8100", instance_id="a-1", metadata={"team": "core"})
ACCEPTED = Reply(200, b'{"heartbeat_interval_seconds": 5, "heartbeat_ttl_seconds": 30}')
DONE = Reply(200, b"{}")

Answer = Reply | Exception


class FakeManager:
    """Answers each kind of request from a script, then for ever with the script's last answer."""

    def __init__(self, *, register: list[Answer] | None = None, heartbeat: list[Answer] | None = None) -> None:
        self._script: dict[str, list[Answer]] = {
            "register": register or [ACCEPTED],
            "heartbeat": heartbeat or [DONE],
            "unregister": [DONE],
        }
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.hosts: list[str] = []

    async def post(self, url: str, body: bytes) -> Reply:
        parts = urlsplit(url)
        action = parts.path.removeprefix("/api/agent-services/")
        self.requests.append((action, json.loads(body)))
        self.hosts.append(parts.netloc)
        script = self._script[action]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def count(self, action: str) -> int:
        return sum(each == action for each, _ in self.requests)


class Scene:
    """A client with a fake manager, a clock that stands and sleeps that are noted instead of slept."""

    def __init__(self, manager: FakeManager) -> None:
        self.manager = manager
        self.adapter = Adapter()
        self.slept: list[float] = []
        self.address = ManagerAddress("http://manager")
        self.client = ManagerClient(
            manager,  # type: ignore[arg-type]
            self.address,
            REGISTRATION,
            self.adapter.tasks.report,
            self.adapter.lifecycle.activity,
            sleep=self._sleep,
            jitter=lambda: 1.0,
            monotonic=self.adapter.clock.monotonic,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


def play(manager: FakeManager, scenario: Callable[[Scene], Awaitable[None]]) -> Scene:
    async def run() -> Scene:
        scene = Scene(manager)
        running = asyncio.create_task(scene.client.run())
        try:
            await scenario(scene)
        finally:
            running.cancel()
            await asyncio.wait({running})
        return scene

    return asyncio.run(run())


def test_registration_is_followed_at_once_by_a_heartbeat_that_carries_the_status() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 1)

    scene = play(FakeManager(), scenario)
    assert scene.manager.requests[0] == (
        "register",
        {"id": "a", "serviceUrl": "http://127.0.0.1:8100", "instanceId": "a-1", "metadata": {"team": "core"}},
    )
    action, body = scene.manager.requests[1]
    assert action == "heartbeat"
    assert (body["id"], body["instanceId"], body["status"], body["in_flight"]) == ("a", "a-1", "running", 0)


def test_a_manager_that_has_moved_gets_the_next_heartbeat() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 1)
        scene.address.move("http://elsewhere")
        scene.adapter.clock.seconds += 5
        scene.adapter.lifecycle.activity.announce()
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 2)

    assert play(FakeManager(), scenario).manager.hosts == ["manager", "manager", "elsewhere"]


def test_a_change_of_status_is_told_at_once_and_the_rest_waits_for_the_interval() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 1)
        await scene.settle()
        assert scene.manager.count("heartbeat") == 1
        scene.adapter.lifecycle.act(AdapterAction.PAUSE)
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 2)
        assert scene.manager.requests[-1][1]["status"] == "paused"
        scene.adapter.clock.seconds += 5
        scene.adapter.lifecycle.activity.announce()
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 3)

    play(FakeManager(), scenario)


def test_during_a_drain_the_end_of_a_task_is_told_but_not_more_often_than_the_debounce() -> None:
    async def scenario(scene: Scene) -> None:
        gates = [asyncio.Event() for _ in range(2)]
        jobs = [scene.adapter.tasks.submit(gate.wait) for gate in gates]
        await jobs[1].started.wait()
        scene.adapter.lifecycle.act(AdapterAction.STOP)
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") >= 1)
        await scene.settle()
        before = scene.manager.count("heartbeat")
        assert scene.manager.requests[-1][1]["in_flight"] == 2
        gates[0].set()
        await scene.settle()
        assert scene.manager.count("heartbeat") == before
        scene.adapter.clock.seconds += 0.25
        scene.adapter.lifecycle.activity.announce()
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == before + 1)
        assert scene.manager.requests[-1][1]["in_flight"] == 1
        gates[1].set()
        await jobs[1].answer

    play(FakeManager(), scenario)


def test_an_unreachable_manager_is_tried_again_with_growing_pauses_and_logged_once() -> None:
    manager = FakeManager(register=[*[ConnectionRefusedError("refused")] * 9, ACCEPTED])

    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 1)

    with capture_logs() as lines:
        scene = play(manager, scenario)
    assert scene.slept == [
        0.25,
        0.5,
        1,
        2,
        4,
        8,
        LONGEST_BACKOFF_SECONDS,
        LONGEST_BACKOFF_SECONDS,
        LONGEST_BACKOFF_SECONDS,
    ]
    assert [line["event"] for line in lines] == [
        "Trouble with the manager; the agent goes on serving",
        "The manager answers again",
        "Registered with the manager",
    ]
    assert "http://manager cannot be reached (refused)" in lines[0]["reason"]


def test_each_change_of_the_trouble_is_logged_with_the_managers_own_sentence() -> None:
    refused = Reply(401, b'{"detail": "Send the token."}')
    taken = Reply(409, b'{"detail": "The id is taken."}')
    manager = FakeManager(register=[refused, refused, taken, Reply(502, b"<html>"), ACCEPTED])

    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 1)

    with capture_logs() as lines:
        play(manager, scenario)
    assert [line["reason"] for line in lines if "reason" in line] == [
        "The manager refused to register (401): Send the token.",
        "The manager refused to register (409): The id is taken.",
        "The manager refused to register (502): <html>",
    ]


def test_an_answer_of_another_contract_is_trouble_too() -> None:
    manager = FakeManager(register=[Reply(200, b'{"ok": true}'), ACCEPTED])

    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 1)

    with capture_logs() as lines:
        play(manager, scenario)
    assert "not of this contract" in lines[0]["reason"]


def test_an_instance_that_the_manager_forgot_registers_again() -> None:
    manager = FakeManager(heartbeat=[Reply(404, b'{"detail": "unknown"}'), DONE])

    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 2)

    scene = play(manager, scenario)
    assert [action for action, _ in scene.manager.requests] == ["register", "heartbeat", "register", "heartbeat"]
    assert scene.slept == [0.25]


def test_heartbeats_that_fail_are_repeated_after_a_backoff() -> None:
    manager = FakeManager(heartbeat=[BrokenExchange("it closed the connection"), TimeoutError(), Reply(500, b""), DONE])

    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 4)

    scene = play(manager, scenario)
    assert scene.slept == [0.5, 1, 2]


def test_a_bug_does_not_end_the_client() -> None:
    manager = FakeManager(register=[RuntimeError("a bug"), ACCEPTED])

    async def scenario(scene: Scene) -> None:
        await scene.adapter.until(lambda: scene.manager.count("heartbeat") == 1)

    with capture_logs() as lines:
        scene = play(manager, scenario)
    assert lines[0]["event"].startswith("The manager client failed")
    assert scene.slept == [LONGEST_BACKOFF_SECONDS]


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_pauses_are_spread_over_half_of_themselves(jitter: float) -> None:
    async def scenario() -> None:
        scene = Scene(FakeManager())
        scene.client._jitter = lambda: jitter
        assert scene.client._backoff(2) == 0.5 + 0.5 * jitter

    asyncio.run(scenario())


def test_only_what_was_registered_is_unregistered() -> None:
    async def scenario() -> None:
        scene = Scene(FakeManager())
        await scene.client.unregister()
        assert scene.manager.requests == []
        await scene.client._register()
        await scene.client.unregister()
        assert scene.manager.requests[-1] == ("unregister", {"id": "a", "instanceId": "a-1"})

    asyncio.run(scenario())
