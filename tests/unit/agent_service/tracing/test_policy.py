from __future__ import annotations

from agent_service.definition import Tracing
from agent_service.tracing.policy import Policy


def test_an_agent_without_a_definition_is_traced_like_the_fleet() -> None:
    assert Policy(lambda: None, 0.5).now() == Tracing(sample_rate=0.5)


def test_a_definition_takes_its_share_of_the_fleets() -> None:
    assert Policy(lambda: Tracing(sample_rate=0.5), 0.5).now() == Tracing(sample_rate=0.25)
    assert Policy(lambda: Tracing(enabled=False), 1).now() == Tracing(enabled=False)


def test_a_new_definition_counts_at_once() -> None:
    defined = [Tracing(sample_rate=0.5)]
    policy = Policy(lambda: defined[-1], 1)
    defined.append(Tracing(enabled=False))
    assert not policy.now().enabled


def test_what_a_person_sets_holds_as_it_is_until_it_is_taken_back() -> None:
    policy = Policy(lambda: Tracing(enabled=False, sample_rate=0.5), 0.01)
    policy.override = Tracing(sample_rate=1)
    assert policy.now() == Tracing(enabled=True, sample_rate=1)
    policy.override = None
    assert policy.now() == Tracing(enabled=False, sample_rate=0.005)
