from __future__ import annotations

from agent_service.definition import Tracing
from manager.telemetry.tracing.policies import Policies

DEFINED = {"quiet": Tracing(enabled=False), "half": Tracing(sample_rate=0.5)}


def test_each_agent_is_traced_as_its_definition_says_within_the_fleets_share() -> None:
    policies = Policies(DEFINED.get, 0.5)
    assert policies.of("half") == Tracing(sample_rate=0.25)
    assert not policies.of("quiet").enabled
    assert policies.of("no definition") == Tracing(sample_rate=0.5)


def test_what_a_person_sets_is_that_agents_alone_and_can_be_taken_back() -> None:
    policies = Policies(DEFINED.get, 0.5)
    policies.set("half", Tracing(sample_rate=1))
    assert policies.of("half") == policies.override_of("half") == Tracing(sample_rate=1)
    assert policies.override_of("quiet") is None
    policies.set("half", None)
    policies.set("half", None)
    assert policies.of("half") == Tracing(sample_rate=0.25)
