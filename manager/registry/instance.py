"""One registered instance: where it answers and what it last said of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from agent_service.contract import AdapterStatus, StatusReport
from manager.registry.circuit import Circuit


@dataclass
class RegisteredInstance:
    """Kept current by the registry alone; others read it. `expires_at` is monotonic seconds."""

    agent_id: str
    instance_id: str
    service_url: str
    metadata: dict[str, Any]
    registered_at: datetime
    last_heartbeat_at: datetime
    expires_at: float
    report: StatusReport = field(default_factory=lambda: StatusReport(status=AdapterStatus.RUNNING))
    expired: bool = False
    draining: bool = False
    """Unrouted: it gets no new requests, whatever it says of itself."""
    forwarding: int = 0
    """Requests that the manager has open to it now."""
    direct: int = 0
    """Tasks that others than the manager gave it, as of its last report."""
    circuit: Circuit = field(default_factory=Circuit)
    token: int = 0
    """Which of the manager's tokens it is sent, counted from the newest; to those before it said 401."""
    is_token_proven: bool = False
    """It has taken that token."""

    @property
    def routable(self) -> bool:
        """Whether new requests may go to it."""
        return not self.draining and not self.expired and self.report.status is AdapterStatus.RUNNING

    @property
    def host(self) -> str:
        """The host it answers at, an IPv6 address in brackets."""
        return urlsplit(self.service_url).netloc.rpartition(":")[0]

    @property
    def port(self) -> int | None:
        """The port it answers on."""
        return urlsplit(self.service_url).port

    @property
    def in_flight(self) -> int:
        """Tasks in it: what the manager has open now, and what others had when it last spoke of them."""
        return self.forwarding + self.direct

    def take(self, report: StatusReport) -> None:
        """Take over what it says of itself."""
        self.report = report
        # Of the same moment: a report is seconds old when the manager's own count has long moved on.
        self.direct = max(report.in_flight - self.forwarding, 0)
