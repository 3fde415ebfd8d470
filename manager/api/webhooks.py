"""The webhooks: how they do, what they were told, and whether they can be reached."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from manager.api.operation import Operation, QueryParameter, json_response, whole_number
from manager.notifications.notifier import Notifier
from manager.notifications.views import DeliveryView, WebhookView

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 1000


class WebhookList(BaseModel):
    """In the order of the config."""

    webhooks: list[WebhookView]


class DeliveryList(BaseModel):
    """Newest first."""

    deliveries: list[DeliveryView]


class WebhookEndpoints:
    """The endpoints; they ask the notifier."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def operations(self) -> list[Operation]:
        """What this module serves."""
        one = "/api/webhooks/{name}"
        limit = {"type": "integer", "minimum": 1, "maximum": _MAX_LIMIT, "default": _DEFAULT_LIMIT}
        return [
            Operation("GET", "/api/webhooks", "Every webhook and how it does", self.all, WebhookList, problems=(503,)),
            Operation(
                "GET",
                f"{one}/deliveries",
                "The newest notifications to a webhook, newest first",
                self.deliveries,
                DeliveryList,
                problems=(400, 404, 503),
                query=(QueryParameter("limit", "At most so many.", limit),),
            ),
            Operation(
                "POST",
                f"{one}/test",
                "Send a webhook a test, once; the answer says whether it arrived",
                self.test,
                DeliveryView,
                problems=(404, 503),
                guarded=True,
            ),
        ]

    async def all(self, request: Request) -> Response:
        return json_response(WebhookList(webhooks=await self._notifier.views()))

    async def deliveries(self, request: Request) -> Response:
        limit = whole_number(request, "limit", default=_DEFAULT_LIMIT, lowest=1, highest=_MAX_LIMIT)
        assert limit is not None
        found = await self._notifier.deliveries(request.path_params["name"], limit)
        return json_response(DeliveryList(deliveries=found))

    async def test(self, request: Request) -> Response:
        return json_response(await self._notifier.test(request.path_params["name"]))
