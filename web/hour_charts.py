"""Which figures the dashboard draws over an hour, and how it writes them."""

from __future__ import annotations

from web.charts import Figure
from web.texts import MIB, bytes_text, milliseconds_text, percent_text, rate_text, share_text


def whole_text(value: float) -> str:
    """A count; a mean of counts in one decimal."""
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def memory_text(size: float) -> str:
    """As everywhere else."""
    return bytes_text(int(size))


AGENT_FIGURES = (
    Figure("requests", "Requests", (("requests_per_second", "requests"),), rate_text, 1),
    Figure("latency", "Latency", (("p50_ms", "p50"), ("p95_ms", "p95")), milliseconds_text, 10),
    Figure("errors", "Errors", (("error_ratio", "of requests"),), share_text, 0.1),
    Figure("work", "Work", (("in_flight", "in flight"), ("queued", "queued")), whole_text, 2),
    Figure("cpu", "CPU", (("cpu_percent", "all processes"),), percent_text, 10),
    Figure("memory", "Memory", (("rss_bytes", "all processes"),), memory_text, 64 * MIB, binary=True),
)
MANAGER_FIGURES = (
    Figure("requests", "HTTP requests", (("requests_per_second", "answered"),), rate_text, 1),
    Figure("lag", "Event loop, longest delay", (("loop_lag_ms", "delay"),), milliseconds_text, 10),
    Figure("store", "Store, longest call", (("store_ms", "call"),), milliseconds_text, 10),
    Figure("streams", "Open streams", (("open_streams", "open"),), whole_text, 2),
    Figure("cpu", "CPU", (("cpu_percent", "manager"),), percent_text, 10),
    Figure("memory", "Memory", (("rss_bytes", "manager"),), memory_text, 64 * MIB, binary=True),
)
