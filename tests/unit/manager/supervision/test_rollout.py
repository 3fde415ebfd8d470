from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.supervision.managed_instance import ManagedInstance, StopPlan
from manager.supervision.process import Process
from manager.supervision.rollout import Steps, next_steps

NOW = datetime(2026, 1, 2, tzinfo=UTC)
GENERATION = 1
_NUMBERS = itertools.count(1)


def instance(
    *, old: bool = False, ready: bool = False, stopping: bool = False, failing: bool = False
) -> ManagedInstance:
    """One whose process lives; `failing` is one that is being ended for what it did."""
    return ManagedInstance(
        agent_id="echo",
        instance_id=f"i-{next(_NUMBERS)}",
        generation=GENERATION - old,
        process=cast(Process, None),
        started_at=NOW,
        started=0,
        expected_since=0,
        log_offset=0,
        ready=ready,
        stop=StopPlan("", 0, NOW, 0, NOW) if stopping or failing else None,
        failure="failed" if failing else None,
    )


def steps(
    *instances: ManagedInstance, wanted: int = 1, rolling: bool = False, exclusive: bool = False
) -> tuple[int, list[int]]:
    """How many to start, and the places of those to stop."""
    found = next_steps(instances, wanted=wanted, generation=GENERATION, rolling=rolling, exclusive=exclusive)
    return found.start, [instances.index(each) for each in found.stop]


def test_what_is_missing_is_started_at_once() -> None:
    assert steps(wanted=3) == (3, [])
    assert steps(instance(ready=True), wanted=3) == (2, [])


def test_what_is_too_much_is_stopped_the_newest_first_to_go() -> None:
    assert steps(*(instance(ready=True) for _ in range(3)), wanted=1) == (0, [1, 2])


def test_of_too_many_the_one_that_serves_stays() -> None:
    assert steps(instance(), instance(ready=True), wanted=1) == (0, [0])


def test_an_agent_that_is_not_wanted_is_stopped_whole() -> None:
    assert steps(instance(ready=True), instance(old=True), wanted=0) == (0, [1, 0])


def test_one_at_a_time_the_old_one_ends_before_the_new_one_starts() -> None:
    assert steps(instance(old=True, ready=True)) == (0, [0])
    assert steps(instance(old=True, stopping=True)) == (0, [])
    assert steps() == (1, [])


def test_rolling_the_successor_is_ready_before_the_old_one_goes() -> None:
    old = instance(old=True, ready=True)
    assert steps(old, rolling=True) == (1, [])
    assert steps(old, instance(), rolling=True) == (0, [])
    assert steps(old, instance(ready=True), rolling=True) == (0, [0])


def test_rolling_several_goes_one_by_one() -> None:
    old = [instance(old=True, ready=True) for _ in range(3)]
    assert steps(*old, wanted=3, rolling=True) == (1, [])
    assert steps(*old, instance(ready=True), wanted=3, rolling=True) == (0, [0])
    assert steps(*old[1:], instance(ready=True), wanted=3, rolling=True) == (1, [])


def test_an_exclusive_port_is_free_before_anything_starts() -> None:
    assert steps(instance(stopping=True), exclusive=True) == (0, [])
    assert steps(exclusive=True) == (1, [])


def test_one_that_is_ended_for_a_failure_keeps_its_place_until_that_has_been_counted() -> None:
    assert steps(instance(failing=True)) == (0, [])


INSTANCES = st.lists(
    st.builds(
        lambda old, ready, stopping, failing: instance(old=old, ready=ready, stopping=stopping, failing=failing),
        *[st.booleans()] * 4,
    ),
    max_size=8,
)


@given(INSTANCES, st.integers(0, 5), st.booleans(), st.booleans())
def test_whatever_there_is_no_step_goes_too_far(
    instances: list[ManagedInstance], wanted: int, rolling: bool, exclusive: bool
) -> None:
    found = next_steps(instances, wanted=wanted, generation=GENERATION, rolling=rolling, exclusive=exclusive)
    going = [each for each in instances if each.stop is None]
    assert found.start >= 0
    assert all(each in going for each in found.stop), "nothing is told to stop twice"
    assert len(set(map(id, found.stop))) == len(found.stop)
    if exclusive and instances:
        assert found.start == 0
    if rolling and not exclusive:
        assert found.start == 0 or len(going) + found.start <= wanted + 1
        # As many as are wanted keep serving, as far as there were so many.
        serving = [each for each in going if each.ready and each not in found.stop]
        assert len(serving) >= min(wanted, sum(each.ready for each in going))


@given(INSTANCES, st.integers(0, 5), st.booleans())
def test_taking_every_step_leads_to_what_was_wanted(
    instances: list[ManagedInstance], wanted: int, rolling: bool
) -> None:
    there = list(instances)
    for _ in range(50):
        found: Steps = next_steps(there, wanted=wanted, generation=GENERATION, rolling=rolling, exclusive=False)
        there = [each for each in there if each not in found.stop and each.stop is None]
        there += [instance(ready=True) for _ in range(found.start)]
        for each in there:
            each.ready = True
    assert [each.generation for each in there] == [GENERATION] * wanted


@pytest.mark.parametrize("rolling", [True, False])
def test_what_is_as_wanted_is_left_alone(rolling: bool) -> None:
    assert steps(instance(ready=True), instance(ready=True), wanted=2, rolling=rolling) == (0, [])
