from __future__ import annotations

from datetime import timedelta

import pytest

from manager.settings import RestartSettings
from manager.supervision.process import Exit
from manager.supervision.recovery import Recovery
from manager.supervision.restart_policy import GiveUp, Restart
from tests.unit.manager.fakes.clock import FakeClock

CRASH = Exit(code=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def recovery(clock: FakeClock, **settings: object) -> Recovery:
    return Recovery(RestartSettings(**settings), clock)


def crash(subject: Recovery, clock: FakeClock, *, after: float = 0.1) -> Restart | GiveUp:
    """The next instance starts and crashes after so many seconds."""
    subject.started()
    started = clock.monotonic()
    clock.advance(after)
    return subject.crashed(started, CRASH)


def test_a_fresh_agent_is_due_at_once(clock: FakeClock) -> None:
    assert recovery(clock).is_due


def test_after_the_first_crash_the_next_start_is_due_at_once(clock: FakeClock) -> None:
    subject = recovery(clock)
    crash(subject, clock)
    assert subject.is_due
    assert subject.next_start_at == clock.now()


def test_after_the_second_crash_it_is_due_after_the_delay(clock: FakeClock) -> None:
    subject = recovery(clock, initial_delay_seconds=8)
    crash(subject, clock)
    decision = crash(subject, clock)
    assert isinstance(decision, Restart)
    assert 6 <= decision.delay_seconds <= 10
    assert subject.next_start_at == clock.now() + timedelta(seconds=decision.delay_seconds)
    assert not subject.is_due
    clock.advance(decision.delay_seconds)
    assert subject.is_due


def test_starting_clears_the_plan(clock: FakeClock) -> None:
    subject = recovery(clock)
    crash(subject, clock)
    subject.started()
    assert subject.next_start_at is None


def test_giving_up_means_that_nothing_is_due_until_somebody_says_so(clock: FakeClock) -> None:
    subject = recovery(clock)
    subject.give_up(GiveUp("the command is gone", failed=True))
    clock.advance(86_400)
    assert not subject.is_due
    assert subject.due is None
    subject.forget()
    assert subject.is_due
    assert subject.given_up is None


def test_a_crash_loop_gives_up(clock: FakeClock) -> None:
    subject = recovery(clock, max_crashes=2)
    decisions = [crash(subject, clock) for _ in range(3)]
    assert isinstance(decisions[-1], GiveUp)
    assert subject.given_up == decisions[-1]
    assert subject.next_start_at is None


HIGHEST = next(rule.le for rule in RestartSettings.model_fields["max_crashes"].metadata if hasattr(rule, "le"))


@pytest.mark.parametrize("max_crashes", [1, 5, HIGHEST])
def test_a_crash_loop_gives_up_at_any_limit_that_the_config_allows(clock: FakeClock, max_crashes: int) -> None:
    subject = recovery(clock, max_crashes=max_crashes)
    for _ in range(max_crashes):
        assert isinstance(crash(subject, clock), Restart)
    assert isinstance(crash(subject, clock), GiveUp)


def test_forgetting_makes_the_next_crash_the_first(clock: FakeClock) -> None:
    subject = recovery(clock, max_crashes=2)
    crash(subject, clock)
    crash(subject, clock)
    subject.forget()
    decision = crash(subject, clock)
    assert isinstance(decision, Restart)
    assert decision.attempt == 1
