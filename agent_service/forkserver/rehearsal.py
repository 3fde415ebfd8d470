"""One short life of a dummy adapter in the fork server itself, before the first fork.

Code that has run once is specialised, and caches are filled: in memory that children share, instead of a copy of each
page in every child. The loop is asyncio's own, because libuv keeps descriptors that a child closes.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TypedDict

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent_service import contract
from agent_service.app import build_app
from agent_service.contract import AgentSpec, Registration, RegistrationAnswer
from agent_service.forkserver.profiles import Profile
from agent_service.http.client.connector import Connector
from agent_service.http.client.kept import KeptConnection
from agent_service.http.server import HttpServer
from agent_service.http.sockets import listen, url_of
from agent_service.launch import LOOPBACK, read_launch
from agent_service.lifecycle import Lifecycle, utc_now
from agent_service.logs import file_reader
from agent_service.manager_address import ManagerAddress
from agent_service.manager_client import BASE_PATH, kept_registered
from agent_service.runtimes.dummy import DummyRuntime
from agent_service.tasks import Tasks

_SECONDS = 10.0

log = structlog.stdlib.get_logger(__name__)


def rehearse(profile: Profile) -> None:
    """Register, beat, answer, unregister. What goes wrong costs some speed and nothing else."""
    logging.disable(logging.CRITICAL)
    try:
        if profile == "langgraph":
            _compile_graph()
            _compile_agent()
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(asyncio.wait_for(_live(), _SECONDS))
    except Exception as error:
        logging.disable(logging.NOTSET)
        log.warning("Rehearsal failed; agents start a little slower", exc_info=error)
    finally:
        logging.disable(logging.NOTSET)


def _compile_graph() -> None:
    """Compile, not run: threads would come of that."""
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(_State)
    graph.add_node("write", _write)
    graph.add_edge(START, "write")
    graph.add_conditional_edges("write", lambda state: END, [END])
    graph.compile()


def _compile_agent() -> None:
    """An agent from data, as far as it comes without a task."""
    from agent_service.definition import AgentDefinition
    from agent_service.runtimes.react.agent import Agent
    from agent_service.runtimes.react.usage import UsageTotals

    model = {"provider": "scripted", "model": "rehearsal", "script": ["It is done."]}
    definition = AgentDefinition.model_validate({"behavior": {"model_parameters": model}})
    Agent(definition, str, UsageTotals()).compile([], None)


class _State(TypedDict, total=False):
    words: list[str]


async def _write(state: _State) -> _State:
    return state


async def _live() -> None:
    spec = AgentSpec(id="rehearsal", name="rehearsal")
    launch = read_launch([], {contract.ENV_SPEC: spec.model_dump_json(), contract.ENV_MANAGER_URL: "http://localhost"})
    own, managers = listen(LOOPBACK, 0), listen(LOOPBACK, 0)
    address = ManagerAddress(url_of(managers, host=LOOPBACK))
    lifecycle = Lifecycle(drain_timeout_seconds=0)
    tasks = Tasks(launch.spec, lifecycle)
    app = build_app(
        spec,
        DummyRuntime(),
        lifecycle=lifecycle,
        tasks=tasks,
        instance_id=launch.instance_id,
        started_at=utc_now(),
        read_log=file_reader(Path("rehearsal.log")),
        manager=address,
    )
    lifecycle.become_ready()
    manager = _Manager()
    async with HttpServer(app).serving(own), HttpServer(manager.app).serving(managers):
        url = url_of(own, host=LOOPBACK)
        registration = Registration(id=spec.id, service_url=url, instance_id=launch.instance_id)
        async with kept_registered(address, None, registration, tasks.report, lifecycle.activity):
            await manager.has_heard.wait()
            client = KeptConnection(Connector().connect, {"Content-Type": "application/json"})
            await client.post(f"{url}/execute", b'{"parameters": {}}')
            client.close()


class _Manager:
    """Says yes to everything."""

    def __init__(self) -> None:
        self.has_heard = asyncio.Event()
        self.app = Starlette(routes=[Route(f"{BASE_PATH}/{{action}}", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        if request.path_params["action"] == "heartbeat":
            self.has_heard.set()
        answer = RegistrationAnswer(heartbeat_interval_seconds=60, heartbeat_ttl_seconds=60)
        return Response(answer.model_dump_json(), media_type="application/json")
