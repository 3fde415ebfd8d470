from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from manager.specs.models import AgentConfig
from manager.supervision.memory_limits import enforce_memory_limits
from manager.supervision.resources import Usage
from tests.unit.manager.fakes.world import agent

MIB = 1024 * 1024


class Agent:
    """An agent with processes of those sizes, in MiB; `ended` are the reasons for which some were."""

    def __init__(self, config: AgentConfig, *sizes: float | None, stopping: bool = False) -> None:
        self.agent = config
        self.instances = [
            SimpleNamespace(pid=number, stop=object() if stopping else None) for number, _ in enumerate(sizes)
        ]
        self.ended: dict[int, str] = {}
        self._sizes = sizes

    def usage(self, pid: int) -> Usage | None:
        size = self._sizes[pid]
        return None if size is None else Usage(0.0, int(size * MIB), cpu_seconds=0.0, open_fds=None)

    def end_for(self, instance: Any, failure: str) -> None:
        self.ended[instance.pid] = failure

    def enforced(self) -> dict[int, str]:
        enforce_memory_limits([self], self)  # type: ignore[list-item,arg-type]
        return self.ended


def limited(mib: int) -> AgentConfig:
    return agent(limits={"memory_mb": mib})


def test_a_process_over_the_limit_is_ended_and_told_why() -> None:
    assert Agent(limited(100), 130.0).enforced() == {
        0: "held 130 MiB of memory, over its limit of 100 MiB, and was killed"
    }


def test_a_process_may_hold_as_much_as_the_limit() -> None:
    assert Agent(limited(100), 100.0, 1.0).enforced() == {}


def test_each_process_has_the_limit_for_itself() -> None:
    assert list(Agent(limited(100), 60.0, 101.0, 99.0).enforced()) == [1]


def test_without_a_limit_nothing_is_ended() -> None:
    assert Agent(agent(), 1e6).enforced() == {}


def test_a_process_that_was_not_sampled_yet_is_let_be() -> None:
    assert Agent(limited(100), None).enforced() == {}


def test_one_that_is_being_stopped_anyway_is_let_be() -> None:
    assert Agent(limited(100), 200.0, stopping=True).enforced() == {}
