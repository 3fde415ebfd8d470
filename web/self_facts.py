"""The manager's own health as plain texts: what is wrong with it, what to do, and how it is. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agent_service.plurals import count_text
from manager.telemetry.self_report import SelfReport, StorageReport
from web.texts import GIB, age_text, bytes_text, milliseconds_text, percent_text, rate_text
from web.tones import Tone

_LATE_LOOP_MS = 250
_SLOW_STORE_MS = 1000
_LITTLE_FREE_BYTES = GIB
_MANY_EVENTS_WAITING = 1000


@dataclass(frozen=True)
class Worry:
    """Something wrong with the manager itself, and its remedy."""

    title: str
    remedy: str


@dataclass(frozen=True)
class Fact:
    """One thing known. `tone` is idle unless it wants attention."""

    label: str
    text: str
    hint: str = ""
    tone: Tone = Tone.IDLE
    is_code: bool = False


def worries(report: SelfReport) -> list[Worry]:
    """What wants attention; empty where all is well."""
    return [*_slow(report), *_full(report)]


def health_facts(report: SelfReport, now: datetime) -> list[Fact]:
    """How it is now."""
    lag, store = report.loop_lag_ms, report.store_ms
    return [
        Fact("Uptime", age_text((now - report.started_at).total_seconds())),
        Fact("Event loop", _milliseconds(lag), "longest delay in 10 s", _over(lag, _LATE_LOOP_MS)),
        Fact("Store", _milliseconds(store), "longest call in 10 s", _over(store, _SLOW_STORE_MS)),
        Fact("Open streams", _count(report.open_streams), "tabs, followers, streamed answers"),
        Fact(
            "HTTP requests", "none yet" if report.requests_per_second is None else rate_text(report.requests_per_second)
        ),
        Fact("CPU", "unknown" if report.cpu_percent is None else percent_text(report.cpu_percent), "100 % is one core"),
        Fact("Memory", "unknown" if report.rss_bytes is None else bytes_text(int(report.rss_bytes))),
        Fact("Events to write", str(report.events_waiting), "not on disk yet", _waiting(report)),
    ]


def identity_facts(report: SelfReport) -> list[Fact]:
    """What it is, and where."""
    return [
        Fact("Version", report.version),
        Fact("Address", report.url, is_code=True),
        Fact("Process", f"pid {report.pid}"),
        Fact("Python", f"{report.python}, {report.system}"),
        Fact("Config", report.config_path, is_code=True),
        Fact("Token", "asked for" if report.token_required else "not asked for; set MANAGER_TOKEN to ask for one"),
        Fact("Agents", str(report.agents)),
    ]


def storage_facts(report: SelfReport) -> list[Fact]:
    """Where it writes, and how much room is left."""
    return [fact for name, place in _places(report) for fact in _storage(name, place)]


def _places(report: SelfReport) -> tuple[tuple[str, StorageReport], ...]:
    return ("State directory", report.state), ("Log directory", report.logs)


def _storage(name: str, place: StorageReport) -> Iterator[Fact]:
    yield Fact(name, place.path, f"{bytes_text(place.used_bytes)} used", is_code=True)
    free = "unknown" if place.free_bytes is None else bytes_text(place.free_bytes)
    yield Fact("Disk free there", free, tone=Tone.WARN if _is_full(place) else Tone.IDLE)


def _slow(report: SelfReport) -> Iterator[Worry]:
    if (report.loop_lag_ms or 0) > _LATE_LOOP_MS:
        yield Worry(
            f"The event loop was held up for {_milliseconds(report.loop_lag_ms)}.",
            "Every request and heartbeat waits as long: see whether the machine is short of CPU or memory.",
        )
    if (report.store_ms or 0) > _SLOW_STORE_MS:
        yield Worry(
            f"A call of the store took {_milliseconds(report.store_ms)}.",
            f"Start and stop wait for the disk of {report.state.path}: see what else writes there.",
        )
    if report.events_waiting > _MANY_EVENTS_WAITING:
        yield Worry(
            f"{count_text(report.events_waiting, 'event')} are not on disk yet.",
            f"See whether {report.state.path} can be written; the manager's log says why it could not.",
        )


def _full(report: SelfReport) -> Iterator[Worry]:
    for name, place in _places(report):
        if place.free_bytes is not None and _is_full(place):
            yield Worry(
                f"The disk of the {name.lower()} has {bytes_text(place.free_bytes)} left.",
                f"Make room there ({place.path}), or lower logMaxBytes and eventRetentionDays in the config.",
            )


def _is_full(place: StorageReport) -> bool:
    return place.free_bytes is not None and place.free_bytes < _LITTLE_FREE_BYTES


def _milliseconds(value: float | None) -> str:
    return "none yet" if value is None else milliseconds_text(value)


def _count(value: float | None) -> str:
    return "none yet" if value is None else f"{value:.0f}"


def _over(value: float | None, limit: float) -> Tone:
    return Tone.WARN if value is not None and value > limit else Tone.IDLE


def _waiting(report: SelfReport) -> Tone:
    return Tone.WARN if report.events_waiting > _MANY_EVENTS_WAITING else Tone.IDLE
