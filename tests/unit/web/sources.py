"""What the pages besides the fleet's read from, in memory: logs, config, what agents say, the manager itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent_service.contract import DefinitionSummary, ThreadPage
from manager.errors import ConfigError, ManagerError, StateConflict, UnknownWebhook
from manager.notifications.views import DeliveryView, WebhookView
from manager.settings import RuntimeSettings
from manager.specs.diff import ConfigDiff, diff
from manager.specs.fleet_config import FleetConfig
from manager.telemetry.log_reading.entry import Context, LogEntry, LogPage
from manager.telemetry.log_reading.query import LogQuery
from manager.telemetry.self_report import ForkServerReport, SelfReport, StorageReport

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
CONFIG = Path("/project/agents.config.json")


@dataclass
class FakeLogs:
    """Raw lines by agent; the entries made of them pass by agent and text, and what is added is followed."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    asked: list[LogQuery] = field(default_factory=list)
    refusal: ManagerError | None = None

    async def page(self, query: LogQuery) -> LogPage:
        self.asked.append(query)
        if self.refusal is not None:
            raise self.refusal
        found = self._found(query)
        shown = found[-query.lines :]
        return LogPage(entries=shown, older="before" if len(shown) < len(found) else None, newer=str(len(found)))

    async def search(self, query: LogQuery) -> AsyncIterator[LogPage]:
        self.asked.append(query)
        if self.refusal is not None:
            raise self.refusal
        yield LogPage(entries=self._found(query), newer="end")

    async def follow(self, query: LogQuery) -> AsyncIterator[LogPage | None]:
        self.asked.append(query)
        if self.refusal is not None:
            raise self.refusal
        told = int(query.cursor or 0)
        while True:
            found = self._found(query)
            if len(found) > told:
                told = len(found)
                yield LogPage(entries=found[int(query.cursor or 0) :], newer=str(told))
                query = replace(query, cursor=str(told))
            await asyncio.sleep(0.02)

    def _found(self, query: LogQuery) -> list[LogEntry]:
        found: list[LogEntry] = []
        for agent_id in query.agents or self.lines:
            context = Context(agent_id)
            found += [context.entry(line.encode()) for line in self.lines.get(agent_id, [])]
        return [entry for entry in found if (query.text or "") in entry.line]


@dataclass
class FakeReloader:
    """A config file that is already taken over, until the test says what it holds."""

    running: FleetConfig = field(default_factory=lambda: FleetConfig(RuntimeSettings(), (), CONFIG, CONFIG.parent))
    found: FleetConfig | ConfigError | None = None
    applied: list[str] = field(default_factory=list)

    async def plan(self) -> ConfigDiff:
        if isinstance(self.found, ConfigError):
            raise self.found
        return diff(self.running, self.found or self.running)

    async def apply(self, *, actor: str, quiet: bool = False, seen: str | None = None) -> ConfigDiff:
        plan = await self.plan()
        if seen not in (None, plan.fingerprint):
            raise StateConflict("The config file has changed since you saw this plan; look at the new one.")
        self.applied.append(actor)
        self.running = self.found or self.running
        return plan


def delivery(**changes: Any) -> DeliveryView:
    """A notification that arrived a minute ago."""
    at = NOW - timedelta(minutes=1)
    what = {"id": "msg_1", "webhook": "oncall", "event_id": 7, "type": "failed", "created_at": at}
    tries = {"state": "delivered", "attempts": 1, "next_attempt_at": None, "finished_at": at}
    answer = {"status": 204, "error": None, "duration_ms": 12.0}
    return DeliveryView(**(what | tries | answer | changes))


def webhook(name: str = "oncall", **changes: Any) -> WebhookView:
    """A webhook that nothing was sent to yet."""
    base = {"name": name, "url": "env:ONCALL_URL", "kinds": ["failed", "lost"], "agents": None, "pending": 0}
    made = {"consecutive_failures": 0, "next_attempt_at": None, "last_delivery": None, "last_delivered_at": None}
    return WebhookView(**(base | made | changes))


@dataclass
class FakeWebhooks:
    """Webhooks of which each test arrives, unless the test says what becomes of it."""

    known: list[WebhookView] = field(default_factory=list)
    tested: list[str] = field(default_factory=list)
    sent: list[DeliveryView] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    refusal: ManagerError | None = None

    async def views(self) -> list[WebhookView]:
        if self.refusal is not None:
            raise self.refusal
        return self.known

    async def test(self, name: str) -> DeliveryView:
        if name not in [webhook.name for webhook in self.known]:
            raise UnknownWebhook(f"There is no webhook {name!r} in the config; known: none.")
        self.tested.append(name)
        self.sent.insert(0, delivery(**({"webhook": name, "type": "webhook.test", "event_id": None} | self.result)))
        return self.sent[0]

    async def deliveries(self, name: str) -> list[DeliveryView]:
        if self.refusal is not None:
            raise self.refusal
        return [each for each in self.sent if each.webhook == name]


@dataclass
class FakeIntrospection:
    """Agents that answer nothing but what the test says; an error is raised."""

    definitions: dict[str, DefinitionSummary | ManagerError | None] = field(default_factory=dict)
    pages: dict[str, ThreadPage] = field(default_factory=dict)

    async def definition(self, agent_id: str) -> DefinitionSummary | None:
        found = self.definitions.get(agent_id)
        if isinstance(found, ManagerError):
            raise found
        return found

    async def threads(self, agent_id: str, *, limit: int = 50) -> ThreadPage:
        return self.pages.get(agent_id, ThreadPage(threads=[], next=None))


def self_report(**changes: Any) -> SelfReport:
    """A manager that is well."""
    storage = StorageReport(path="/project/logs", used_bytes=3 * 1024**2, free_bytes=40 * 1024**3)
    server = ForkServerReport(profile="light", pid=77, instances=2, retiring=False, rss_bytes=30 * 1024**2)
    base: dict[str, Any] = {
        "version": "1.2.3",
        "pid": 42,
        "started_at": NOW,
        "url": "http://127.0.0.1:8000",
        "config_path": str(CONFIG),
        "python": "3.11.2",
        "system": "Linux 6.1 x86_64",
        "token_required": False,
        "agents": 1,
        "cpu_percent": 1.5,
        "rss_bytes": 90 * 1024.0**2,
        "requests_per_second": 2.0,
        "loop_lag_ms": 1.25,
        "store_ms": 3.0,
        "open_streams": 1.0,
        "events_waiting": 0,
        "state": storage.model_copy(update={"path": "/project/.state"}),
        "logs": storage,
        "fork_servers": [server],
    }
    return SelfReport(**(base | changes))
