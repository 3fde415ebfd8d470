"""Wiring: from a spec, its runtime and the live parts to the Starlette app."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from agent_service.answers import Answers, NamedCalls, Recall
from agent_service.contract import AgentSpec
from agent_service.definition_endpoints import DefinitionEndpoints
from agent_service.endpoints import Endpoints
from agent_service.execute import Execute
from agent_service.http.guards import HostGuard, RequestIds, TokenGuard
from agent_service.http.parting import Parting, arrived_at
from agent_service.lifecycle import Lifecycle
from agent_service.logs import LogReader
from agent_service.manager_address import ManagerAddress
from agent_service.problems import Problems
from agent_service.runtimes.protocol import DefinedRuntime, Runtime
from agent_service.stack_endpoint import StackEndpoint
from agent_service.tasks import Tasks
from agent_service.tracing.endpoints import TracingEndpoints
from agent_service.tracing.port import NoTracing, TaskTracing


def build_app(
    spec: AgentSpec,
    runtime: Runtime,
    *,
    lifecycle: Lifecycle,
    tasks: Tasks,
    instance_id: str,
    started_at: datetime,
    read_log: LogReader,
    manager: ManagerAddress,
    tokens: Collection[str] = (),
    bound_host: str = "127.0.0.1",
    public_port: int | None = None,
    tracing: TaskTracing | None = None,
) -> Starlette:
    """The adapter's HTTP service. Opening and closing the runtime is the caller's, as is the drain.

    `tokens`: those valid for all but /health, /info, /status and /metrics; none means that no token is asked for.
    `public_port`: a port that is served besides the own one, and shared with other instances.
    """
    problems = Problems(spec.id, lifecycle)
    endpoints = Endpoints(
        spec,
        lifecycle,
        tasks,
        instance_id=instance_id,
        started_at=started_at,
        supports_streaming=runtime.supports_streaming,
        read_log=read_log,
        manager=manager,
        summary=runtime.summary if isinstance(runtime, DefinedRuntime) else None,
    )
    definitions = DefinitionEndpoints(runtime, max_bytes=spec.max_body_bytes)
    if isinstance(runtime, DefinedRuntime):
        for collector in runtime.collectors:
            tasks.metrics.registry.register(collector)
    tracing = tracing or NoTracing()
    traces = TracingEndpoints(tracing)
    execute = Execute(spec, runtime, tasks, problems, public_port, tracing)
    answers = Answers()
    guarded = [Middleware(TokenGuard, tokens=tokens, problems=problems)]
    named = [*guarded, Middleware(NamedCalls, answers=answers, problems=problems)]
    app = Starlette(
        routes=[
            Route("/health", endpoints.health),
            Route("/info", endpoints.info),
            Route("/status", endpoints.status),
            Route("/metrics", endpoints.metrics),
            Route("/logs", endpoints.logs, middleware=guarded),
            Route("/action", endpoints.action, methods=["POST"], middleware=guarded),
            Route("/manager", endpoints.manager, methods=["PUT"], middleware=guarded),
            Route("/tracing", traces.show, middleware=guarded),
            Route("/tracing", traces.change, methods=["PUT"], middleware=guarded),
            Route("/tracing", traces.reset, methods=["DELETE"], middleware=guarded),
            Route("/stacks", StackEndpoint(tasks, instance_id).stacks, middleware=guarded),
            Route("/reload", definitions.reload, methods=["POST"], middleware=guarded),
            Route("/threads", definitions.threads, middleware=guarded),
            Route("/threads/{thread_id}", definitions.thread, middleware=guarded),
            Route("/threads/{thread_id}", definitions.forget_thread, methods=["DELETE"], middleware=guarded),
            Route("/answers/{name}", Recall(answers, problems).endpoint, middleware=guarded),
            Route("/execute", execute.endpoint, methods=["POST"], middleware=named),
        ],
        middleware=[
            Middleware(Parting, is_parting=lambda scope: lifecycle.handing_over and arrived_at(scope, public_port)),
            Middleware(RequestIds, problems=problems),
            Middleware(HostGuard, bound_host=bound_host, problems=problems),
        ],
        exception_handlers=problems.handlers(),
    )
    app.router.redirect_slashes = False
    return app
