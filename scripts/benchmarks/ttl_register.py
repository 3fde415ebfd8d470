"""The peer of `heartbeats`: the least that Starlette and pydantic make of a register with a time to live.

`python -m scripts.benchmarks.ttl_register PORT`. It knows who beats and until when, and nothing else.
"""

from __future__ import annotations

import sys
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent_service.contract import Heartbeat, Registration, RegistrationAnswer

_ANSWER = RegistrationAnswer(heartbeat_interval_seconds=5, heartbeat_ttl_seconds=30)


class Register:
    """The endpoints."""

    def __init__(self) -> None:
        self._expires: dict[str, float] = {}

    async def register(self, request: Request) -> Response:
        """Take an instance in."""
        registration = Registration.model_validate_json(await request.body())
        return self._note(registration.instance_id)

    async def heartbeat(self, request: Request) -> Response:
        """Note a sign of life; 404 for an instance that is not known."""
        heartbeat = Heartbeat.model_validate_json(await request.body())
        known = heartbeat.instance_id in self._expires
        return self._note(heartbeat.instance_id) if known else Response(status_code=404)

    async def ready(self, _request: Request) -> Response:
        """It answers."""
        return Response()

    def _note(self, instance_id: str) -> Response:
        self._expires[instance_id] = time.monotonic() + _ANSWER.heartbeat_ttl_seconds
        return Response(_ANSWER.model_dump_json(), media_type="application/json")


def main() -> None:
    """Serve until the process is ended."""
    register = Register()
    paths = "/api/agent-services"
    app = Starlette(
        routes=[
            Route(f"{paths}/register", register.register, methods=["POST"]),
            Route(f"{paths}/heartbeat", register.heartbeat, methods=["POST"]),
            Route("/ready", register.ready),
        ]
    )
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
