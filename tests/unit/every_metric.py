"""Every metric there is: the page of a manager with one agent whose own page is that of our adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from prometheus_client.registry import Collector

from agent_service.metrics import Metrics
from agent_service.runtimes.react.usage import UsageTotals
from agent_service.runtimes.tools.metrics import CallOutcome, ToolMetrics
from agent_service.tracing.counts import SpanCounts
from manager.events import EventBus, EventKind
from manager.notifications.metrics import WebhookMetrics
from manager.telemetry.exposition import Family, parse
from manager.telemetry.forward_metrics import ForwardMetrics
from manager.telemetry.lifecycle_metrics import LifecycleMetrics
from manager.telemetry.manager_metrics import ManagerMetrics
from manager.telemetry.traffic import Traffic
from tests.unit.manager.telemetry.fleet import FixedClock, fleet_metrics, target


def metric_families(also: Sequence[Collector] = ()) -> list[Family]:
    """With everything happened once, so that every series is there. `also`: what the agent itself counts."""
    own, forward, lifecycle = ManagerMetrics(version="1"), ForwardMetrics(Traffic()), LifecycleMetrics(FixedClock())
    own.observe_request(method="GET", route="/", status=200, seconds=0.1)
    own.stream_opened("/")
    WebhookMetrics(own.registry).begin("oncall")
    forward.observe("one", "2xx", queued=0.0, connected=0.0, agent=0.1, total=0.1)
    bus = EventBus(FixedClock())
    lifecycle.listen(bus)
    for kind in (EventKind.DRAIN_STARTED, EventKind.INSTANCE_EXITED):
        bus.publish(kind, "It happens.", agent_id="one", instance_id="one-1")
    own.registry.register(SpanCounts("manager"))
    adapter = Metrics(running=lambda: 0, queued=lambda: 0)
    adapter.registry.register(SpanCounts("agent"))
    for collector in also:
        adapter.registry.register(collector)
    fleet = fleet_metrics(
        [target("one")],
        {"one-1": adapter.exposition("")[0]},
        metrics=own,
        sources=[forward.families, lifecycle.families],
    )
    return parse(asyncio.run(fleet.render()).decode())


def collectors_of_an_agent_from_data() -> list[Collector]:
    """Its model and its tools, each used once."""
    totals = UsageTotals()
    totals.add_tokens("m", "input", 1)
    totals.add_cost("m", Decimal(1))
    totals.add_call("m", "succeeded")
    tools = ToolMetrics(list)
    tools.observe("search", CallOutcome.SUCCEEDED, 0.1)
    return [totals, tools]
