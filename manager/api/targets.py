"""Where metrics are to be had: for the manager's own page, and for a Prometheus that scrapes adapters itself."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from manager.api.operation import Operation
from manager.registry.circuit import CircuitState
from manager.supervision.fleet import Fleet
from manager.supervision.resources import Usage
from manager.supervision.views import AgentView, InstanceView
from manager.telemetry.target import InstanceUsage, Page, Target


class Targets:
    """`usage` tells the newest sample of a process, by its pid."""

    def __init__(self, fleet: Fleet, usage: Callable[[int], Usage | None]) -> None:
        self._fleet = fleet
        self._usage = usage

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation(
                "GET",
                "/api/prometheus-targets",
                "Every adapter that has a page of metrics, as Prometheus' http_sd takes them",
                self.discovered,
                "application/json",
            )
        ]

    def all(self) -> list[Target]:
        """Every agent, as the manager's page of metrics tells of it."""
        return [self._target(view) for view in self._fleet.agents()]

    async def discovered(self, request: Request) -> Response:
        pages = [page for view in self._fleet.agents() for page in _pages(view)]
        return JSONResponse([_group(page) for page in pages])

    def _target(self, view: AgentView) -> Target:
        return Target(
            agent_id=view.id,
            state=view.state,
            desired_state=view.desired_state,
            ready=view.ready,
            restarts=view.restarts,
            in_flight=view.in_flight,
            queued=view.queued,
            is_answering=view.circuit is CircuitState.CLOSED,
            cpu_percent=view.cpu_percent,
            rss_bytes=view.rss_bytes,
            last_heartbeat_at=view.last_heartbeat_at,
            wanted_instances=view.instances_wanted,
            ready_instances=sum(instance.ready for instance in view.instances),
            is_sidecar=view.sidecar,
            pages=_pages(view),
            usage=tuple(usage for usage in map(self._usage_of, view.instances) if usage is not None),
        )

    def _usage_of(self, instance: InstanceView) -> InstanceUsage | None:
        usage = self._usage(instance.pid) if instance.pid is not None else None
        if usage is None:
            return None
        return InstanceUsage(instance.instance_id, usage.cpu_seconds, usage.open_fds)


def _pages(view: AgentView) -> tuple[Page, ...]:
    """Of each process at its own address: at the port that they share, one would be read in another's name."""
    if view.sidecar:
        return ()
    return tuple(
        Page(view.id, instance.instance_id, instance.service_url)
        for instance in view.instances
        if instance.service_url is not None
    )


def _group(page: Page) -> dict[str, object]:
    """The labels are those that the manager's own page puts on the same series."""
    url = urlsplit(page.service_url)
    labels = {"__scheme__": url.scheme, "agent_id": page.agent_id, "instance_id": page.instance_id}
    return {"targets": [url.netloc], "labels": labels}
