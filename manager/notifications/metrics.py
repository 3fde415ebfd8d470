"""What became of notifications, as metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class WebhookMetrics:
    """Registers with `registry`; a webhook has its series from its first word on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "manager_webhook_attempts_total",
            "Attempts to deliver a notification, by webhook and outcome.",
            ["webhook", "outcome"],
            registry=registry,
        )
        self._given_up = Counter(
            "manager_webhook_given_up_total",
            "Notifications that were given up, by webhook.",
            ["webhook"],
            registry=registry,
        )
        self._pending = Gauge(
            "manager_webhook_pending",
            "Notifications that wait to be delivered, by webhook.",
            ["webhook"],
            registry=registry,
        )

    def begin(self, webhook: str) -> None:
        """Have all its series at 0."""
        for outcome in ("delivered", "failed"):
            self._attempts.labels(webhook, outcome)
        self._given_up.labels(webhook)
        self._pending.labels(webhook)

    def attempted(self, webhook: str, *, delivered: bool) -> None:
        """Count an attempt."""
        self._attempts.labels(webhook, "delivered" if delivered else "failed").inc()

    def given_up(self, webhook: str, count: int) -> None:
        """Count what was given up."""
        self._given_up.labels(webhook).inc(count)

    def waiting(self, webhook: str, count: int) -> None:
        """How many wait now."""
        self._pending.labels(webhook).set(count)
