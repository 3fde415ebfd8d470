from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent_service.contract import AdapterStatus, Heartbeat, Unregistration
from manager.errors import StateConflict, UnknownInstance
from manager.events import Event, EventBus, EventKind
from manager.registry.instance import RegisteredInstance
from manager.registry.registry import Registry
from tests.unit.manager.fakes.adapters import registration, report
from tests.unit.manager.fakes.clock import FakeClock

TTL = 30.0


class Watched:
    """A registry, its clock, the events it published and the changes it told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.bus = EventBus(self.clock)
        self.events: list[Event] = []
        self.changes: list[str] = []
        self.bus.listen(self.events.append)
        self.registry = Registry(self.clock, self.bus, interval_seconds=5, ttl_seconds=TTL)
        self.registry.listen(self.changes.append)

    def beat(self, instance_id: str = "i-1", agent_id: str = "echo", **status: object) -> None:
        self.registry.heartbeat(Heartbeat(id=agent_id, instance_id=instance_id, **status))

    def instance(self, instance_id: str = "i-1") -> RegisteredInstance:
        found = self.registry.get(instance_id)
        assert found is not None
        return found

    @property
    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]

    def forget_the_past(self) -> None:
        self.events.clear()
        self.changes.clear()


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def registered(watched: Watched) -> Watched:
    watched.registry.register(registration())
    watched.forget_the_past()
    return watched


def test_a_registration_is_answered_with_the_rhythm_and_becomes_a_fact(watched: Watched) -> None:
    answer = watched.registry.register(registration(metadata={"team": "core"}))
    assert (answer.heartbeat_interval_seconds, answer.heartbeat_ttl_seconds) == (5, TTL)
    instance = watched.instance()
    assert (instance.agent_id, instance.service_url, instance.metadata) == (
        "echo",
        "http://127.0.0.1:8100",
        {"team": "core"},
    )
    assert instance.port == 8100
    assert instance.routable
    assert watched.kinds == [EventKind.INSTANCE_REGISTERED]
    assert watched.events[0].data == {"service_url": "http://127.0.0.1:8100"}
    assert watched.changes == ["echo"]


def test_the_address_is_kept_without_the_slash_at_its_end(watched: Watched) -> None:
    watched.registry.register(registration(service_url="http://127.0.0.1:8100/"))
    assert watched.instance().service_url == "http://127.0.0.1:8100"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://[::1", "http://host:abc", "http://[zz]:1", "http://user:word:80"]
)
def test_an_address_at_which_nobody_can_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        registration(service_url=url)


def test_several_instances_of_an_agent_are_told_oldest_first(watched: Watched) -> None:
    for instance_id in ("i-2", "i-1", "i-3"):
        watched.registry.register(registration(instance_id))
    watched.registry.register(registration("p-1", "planner"))
    assert [instance.instance_id for instance in watched.registry.of("echo")] == ["i-2", "i-1", "i-3"]
    assert watched.registry.of("nobody") == []


def test_registering_again_keeps_what_the_instance_was(registered: Watched) -> None:
    since = registered.instance().registered_at
    registered.beat(in_flight=2, status="paused")
    registered.instance().forwarding = 3
    registered.registry.unroute("i-1")
    registered.forget_the_past()
    registered.clock.advance(20)

    registered.registry.register(registration(port=8200, metadata={"new": True}))
    instance = registered.instance()
    assert instance.service_url == "http://127.0.0.1:8200"
    assert instance.metadata == {"new": True}
    assert instance.registered_at == since
    assert instance.last_heartbeat_at == registered.clock.now()
    assert instance.expires_at == registered.clock.monotonic() + TTL
    assert instance.report == report(AdapterStatus.PAUSED, in_flight=2)
    assert instance.draining
    assert instance.forwarding == 3
    assert registered.kinds == []
    assert registered.changes == ["echo"]


def test_requests_that_were_open_at_a_registration_again_are_still_counted_down(registered: Watched) -> None:
    taken = registered.instance()
    taken.forwarding += 1
    registered.registry.register(registration())
    taken.forwarding -= 1
    assert registered.instance().forwarding == 0


def test_registering_again_after_a_silence_is_heard_as_its_end(registered: Watched) -> None:
    registered.clock.advance(TTL)
    registered.registry.expire()
    registered.registry.register(registration())
    assert not registered.instance().expired
    assert registered.kinds == [EventKind.HEARTBEAT_MISSED, EventKind.HEARTBEAT_RESUMED]


def test_an_instance_id_belongs_to_one_agent(registered: Watched) -> None:
    with pytest.raises(StateConflict, match=r"registered as agent 'echo'.*instanceId of its own"):
        registered.registry.register(registration("i-1", "planner"))
    assert registered.registry.of("planner") == []


def test_a_heartbeat_prolongs_the_life_and_brings_the_status(registered: Watched) -> None:
    registered.clock.advance(20)
    registered.beat(status="paused", in_flight=1, tasks_total=7)
    instance = registered.instance()
    assert instance.report == report(AdapterStatus.PAUSED, in_flight=1, tasks_total=7)
    assert instance.last_heartbeat_at == registered.clock.now()
    assert instance.expires_at == registered.clock.monotonic() + TTL
    assert registered.changes == ["echo"]
    assert registered.kinds == []


def test_a_heartbeat_that_says_nothing_new_is_no_change(registered: Watched) -> None:
    registered.beat()
    assert registered.changes == []


@pytest.mark.parametrize(("instance_id", "agent_id"), [("i-9", "echo"), ("i-1", "planner")])
def test_a_heartbeat_of_an_unknown_instance_is_told_to_register(
    registered: Watched, instance_id: str, agent_id: str
) -> None:
    with pytest.raises(UnknownInstance, match="register again"):
        registered.beat(instance_id, agent_id)
    assert registered.changes == []


def test_an_instance_expires_at_its_time_to_live_and_is_said_once(registered: Watched) -> None:
    registered.clock.advance(TTL - 0.001)
    registered.registry.expire()
    assert not registered.instance().expired
    registered.clock.advance(0.001)
    registered.registry.expire()
    registered.registry.expire()
    assert registered.instance().expired
    assert not registered.instance().routable
    assert registered.kinds == [EventKind.HEARTBEAT_MISSED]
    assert "30 s" in registered.events[0].message
    assert registered.changes == ["echo"]


def test_an_expired_instance_comes_back_with_its_next_heartbeat(registered: Watched) -> None:
    registered.clock.advance(TTL)
    registered.registry.expire()
    registered.forget_the_past()
    registered.beat()
    registered.beat()
    assert registered.instance().routable
    assert registered.kinds == [EventKind.HEARTBEAT_RESUMED]
    assert registered.changes == ["echo"]


def test_unregistering_removes_the_instance_and_is_told(registered: Watched) -> None:
    registered.registry.unregister(Unregistration(id="echo", instance_id="i-1"))
    assert registered.registry.get("i-1") is None
    assert registered.registry.of("echo") == []
    assert registered.kinds == [EventKind.INSTANCE_UNREGISTERED]
    assert registered.changes == ["echo"]


@pytest.mark.parametrize(("instance_id", "agent_id"), [("i-9", "echo"), ("i-1", "planner")])
def test_unregistering_what_is_not_registered_changes_nothing(
    registered: Watched, instance_id: str, agent_id: str
) -> None:
    registered.registry.unregister(Unregistration(id=agent_id, instance_id=instance_id))
    assert registered.registry.get("i-1") is not None
    assert registered.events == []
    assert registered.changes == []


def test_forgetting_one_of_two_instances_leaves_the_other(registered: Watched) -> None:
    registered.registry.register(registration("i-2"))
    registered.registry.forget("i-1")
    registered.registry.forget("i-1")
    assert [instance.instance_id for instance in registered.registry.of("echo")] == ["i-2"]


def test_an_action_s_answer_counts_before_the_next_heartbeat(registered: Watched) -> None:
    registered.registry.note_status("i-1", report(AdapterStatus.PAUSED))
    registered.registry.note_status("i-1", report(AdapterStatus.PAUSED))
    registered.registry.note_status("gone", report(AdapterStatus.PAUSED))
    assert not registered.instance().routable
    assert registered.changes == ["echo"]


def test_an_unrouted_instance_stays_so_whatever_it_says(registered: Watched) -> None:
    registered.registry.unroute("i-1")
    registered.registry.unroute("i-1")
    registered.registry.unroute("gone")
    registered.beat(in_flight=1)
    assert not registered.instance().routable
    assert registered.changes == ["echo", "echo"]


@pytest.mark.parametrize("status", [AdapterStatus.PAUSED, AdapterStatus.STOPPING, AdapterStatus.STOPPED])
def test_only_a_running_instance_is_routable(registered: Watched, status: AdapterStatus) -> None:
    registered.beat(status=status)
    assert not registered.instance().routable


def test_tasks_in_flight_are_what_the_manager_has_open_and_what_others_gave_it(registered: Watched) -> None:
    registered.beat(in_flight=2)
    assert registered.instance().in_flight == 2
    registered.instance().forwarding = 3
    assert registered.instance().in_flight == 5


def test_a_task_that_the_manager_forwarded_is_counted_once_and_no_longer_than_it_lasts(registered: Watched) -> None:
    registered.instance().forwarding = 3
    registered.beat(in_flight=4)
    assert registered.instance().in_flight == 4
    registered.instance().forwarding = 1
    assert registered.instance().in_flight == 2


def test_of_a_managed_agent_only_an_expected_instance_may_register(watched: Watched) -> None:
    watched.registry.manage("echo")
    with pytest.raises(StateConflict, match=r"was not started by it; start it with `agent-manager start echo`"):
        watched.registry.register(registration("stranger"))
    watched.registry.expect("echo", "i-1")
    watched.registry.register(registration("i-1"))
    assert [instance.instance_id for instance in watched.registry.of("echo")] == ["i-1"]


def test_what_is_expected_of_one_agent_is_not_expected_of_another(watched: Watched) -> None:
    watched.registry.manage("echo")
    watched.registry.manage("planner")
    watched.registry.expect("echo", "i-1")
    with pytest.raises(StateConflict):
        watched.registry.register(registration("i-1", "planner"))


def test_an_expected_instance_may_register_again_until_it_is_forgotten(watched: Watched) -> None:
    watched.registry.manage("echo")
    watched.registry.expect("echo", "i-1")
    watched.registry.register(registration("i-1"))
    watched.registry.register(registration("i-1"))
    watched.registry.forget("i-1")
    with pytest.raises(StateConflict):
        watched.registry.register(registration("i-1"))


def test_managing_twice_keeps_what_is_expected(watched: Watched) -> None:
    watched.registry.manage("echo")
    watched.registry.expect("echo", "i-1")
    watched.registry.manage("echo")
    watched.registry.register(registration("i-1"))


def test_outsiders_are_those_that_nobody_here_manages(watched: Watched) -> None:
    watched.registry.manage("echo")
    watched.registry.expect("echo", "i-1")
    watched.registry.register(registration("i-1"))
    watched.registry.register(registration("x-1", "planner"))
    assert list(watched.registry.outsiders()) == ["planner"]
    assert watched.registry.is_managed("echo")
    assert not watched.registry.is_managed("planner")


def test_every_listener_hears_every_change(watched: Watched) -> None:
    others: list[str] = []
    watched.registry.listen(others.append)
    watched.registry.register(registration())
    watched.registry.forget("i-1")
    assert watched.changes == others == ["echo", "echo"]
