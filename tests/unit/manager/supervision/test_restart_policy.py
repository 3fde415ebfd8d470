from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_service.contract import EXIT_CONFIG
from manager.settings import RestartPolicy, RestartSettings
from manager.supervision.process import Exit
from manager.supervision.restart_policy import GiveUp, Restart, Run, decide

CRASH = Exit(code=1)
KILLED = Exit(signal=9)
DONE = Exit(code=0)
UNKNOWN = Exit()
NO_LIMIT = 1000
quick = settings(deadline=None, database=None)

jitters = st.floats(0, 1)


def rules(**changes: object) -> RestartSettings:
    return RestartSettings(**changes)


def runs(*lifetimes: float, exit_: Exit = CRASH, pause: float = 0.0) -> list[Run]:
    """Runs one after the other, each crashing after its lifetime and starting again after `pause`."""
    ended, found = 1000.0, []
    for lifetime in lifetimes:
        ended += pause + lifetime
        found.append(Run(ended, lifetime, exit_))
    return found


def delay(settings_: RestartSettings, history: list[Run], jitter: float = 0.5) -> float:
    decision = decide(settings_, history, jitter=jitter)
    assert isinstance(decision, Restart)
    return decision.delay_seconds


def life(settings_: RestartSettings, lifetime: float, *, crashes: int, jitter: float) -> list[Restart | GiveUp]:
    """What is decided after each of `crashes` crashes of an agent that lives `lifetime` seconds each time."""
    now, history, decisions = 0.0, [], []
    for _ in range(crashes):
        now += lifetime
        history.append(Run(now, lifetime, CRASH))
        decisions.append(decide(settings_, history, jitter=jitter))
        if isinstance(decisions[-1], GiveUp):
            break
        now += decisions[-1].delay_seconds
    return decisions


RESTARTED, FAILED, LEFT = "restarted", "failed", "left as it is"


@pytest.mark.parametrize(
    ("policy", "exit_", "outcome"),
    [
        ("always", DONE, RESTARTED),
        ("always", CRASH, RESTARTED),
        ("always", KILLED, RESTARTED),
        ("always", UNKNOWN, RESTARTED),
        ("always", Exit(code=EXIT_CONFIG), FAILED),
        ("on-failure", DONE, LEFT),
        ("on-failure", CRASH, RESTARTED),
        ("on-failure", KILLED, RESTARTED),
        ("on-failure", UNKNOWN, RESTARTED),
        ("on-failure", Exit(code=EXIT_CONFIG), FAILED),
        ("never", DONE, LEFT),
        ("never", CRASH, FAILED),
        ("never", KILLED, FAILED),
        ("never", UNKNOWN, FAILED),
        ("never", Exit(code=EXIT_CONFIG), FAILED),
    ],
)
def test_what_follows_an_exit_by_policy(policy: RestartPolicy, exit_: Exit, outcome: str) -> None:
    decision = decide(rules(policy=policy), runs(5, exit_=exit_), jitter=0.5)
    if isinstance(decision, GiveUp):
        assert str(exit_) in decision.reason
        assert (FAILED if decision.failed else LEFT) == outcome
    else:
        assert outcome == RESTARTED


def test_a_status_that_no_restart_helps_says_so() -> None:
    decision = decide(rules(), runs(5, exit_=Exit(code=EXIT_CONFIG)), jitter=0)
    assert decision == GiveUp("a restart cannot help: exited with status 78", failed=True, exit=Exit(code=EXIT_CONFIG))


def test_which_statuses_are_final_is_a_setting() -> None:
    chosen = rules(do_not_retry_exit_codes=[3])
    assert isinstance(decide(chosen, runs(5, exit_=Exit(code=3)), jitter=0), GiveUp)
    assert isinstance(decide(chosen, runs(5, exit_=Exit(code=EXIT_CONFIG)), jitter=0), Restart)
    assert isinstance(decide(chosen, runs(5, exit_=Exit(signal=3)), jitter=0), Restart)


@pytest.mark.parametrize(
    ("crashes", "jitter", "expected"),
    [
        (1, 0.5, 0),
        (2, 0.5, 0.5),
        (2, 0.0, 0.375),
        (2, 1.0, 0.625),
        (3, 0.5, 1),
        (4, 0.5, 2),
        (5, 0.5, 4),
        (9, 0.5, 60),
        (100, 1.0, 60),
    ],
)
def test_delays_of_the_default_settings(crashes: int, jitter: float, expected: float) -> None:
    history = runs(*[0.1] * crashes)
    assert delay(rules(max_crashes=NO_LIMIT), history, jitter) == pytest.approx(expected)


def test_the_attempt_is_counted() -> None:
    for crashes in (1, 2, 3):
        decision = decide(rules(), runs(*[0.1] * crashes), jitter=0)
        assert isinstance(decision, Restart)
        assert decision.attempt == crashes


@pytest.mark.parametrize(
    ("lifetimes", "attempt"),
    [
        ([60], 1),
        ([0.1, 0.1, 60], 1),
        ([0.1, 0.1, 60, 0.1], 2),
        ([60, 0.1, 0.1], 3),
        ([0.1, 59.999], 2),
    ],
)
def test_a_life_that_was_healthy_for_long_enough_begins_a_new_series(lifetimes: list[float], attempt: int) -> None:
    decision = decide(rules(max_crashes=NO_LIMIT), runs(*lifetimes), jitter=0)
    assert isinstance(decision, Restart)
    assert decision.attempt == attempt


def test_a_crash_loop_is_told_with_its_numbers() -> None:
    decision = decide(rules(max_crashes=2), runs(5, 5, 5), jitter=0)
    assert decision == GiveUp(
        "crash loop: 3 crashes within 10.0 s, last: exited with status 1", failed=True, exit=Exit(code=1)
    )


def test_crashes_far_apart_are_no_loop() -> None:
    day = 86_400.0
    assert isinstance(decide(rules(max_crashes=2), runs(day, day, day, day), jitter=0), Restart)


def test_a_long_life_among_short_ones_hides_no_loop_and_makes_none() -> None:
    burst = [1.0] * 6
    assert isinstance(decide(rules(), runs(*burst), jitter=0), GiveUp)
    assert isinstance(decide(rules(), runs(*burst[:4], 5 * 3600, 1.0), jitter=0), Restart)
    assert isinstance(decide(rules(), runs(5 * 3600, *burst), jitter=0), GiveUp)


def test_ends_without_a_crash_do_not_count_as_crashes() -> None:
    history = runs(*[1.0] * 50, exit_=DONE)
    assert isinstance(decide(rules(policy="always"), history, jitter=0), Restart)


@quick
@given(
    lifetimes=st.lists(st.floats(0.001, 10_000), min_size=1, max_size=60),
    jitter=jitters,
    initial=st.floats(0, 60),
    longest=st.floats(60, 3600),
)
def test_a_delay_is_never_negative_nor_over_the_longest(
    lifetimes: list[float], jitter: float, initial: float, longest: float
) -> None:
    chosen = rules(initial_delay_seconds=initial, max_delay_seconds=longest, max_crashes=NO_LIMIT)
    assert 0 <= delay(chosen, runs(*lifetimes), jitter) <= longest


@quick
@given(lifetime=st.floats(0.001, 100_000), jitter=jitters, policy=st.sampled_from(["always", "on-failure"]))
def test_the_first_restart_is_immediate(lifetime: float, jitter: float, policy: RestartPolicy) -> None:
    assert delay(rules(policy=policy), runs(lifetime), jitter) == 0


@quick
@given(crashes=st.integers(2, 80), jitter=jitters, initial=st.floats(0.01, 10))
def test_delays_double_until_the_longest_and_stay_there(crashes: int, jitter: float, initial: float) -> None:
    chosen = rules(initial_delay_seconds=initial, max_crashes=NO_LIMIT)
    before = delay(chosen, runs(*[0.1] * crashes), jitter)
    after = delay(chosen, runs(*[0.1] * (crashes + 1)), jitter)
    assert after == pytest.approx(min(2 * before, chosen.max_delay_seconds))


@quick
@given(crashes=st.integers(2, 40), initial=st.floats(0.01, 1))
def test_jitter_spreads_a_delay_by_a_quarter_at_most(crashes: int, initial: float) -> None:
    chosen = rules(initial_delay_seconds=initial, max_delay_seconds=86_400, max_crashes=NO_LIMIT)
    low, middle, high = (delay(chosen, runs(*[0.1] * crashes), jitter) for jitter in (0.0, 0.5, 1.0))
    if high < 86_400:
        assert (low, high) == (pytest.approx(0.75 * middle), pytest.approx(1.25 * middle))


@quick
@given(lifetime=st.floats(0.001, 1800), jitter=jitters, more_than=st.integers(1, 8))
def test_crashing_in_rhythm_ends_in_giving_up_however_long_each_life_is(
    lifetime: float, jitter: float, more_than: int
) -> None:
    decisions = life(rules(max_crashes=more_than), lifetime, crashes=more_than + 1, jitter=jitter)
    assert all(isinstance(decision, Restart) for decision in decisions[:-1])
    assert len(decisions) == more_than + 1
    last = decisions[-1]
    assert isinstance(last, GiveUp)
    assert last.failed
    assert "crash loop" in last.reason


@quick
@given(lifetimes=st.lists(st.floats(0.001, 10_000), max_size=40), healthy=st.floats(60, 100_000), jitter=jitters)
def test_after_a_healthy_life_the_restart_is_immediate_whatever_was_before(
    lifetimes: list[float], healthy: float, jitter: float
) -> None:
    assert delay(rules(max_crashes=NO_LIMIT), runs(*lifetimes, healthy), jitter) == 0


@quick
@given(lifetimes=st.lists(st.floats(0.001, 10_000), min_size=1, max_size=6), jitter=jitters)
def test_never_means_never(lifetimes: list[float], jitter: float) -> None:
    assert isinstance(decide(rules(policy="never"), runs(*lifetimes), jitter=jitter), GiveUp)


@pytest.mark.parametrize(
    ("last_exit", "told"),
    [
        (None, "crash loop, last: exited with status 1"),
        ("exited with status 1", "crash loop, last: exited with status 1"),
        ("exited with status 1: ValueError: x.", "crash loop, last: exited with status 1: ValueError: x."),
        ("it hung; exited with status 1", "crash loop, last: it hung; exited with status 1"),
        ("killed by signal 9", "crash loop, last: exited with status 1 (killed by signal 9)"),
    ],
)
def test_a_reason_is_told_with_the_last_words_but_not_twice(last_exit: str | None, told: str) -> None:
    gave_up = GiveUp("crash loop, last: exited with status 1", failed=True, exit=Exit(code=1))
    assert gave_up.told_after(last_exit) == told
