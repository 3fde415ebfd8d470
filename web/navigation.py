"""Where one can go in the dashboard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """An entry of the navigation; `g` and then `key` leads there."""

    name: str
    title: str
    path: str
    key: str


PLACES = (
    Place("fleet", "Fleet", "/", "f"),
    Place("logs", "Logs", "/logs", "l"),
    Place("events", "Events", "/events", "e"),
    Place("config", "Config", "/config", "c"),
    Place("metrics", "Metrics", "/metrics-overview", "m"),
    Place("about", "About", "/about", "a"),
)
