from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from manager.events import EventKind
from manager.supervision.exits import report_exit, report_unseen_exit
from manager.supervision.managed_instance import ManagedInstance, StopPlan
from manager.supervision.process import Exit
from tests.unit.manager.fakes.clock import START, FakeClock, run
from tests.unit.manager.fakes.processes import FakeProcess
from tests.unit.manager.fakes.world import World
from tests.unit.manager.supervision.conftest import RECORD

PLAN = StopPlan("stop by alice", 1010.0, START + timedelta(seconds=10), 1015.0, START + timedelta(seconds=15))
CRASHED, KILLED, DONE = Exit(code=1), Exit(signal=9), Exit(code=0)


def ended(exit_: Exit, *, in_flight: int = 0, last_words: str | None = None, **facts: Any) -> tuple[str, bool]:
    """Why an instance is said to have ended, and whether that was expected."""
    clock = FakeClock()

    async def scenario() -> tuple[str, bool]:
        world = World(clock, last_words=last_words)
        process = FakeProcess(7)
        process.end(exit_.code, exit_.signal)
        world.registry.manage("echo")
        world.registry.expect("echo", "i-1")
        world.register("i-1", in_flight=in_flight)
        instance = ManagedInstance("echo", "i-1", 0, process, START, 1000.0, 1000.0, 0, **facts)
        last = report_exit(instance, world.tools)
        (event,) = world.of_kind(EventKind.INSTANCE_EXITED)
        assert (last.code, last.signal, last.at) == (exit_.code, exit_.signal, clock.now())
        assert event.message == f"echo (pid 7) {last.reason}"
        assert event.data["by_manager"] is ("failure" in facts)
        return last.reason, bool(event.data["expected"])

    return run(scenario(), clock)


@pytest.mark.parametrize(
    ("exit_", "facts", "reason", "expected"),
    [
        (DONE, {"stop": PLAN}, "exited with status 0: stop by alice", True),
        (
            KILLED,
            {"stop": PLAN, "in_flight": 2},
            "killed by signal 9 (SIGKILL) while it was being stopped with 2 tasks in flight: stop by alice",
            True,
        ),
        (KILLED, {"stop": PLAN, "failure": "it is silent"}, "it is silent; killed by signal 9 (SIGKILL)", False),
        (CRASHED, {"last_words": "ValueError: no"}, "exited with status 1: ValueError: no", False),
        (CRASHED, {"in_flight": 1}, "exited with status 1 with 1 task in flight", False),
        (DONE, {"last_words": "bye"}, "exited with status 0", False),
    ],
)
def test_the_reason_tells_what_was_asked_from_what_came_by_itself(
    exit_: Exit, facts: dict[str, Any], reason: str, expected: bool
) -> None:
    assert ended(exit_, **facts) == (reason, expected)


def test_an_exit_that_no_manager_saw_is_never_an_expected_one() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        world = World(clock)
        last = report_unseen_exit(RECORD, DONE, world.tools)
        (event,) = world.of_kind(EventKind.INSTANCE_EXITED)
        assert (event.instance_id, event.data["expected"], event.data["pid"]) == ("i-old", False, 4242)
        assert last.reason == "exited with status 0 while no manager was there to see it"

    run(scenario(), clock)
