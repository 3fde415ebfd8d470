from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager.errors import NotReady, Overloaded, StateConflict
from manager.events import Event, EventBus, EventKind
from manager.registry.circuit import FAILURES_TO_OPEN, CircuitState
from manager.registry.gate import Lease
from manager.registry.registry import Registry
from manager.registry.routing import Admission, Route, RoutePolicy, Router
from tests.unit.manager.fakes.adapters import registration
from tests.unit.manager.fakes.clock import FakeClock, run

POLICY = RoutePolicy(300, 10, 1024, max_concurrency=2, max_queue=3)
OPEN = Route(Admission.OPEN, "running", "echo is running.", POLICY)
COMING_BACK = replace(OPEN, admission=Admission.COMING_BACK, state="backoff")
PAUSED = replace(OPEN, admission=Admission.REFUSED, state="paused", detail="echo is paused; resume it.")


class Gated:
    """The agent `echo` with two slots in each of its instances and three places in its queue."""

    def __init__(self, *instances: str, route: Route = OPEN, max_open_requests: int = 1000) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        bus = EventBus(self.clock)
        bus.listen(self.events.append)
        self.registry = Registry(self.clock, bus, interval_seconds=5, ttl_seconds=30)
        self.router = Router(self.registry, self.clock, max_open_requests=max_open_requests)
        self.router.set_route("echo", route)
        for instance in instances:
            self.registry.register(registration(instance))

    async def lease(self, client: str = "a") -> Lease:
        return await self.router.lease("echo", client=client)

    async def full(self) -> list[Lease]:
        return [await self.lease() for _ in range(2 * len(self.registry.of("echo")))]

    async def waiting(self, *clients: str) -> list[asyncio.Task[Lease]]:
        tasks = [asyncio.create_task(self.lease(client)) for client in clients]
        await asyncio.sleep(0)
        return tasks

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        run(scenario, self.clock)


def test_a_free_slot_is_taken_without_waiting() -> None:
    gated = Gated("x")
    taking = gated.lease()
    with pytest.raises(StopIteration) as taken:
        taking.send(None)
    assert taken.value.value.queued_seconds == 0


def test_slots_are_spread_over_the_ready_instances() -> None:
    async def scenario() -> None:
        taken = [lease.instance.instance_id for lease in await gated.full()]
        assert sorted(taken) == ["x", "x", "y", "y", "z", "z"] and taken[:3] == ["x", "y", "z"]

    gated = Gated("x", "y", "z")
    gated.run(scenario())


def test_beyond_slots_and_queue_it_is_429_with_a_measured_retry_after() -> None:
    async def scenario() -> None:
        slow = await gated.full()
        await asyncio.sleep(5.9)
        for lease in slow:
            lease.release()
        await gated.full()
        queued = await gated.waiting("a", "a", "a")
        with pytest.raises(Overloaded) as refused:
            await gated.lease("b")
        # Three wait and this would be the fourth, two slots, almost six seconds each.
        assert refused.value.retry_after_seconds == 12
        assert "maxQueue: 3" in refused.value.detail
        assert gated.router.waiting("echo") == 3
        for task in queued:
            task.cancel()

    gated = Gated("x")
    gated.run(scenario())


def test_a_slot_that_is_given_back_goes_to_who_waits_with_the_time_it_took() -> None:
    async def scenario() -> None:
        held = await gated.full()
        (waiting,) = await gated.waiting("a")
        await asyncio.sleep(3)
        held[0].release()
        held[0].release()
        lease = await waiting
        assert lease.queued_seconds == pytest.approx(3, abs=0.01)
        assert lease.instance.forwarding == 2

    gated = Gated("x")
    gated.run(scenario())


def test_clients_take_turns() -> None:
    async def scenario() -> None:
        held = await gated.full()
        tasks = await gated.waiting("greedy", "greedy", "modest")
        held[0].release()
        held[1].release()
        await asyncio.sleep(0.1)
        assert [task.done() for task in tasks] == [True, False, True]
        tasks[1].cancel()

    gated = Gated("x")
    gated.run(scenario())


def test_a_waiting_client_that_leaves_frees_its_place() -> None:
    async def scenario() -> None:
        held = await gated.full()
        first, second, third = await gated.waiting("a", "a", "a")
        first.cancel()
        await asyncio.sleep(0)
        assert gated.router.waiting("echo") == 2
        held[0].release()
        assert (await second).instance.instance_id == "x"
        third.cancel()

    gated = Gated("x")
    gated.run(scenario())


def test_a_slot_is_not_lost_when_its_taker_leaves_in_the_same_moment() -> None:
    async def scenario() -> None:
        held = await gated.full()
        tasks = await gated.waiting("a", "a")
        held[0].release()
        tasks[0].cancel()
        assert (await tasks[1]).instance.forwarding == 2
        for lease in (held[1], tasks[1].result()):
            lease.release()
        assert held[0].instance.forwarding == 0

    gated = Gated("x")
    gated.run(scenario())


def test_a_pause_turns_the_queue_away_at_once() -> None:
    async def scenario() -> None:
        await gated.full()
        tasks = await gated.waiting("a", "b")
        gated.router.set_route("echo", PAUSED)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StateConflict, StateConflict]
        assert gated.router.waiting("echo") == 0

    gated = Gated("x")
    gated.run(scenario())


def test_during_a_restart_the_queue_waits_for_the_successor() -> None:
    async def scenario() -> None:
        await gated.full()
        tasks = await gated.waiting("a", "a")
        gated.router.set_route("echo", COMING_BACK)
        await asyncio.sleep(5)
        gated.registry.forget("x")
        gated.registry.register(registration("y"))
        gated.router.set_route("echo", OPEN)
        assert [(await task).instance.instance_id for task in tasks] == ["y", "y"]

    gated = Gated("x")
    gated.run(scenario())


def test_who_waited_for_a_slot_waits_for_a_restart_no_longer_than_anybody() -> None:
    async def scenario() -> None:
        await gated.full()
        (task,) = await gated.waiting("a")
        await asyncio.sleep(60)
        gated.router.set_route("echo", COMING_BACK)
        before = gated.clock.monotonic()
        with pytest.raises(NotReady):
            await task
        assert gated.clock.monotonic() - before == pytest.approx(10, abs=0.01)

    gated = Gated("x")
    gated.run(scenario())


def test_while_the_agent_is_away_as_many_may_wait_as_it_would_take() -> None:
    async def scenario() -> None:
        tasks = await gated.waiting(*"abcde")
        with pytest.raises(Overloaded):
            await gated.lease("f")
        for task in tasks:
            task.cancel()

    gated = Gated(route=COMING_BACK)
    gated.run(scenario())


def test_a_scale_down_under_load_gives_the_leaving_instance_nothing_new() -> None:
    async def scenario() -> None:
        held = await gated.full()
        tasks = await gated.waiting("a", "a")
        gated.registry.unroute("y")
        for lease in held:
            if lease.instance.instance_id == "y":
                lease.release()
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)
        for lease in held:
            lease.release()
        assert {(await task).instance.instance_id for task in tasks} == {"x"}

    gated = Gated("x", "y")
    gated.run(scenario())


def test_over_the_managers_own_limit_it_is_503() -> None:
    async def scenario() -> None:
        held = await gated.full()
        (waiting,) = await gated.waiting("a")
        with pytest.raises(NotReady, match="maxOpenRequests"):
            await gated.lease()
        waiting.cancel()
        await asyncio.sleep(0)
        held[0].release()
        await gated.lease()

    gated = Gated("x", max_open_requests=3)
    gated.run(scenario())


def fail(gated: Gated, lease: Lease) -> None:
    lease.no_answer()
    lease.release()


async def open_circuit(gated: Gated) -> None:
    for _ in range(FAILURES_TO_OPEN):
        fail(gated, await gated.lease())


def test_an_instance_that_never_answers_gets_nothing_and_everybody_is_told() -> None:
    async def scenario() -> None:
        await open_circuit(gated)
        with pytest.raises(NotReady, match="circuit") as refused:
            await gated.lease()
        assert refused.value.retry_after_seconds == 1
        await asyncio.sleep(1.01)
        probe = await gated.lease()
        with pytest.raises(NotReady, match="circuit"):
            await gated.lease()
        probe.answered()
        await gated.lease()
        circuit = [event.kind for event in gated.events if event.kind.value.startswith("circuit")]
        assert circuit == [EventKind.CIRCUIT_OPENED, EventKind.CIRCUIT_CLOSED]

    gated = Gated("x")
    gated.run(scenario())


def test_the_queue_is_turned_away_when_the_last_circuit_opens() -> None:
    async def scenario() -> None:
        held = await gated.full()
        (waiting,) = await gated.waiting("a")
        for _ in range(FAILURES_TO_OPEN):
            held[0].no_answer()
        with pytest.raises(NotReady, match="circuit"):
            await waiting

    gated = Gated("x")
    gated.run(scenario())


def test_another_instance_serves_while_one_does_not_answer() -> None:
    async def scenario() -> None:
        instance = gated.registry.get("x")
        assert instance is not None
        for _ in range(FAILURES_TO_OPEN):
            instance.circuit.failed(gated.clock.monotonic(), is_probe=False)
        assert instance.circuit.state is CircuitState.OPEN
        assert {(await gated.lease()).instance.instance_id for _ in range(2)} == {"y"}

    gated = Gated("x", "y")
    gated.run(scenario())


class Crowd:
    """Requests that come, go and are done, while the agent changes."""

    def __init__(self, gated: Gated) -> None:
        self.gated = gated
        self.tasks: list[asyncio.Task[Lease]] = []

    def ask(self, number: int) -> None:
        self.tasks.append(asyncio.create_task(self.gated.lease(f"client {number % 3}")))

    def release(self, number: int) -> None:
        leases = self.leases()
        if leases:
            leases[number % len(leases)].release()

    def leave(self, number: int) -> None:
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    def drain(self, number: int) -> None:
        self.gated.registry.unroute(f"i{number // 2}")

    def register(self, number: int) -> None:
        self.gated.registry.register(registration(f"i{number}"))

    def pause(self, _number: int) -> None:
        self.gated.router.set_route("echo", PAUSED)

    def open(self, _number: int) -> None:
        self.gated.router.set_route("echo", OPEN)

    def away(self, _number: int) -> None:
        self.gated.router.set_route("echo", COMING_BACK)

    def leases(self) -> list[Lease]:
        done = [task for task in self.tasks if task.done() and not task.cancelled()]
        return [task.result() for task in done if task.exception() is None]

    async def go_home(self) -> None:
        self.pause(0)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for lease in self.leases():
            lease.release()


_STEPS = ["ask", "release", "leave", "drain", "register", "pause", "open", "away"]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(_STEPS), max_size=40))
def test_no_slot_and_no_request_is_ever_lost(steps: list[str]) -> None:
    async def scenario() -> None:
        crowd = Crowd(gated)
        for number, step in enumerate(steps):
            getattr(crowd, step)(number)
            if number % 3:
                await asyncio.sleep(0)
            assert all(0 <= instance.forwarding <= 2 for instance in gated.registry.of("echo"))
        await crowd.go_home()
        assert all(instance.forwarding == 0 for instance in gated.registry.of("echo"))
        assert gated.router.waiting("echo") == 0
        # Nothing of it is counted any more: the limit over all agents is free again.
        assert gated.router.open_requests == 0

    gated = Gated("i0")
    gated.run(scenario())
