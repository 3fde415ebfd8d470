from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_service.contract import AdapterStatus, Heartbeat, Unregistration
from manager.errors import NotReady, StateConflict, UnknownAgent
from manager.events import EventBus
from manager.registry.registry import Registry
from manager.registry.routing import Admission, Route, RoutePolicy, Router
from tests.unit.manager.fakes.adapters import registration, report
from tests.unit.manager.fakes.clock import FakeClock, run

OPEN = Route(Admission.OPEN, "running", "echo is running; try again in a moment.", RoutePolicy(300, 10, 1024))
COMING_BACK = replace(OPEN, admission=Admission.COMING_BACK, state="backoff", detail="echo is backoff; try again.")
REFUSED = replace(OPEN, admission=Admission.REFUSED, state="paused", detail="echo is paused; resume it.")
DOWN = replace(OPEN, admission=Admission.DOWN, state="failed", detail="echo is failed; start it first.")


class Routed:
    """A router whose agent `echo` has `route`; `instances` are registered."""

    def __init__(self, route: Route | None = OPEN, *instances: str) -> None:
        self.clock = FakeClock()
        self.registry = Registry(self.clock, EventBus(self.clock), interval_seconds=5, ttl_seconds=30)
        self.router = Router(self.registry, self.clock)
        self.router.set_route("echo", route)
        for instance in instances:
            self.registry.register(registration(instance))

    def forwarding(self, **counts: int) -> None:
        for name, count in counts.items():
            instance = self.registry.get(name)
            assert instance is not None
            instance.forwarding = count

    async def acquired(self) -> str:
        return (await self.router.lease("echo", client="a")).instance.instance_id

    def acquiring(self) -> asyncio.Task[str]:
        return asyncio.create_task(self.acquired())


def test_the_instance_with_the_least_in_flight_is_taken() -> None:
    routed = Routed(OPEN, "a", "b", "c")
    routed.forwarding(a=2, b=1, c=3)
    assert run(routed.acquired(), routed.clock) == "b"


@pytest.mark.parametrize("route", [OPEN, REFUSED, COMING_BACK])
def test_a_visit_goes_to_that_very_instance_whether_it_takes_new_work_or_not(route: Route) -> None:
    routed = Routed(route, "a", "b")
    routed.registry.unroute("b")
    lease = routed.router.visit("echo", "b")
    assert (lease.instance.instance_id, lease.instance.forwarding, routed.router.open_requests) == ("b", 1, 1)
    lease.release()
    assert (lease.instance.forwarding, routed.router.open_requests) == (0, 0)


def test_a_visit_needs_an_instance_that_is_registered() -> None:
    routed = Routed(OPEN, "a")
    routed.router.set_route("other", OPEN)
    for agent_id, instance_id in (("echo", "b"), ("other", "a")):
        with pytest.raises(NotReady, match="not registered again"):
            routed.router.visit(agent_id, instance_id)
    with pytest.raises(UnknownAgent):
        routed.router.visit("nobody", "a")


def test_among_equals_the_oldest_is_taken() -> None:
    routed = Routed(OPEN, "b", "a")
    assert run(routed.acquired(), routed.clock) == "b"


def test_instances_that_take_no_requests_are_passed_over() -> None:
    routed = Routed(OPEN, "draining", "paused", "silent")
    routed.registry.unroute("draining")
    routed.registry.note_status("paused", report(AdapterStatus.PAUSED))
    routed.clock.advance(30)
    routed.registry.expire()
    routed.registry.register(registration("ready"))
    routed.forwarding(ready=9)
    assert run(routed.acquired(), routed.clock) == "ready"


@pytest.mark.parametrize(
    ("route", "error"), [(REFUSED, StateConflict), (DOWN, NotReady)], ids=["refused: 409", "down: 503"]
)
def test_who_is_turned_away_is_told_at_once_why(route: Route, error: type[NotReady | StateConflict]) -> None:
    async def scenario() -> None:
        before = routed.clock.monotonic()
        with pytest.raises(error) as turned_away:
            await routed.router.lease("echo", client="a")
        assert routed.clock.monotonic() - before < 0.01
        assert turned_away.value.detail == route.detail
        assert (turned_away.value.agent_id, turned_away.value.state) == ("echo", route.state)

    routed = Routed(route, "a")
    run(scenario(), routed.clock)


def test_an_unknown_id_is_told_where_ids_are_found() -> None:
    async def scenario() -> None:
        with pytest.raises(UnknownAgent, match="agent-manager ps"):
            await routed.router.lease("echo", client="a")
        with pytest.raises(UnknownAgent):
            routed.router.route("echo")

    routed = Routed(None)
    run(scenario(), routed.clock)


def test_removing_a_route_twice_is_harmless() -> None:
    routed = Routed(OPEN)
    routed.router.set_route("echo", None)
    routed.router.set_route("echo", None)
    with pytest.raises(UnknownAgent):
        routed.router.route("echo")


@pytest.mark.parametrize("route", [COMING_BACK, OPEN], ids=["coming back", "open, but no instance is ready"])
def test_a_request_gives_up_when_its_patience_ends(route: Route) -> None:
    async def scenario() -> None:
        before = routed.clock.monotonic()
        with pytest.raises(NotReady) as gave_up:
            await routed.router.lease("echo", client="a")
        assert routed.clock.monotonic() - before == pytest.approx(10, abs=0.01)
        assert gave_up.value.detail == route.detail
        assert gave_up.value.retry_after_seconds >= 1

    routed = Routed(route)
    run(scenario(), routed.clock)


def test_without_patience_a_request_does_not_wait() -> None:
    async def scenario() -> None:
        before = routed.clock.monotonic()
        with pytest.raises(NotReady):
            await routed.router.lease("echo", client="a")
        assert routed.clock.monotonic() - before < 0.01

    impatient = RoutePolicy(300, queue_while_restarting_seconds=0, max_body_bytes=1024)
    routed = Routed(replace(COMING_BACK, policy=impatient))
    run(scenario(), routed.clock)


def test_an_agent_that_is_coming_back_gets_nothing_before_its_state_says_so() -> None:
    """Its old instance is still registered, but it is on its way out."""

    async def scenario() -> None:
        waiting = routed.acquiring()
        await asyncio.sleep(5)
        assert not waiting.done()
        routed.router.set_route("echo", OPEN)
        assert await waiting == "old"

    routed = Routed(COMING_BACK, "old")
    run(scenario(), routed.clock)


def test_a_waiting_request_takes_the_first_instance_that_becomes_ready() -> None:
    async def scenario() -> None:
        waiting = routed.acquiring()
        await asyncio.sleep(1)
        routed.registry.register(registration("new"))
        before = routed.clock.monotonic()
        assert await waiting == "new"
        assert routed.clock.monotonic() - before < 0.01

    routed = Routed(OPEN)
    run(scenario(), routed.clock)


def test_a_waiting_request_is_woken_by_a_resumed_instance() -> None:
    async def scenario() -> None:
        routed.registry.note_status("a", report(AdapterStatus.PAUSED))
        waiting = routed.acquiring()
        await asyncio.sleep(1)
        routed.registry.heartbeat(Heartbeat(id="echo", instance_id="a", status=AdapterStatus.RUNNING))
        assert await waiting == "a"

    routed = Routed(OPEN, "a")
    run(scenario(), routed.clock)


@pytest.mark.parametrize(("route", "error"), [(REFUSED, StateConflict), (DOWN, NotReady), (None, UnknownAgent)])
def test_a_waiting_request_is_told_when_the_agent_will_not_come_back(
    route: Route | None, error: type[Exception]
) -> None:
    async def scenario() -> None:
        waiting = routed.acquiring()
        await asyncio.sleep(1)
        routed.router.set_route("echo", route)
        before = routed.clock.monotonic()
        with pytest.raises(error):
            await waiting
        assert routed.clock.monotonic() - before < 0.01

    routed = Routed(COMING_BACK)
    run(scenario(), routed.clock)


def test_changes_that_bring_nothing_do_not_prolong_the_wait() -> None:
    async def scenario() -> None:
        before = routed.clock.monotonic()
        waiting = routed.acquiring()
        for _ in range(8):
            await asyncio.sleep(1)
            routed.router.set_route("echo", COMING_BACK)
        with pytest.raises(NotReady):
            await waiting
        assert routed.clock.monotonic() - before == pytest.approx(10, abs=0.01)

    routed = Routed(COMING_BACK)
    run(scenario(), routed.clock)


def test_every_waiting_request_is_woken() -> None:
    async def scenario() -> None:
        waiting = [routed.acquiring() for _ in range(50)]
        await asyncio.sleep(1)
        routed.registry.register(registration("new"))
        assert await asyncio.gather(*waiting) == ["new"] * 50

    routed = Routed(OPEN)
    run(scenario(), routed.clock)


def test_a_cancelled_request_leaves_the_others_waiting() -> None:
    async def scenario() -> None:
        cancelled, other = routed.acquiring(), routed.acquiring()
        await asyncio.sleep(1)
        cancelled.cancel()
        await asyncio.wait({cancelled})
        assert cancelled.cancelled()
        routed.registry.register(registration("new"))
        assert await other == "new"

    routed = Routed(OPEN)
    run(scenario(), routed.clock)


def test_an_instance_that_unregistered_is_not_taken() -> None:
    async def scenario() -> None:
        routed.registry.unregister(Unregistration(id="echo", instance_id="a"))
        with pytest.raises(NotReady):
            await routed.router.lease("echo", client="a")

    routed = Routed(OPEN, "a")
    run(scenario(), routed.clock)


@pytest.mark.parametrize("turns", range(5))
def test_a_request_is_cancelled_whatever_changes_at_that_moment(turns: int) -> None:
    async def scenario() -> None:
        waiting = routed.acquiring()
        await asyncio.sleep(1)
        routed.router.set_route("echo", COMING_BACK)
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=1)
        assert waiting.cancelled()

    routed = Routed(COMING_BACK)
    run(scenario(), routed.clock)
