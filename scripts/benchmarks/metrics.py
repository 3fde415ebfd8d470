"""One page of metrics out of 200 adapters': what it costs to add them up, beside prometheus_client's own means.

First the aggregation alone, in this process: the pages that adapters answer, with what the manager says of each agent.
The peers do less. One parses each page with prometheus_client's parser, adds the labels and writes all out. One merges
the files that as many processes keep in prometheus_client's multiprocess mode, where counters lose their process. One
joins the texts, which shows how low it could be. Then a real manager with real adapters, idle and at work.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from agent_service.metrics import Metrics, Outcome
from manager.clock import SystemClock
from manager.supervision.states import AgentState, DesiredState
from manager.telemetry.forward_metrics import ForwardMetrics
from manager.telemetry.lifecycle_metrics import LifecycleMetrics
from manager.telemetry.manager_metrics import ManagerMetrics
from manager.telemetry.metrics import FleetMetrics
from manager.telemetry.target import InstanceUsage, Page, Target
from manager.telemetry.traffic import Traffic
from scripts.benchmarks.client import ask
from scripts.benchmarks.fleet import DUMMY, Agent, make_agents, until_healthy
from scripts.benchmarks.memory import cpu_percent
from scripts.benchmarks.options import ROOT, CannotMeasure, Options
from scripts.benchmarks.samples import Samples, goal, seconds, show
from scripts.benchmarks.systems.agent_manager import AgentManager, agent_manager, execute_path

_GOAL_SECONDS = 0.1
_SETTLE_SECONDS = 30.0
_AFTERMATH_SECONDS = 2.0
# One process of prometheus_client's multiprocess mode: the same metrics as an adapter's, in its own file.
_WORKER = """
from prometheus_client import Counter, Gauge, Histogram
from agent_service.metrics import DURATION_BUCKETS
Gauge("agent_task_running", "x", multiprocess_mode="all").set(0)
Gauge("agent_tasks_queued", "x", multiprocess_mode="all").set(0)
tasks = Counter("agent_tasks", "x", ["outcome"])
for outcome in ("succeeded", "failed", "cancelled", "rejected"):
    tasks.labels(outcome).inc()
Histogram("agent_task_duration_seconds", "x", buckets=DURATION_BUCKETS).observe(0.1)
"""
_FORKS = """
import os
for _ in range({count}):
    if not os.fork():
        exec({worker!r})
        os._exit(0)
    os.wait()
"""


async def run(options: Options) -> None:
    """Measure the aggregation, then the manager."""
    count, runs = options.fleet(200, 20), options.repeat(20, 3)
    found = {
        "the manager's, pages unchanged": await _ours(count, runs, changing=False),
        "the manager's, every page changed": await _ours(count, runs, changing=True),
        "prometheus_client's parser": _repeat(_parsed(count), runs),
        "prometheus_client's multiprocess mode": _repeat(_merged_files(count, options.directory("mmap")), runs),
        "the texts joined, which is no valid page": _repeat(_joined(count), runs),
    }
    show(f"{count} pages into one: CPU", [Samples(name, values, seconds) for name, values in found.items()])
    agents = make_agents(count, DUMMY, autostart=True)
    async with agent_manager(options.directory("manager"), agents) as manager:
        await until_healthy(agents)
        await asyncio.sleep(options.size(_SETTLE_SECONDS, 2.0))
        (background,) = await cpu_percent([[manager.pid]], options.size(20.0, 3.0))
        idle = await _looks(manager, runs, background / 100, lambda: asyncio.sleep(0))
        busy = await _looks(manager, runs, background / 100, lambda: _work(manager, agents))
    both = (("idle", idle), ("each has worked since the last look", busy))
    show(
        f"GET /metrics, {count} adapters: a client waits", [Samples(name, waits, seconds) for name, (waits, _) in both]
    )
    show(f"GET /metrics, {count} adapters: manager's CPU", [Samples(name, cpu, seconds) for name, (_, cpu) in both])
    cpu = Samples("", busy[1], seconds).median
    goal(f"{count} agents in under {seconds(_GOAL_SECONDS)} of CPU", seconds(cpu), met=cpu < _GOAL_SECONDS)


class _Adapter:
    """An adapter's page in memory; `work` changes it."""

    def __init__(self) -> None:
        self._metrics = Metrics(running=lambda: 0, queued=lambda: 0)
        self.work()

    def work(self) -> None:
        """One task is done."""
        self._metrics.finished(Outcome.SUCCEEDED, 0.1)
        self.page, _ = self._metrics.exposition("")


class _Played:
    """A connection to it, as the scraper uses one."""

    status = 200
    headers: Sequence[tuple[bytes, bytes]] = ()

    def __init__(self, page: bytes) -> None:
        self._pages = iter((page,))

    def begin(self, head: bytes, body: bytes) -> _Played:
        """Itself: the answer is there already."""
        return self

    async def until_head(self) -> None:
        """It has come."""

    def __aiter__(self) -> _Played:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self._pages)
        except StopIteration:
            raise StopAsyncIteration from None

    def abort(self) -> None:
        """Nothing to close."""


async def _ours(count: int, runs: int, *, changing: bool) -> list[float]:
    adapters = {f"http://{number}": _Adapter() for number in range(count)}
    clock, forward = SystemClock(), ForwardMetrics(Traffic())
    targets = [_target(number, url) for number, url in enumerate(adapters)]
    for target in targets:
        forward.observe(target.agent_id, "2xx", queued=0.0, connected=0.0, agent=0.1, total=0.1)

    async def connect(url: str) -> _Played:
        return _Played(adapters[url].page)

    metrics = FleetMetrics(
        targets=lambda: targets,
        states=[*AgentState],
        desired_states=[*DesiredState],
        registry=ManagerMetrics(version="1").registry,
        connect=connect,  # type: ignore[arg-type]
        clock=clock,
        sources=[forward.families, LifecycleMetrics(clock).families],
    )
    await metrics.render()
    taken = []
    for _ in range(runs):
        for adapter in adapters.values() if changing else ():
            adapter.work()
        gc.collect()
        before = process_time()
        await metrics.render()
        taken.append(process_time() - before)
    return taken


def _target(number: int, url: str) -> Target:
    agent_id, instance_id = f"agent-{number:03}", f"{number:016x}"
    return Target(
        agent_id=agent_id,
        state="running",
        desired_state="running",
        ready=True,
        restarts=0,
        in_flight=0,
        queued=0,
        is_answering=True,
        cpu_percent=0.1,
        rss_bytes=12_000_000,
        last_heartbeat_at=None,
        wanted_instances=1,
        ready_instances=1,
        pages=(Page(agent_id, instance_id, url),),
        usage=(InstanceUsage(instance_id, 1.0, 16),),
    )


def _repeat(work: Callable[[], bytes], runs: int) -> list[float]:
    taken = []
    for _ in range(runs):
        gc.collect()
        before = process_time()
        work()
        taken.append(process_time() - before)
    return taken


class _Relabelled(Collector):
    """Every sample of every page, with the two labels added, in one family for each name."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._pages = pages

    def collect(self) -> list[Metric]:
        """Called by the library."""
        families: dict[str, Metric] = {}
        for number, page in enumerate(self._pages):
            added = {"agent_id": f"agent-{number:03}", "instance_id": f"{number:016x}"}
            for family in text_string_to_metric_families(page):
                home = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                home.samples += [sample._replace(labels={**added, **sample.labels}) for sample in family.samples]
        return [*families.values()]


def _parsed(count: int) -> Callable[[], bytes]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Relabelled([_Adapter().page.decode() for _ in range(count)]))
    return lambda: generate_latest(registry)


def _merged_files(count: int, directory: Path) -> Callable[[], bytes]:
    """Forked, as an application server would: the files are named after the processes."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _FORKS.format(count=count, worker=_WORKER)], env=environment, check=True)
    registry = CollectorRegistry(auto_describe=False)
    MultiProcessCollector(registry, path=str(directory))
    return lambda: generate_latest(registry)


def _joined(count: int) -> Callable[[], bytes]:
    pages = [_Adapter().page.decode() for _ in range(count)]
    series = re.compile(r"^(\w+)(?:\{(.*)\})? ", re.MULTILINE)

    def joined() -> bytes:
        texts = [
            series.sub(rf'\g<1>{{agent_id="agent-{number:03}",instance_id="{number:016x}",\g<2>}} ', page)
            for number, page in enumerate(pages)
        ]
        return "".join(texts).encode()

    return joined


async def _looks(
    manager: AgentManager, runs: int, background: float, between: Callable[[], Awaitable[object]]
) -> tuple[list[float], list[float]]:
    """Seconds that a client waited for each look, and CPU seconds of the manager, less what it takes all the time.

    `background`: that, as a share of a core. `between` comes before each look. The kernel counts in steps of 10 ms.
    """
    process, waited, worked = psutil.Process(manager.pid), [], []
    for _ in range(runs):
        await between()
        before, asked = sum(process.cpu_times()[:2]), perf_counter()
        answer = await ask(manager.port, "GET", "/metrics")
        waited.append(perf_counter() - asked)
        worked.append(max(0.0, sum(process.cpu_times()[:2]) - before - background * waited[-1]))
        if answer.status != 200:
            raise CannotMeasure(f"GET /metrics was answered with {answer.status}: {answer.body.decode()}")
    return waited, worked


async def _work(manager: AgentManager, agents: Sequence[Agent]) -> None:
    for agent in agents:
        answer = await ask(manager.port, "POST", execute_path(agent), {"parameters": {}})
        if answer.status != 200:
            raise CannotMeasure(f"{agent.id} answered {answer.status}: {answer.body.decode()}")
    # What is left of it, such as lines for the access log, is no part of the look.
    await asyncio.sleep(_AFTERMATH_SECONDS)
