"""Where adapters report: register, heartbeat, unregister."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from agent_service.contract import Heartbeat, Registration, RegistrationAnswer, Unregistration
from agent_service.definition import Tracing
from manager.api.operation import Operation, json_response, read_model
from manager.registry.registry import Registry

_REGISTRATION = '{"id": "echo", "serviceUrl": "http://127.0.0.1:8102", "instanceId": "3f2a", "metadata": {}}'
_HEARTBEAT = '{"id": "echo", "instanceId": "3f2a", "status": "running"}'
_UNREGISTRATION = '{"id": "echo", "instanceId": "3f2a"}'
_PATH = "/api/agent-services"


class RegistrationEndpoints:
    """The endpoints; they tell the registry."""

    def __init__(self, registry: Registry, tracing_of: Callable[[str], Tracing | None] = lambda _: None) -> None:
        """`tracing_of`: what a person has set for an agent's traces; a new instance is told."""
        self._registry = registry
        self._tracing_of = tracing_of
        # The same for each of thousands a second: made into JSON once.
        self._acknowledgement: bytes | None = None

    def operations(self) -> list[Operation]:
        """What this module serves."""
        return [
            Operation(
                "POST",
                f"{_PATH}/register",
                "Register an instance",
                self.register,
                RegistrationAnswer,
                body=Registration,
                problems=(400, 409, 413),
                guarded=True,
            ),
            Operation(
                "POST",
                f"{_PATH}/heartbeat",
                "A sign of life",
                self.heartbeat,
                RegistrationAnswer,
                body=Heartbeat,
                problems=(400, 404, 413),
                guarded=True,
            ),
            Operation(
                "POST",
                f"{_PATH}/unregister",
                "Say goodbye",
                self.unregister,
                Unregistration,
                body=Unregistration,
                problems=(400, 413),
                guarded=True,
            ),
        ]

    async def register(self, request: Request) -> Response:
        registration = await read_model(request, Registration, example=_REGISTRATION)
        answer = self._registry.register(registration)
        answer = answer.model_copy(update={"tracing": self._tracing_of(registration.id)})
        return json_response(answer, exclude_none=True)

    async def heartbeat(self, request: Request) -> Response:
        answer = self._registry.heartbeat(await read_model(request, Heartbeat, example=_HEARTBEAT))
        if self._acknowledgement is None:
            self._acknowledgement = answer.model_dump_json(exclude_none=True).encode()
        return Response(self._acknowledgement, media_type="application/json")

    async def unregister(self, request: Request) -> Response:
        message = await read_model(request, Unregistration, example=_UNREGISTRATION)
        self._registry.unregister(message)
        return json_response(message, by_alias=True)
