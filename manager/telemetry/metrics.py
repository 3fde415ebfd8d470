"""The manager's `/metrics`: its own metrics, what it knows of each agent, and every agent's own page, as one page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from manager.clock import Clock
from manager.telemetry.exposition import ExpositionError, Family, Section, merge, parse, render
from manager.telemetry.scraper import Connect, NoMetrics, ScrapeError, Scraper
from manager.telemetry.target import Target, agent_families

log = structlog.get_logger(__name__)


class _Read(NamedTuple):
    """What stood on an agent's page."""

    page: bytes
    sections: tuple[Section, ...]


class FleetMetrics:
    """Scrapes every target at each call of `render`, all at once, each for `timeout_seconds` at most.

    `states` and `desired_states` are all the values that a target's may have. A target that cannot be scraped,
    or whose page is not in the text format, costs its `agent_up`; the page is always whole and valid.
    """

    def __init__(
        self,
        *,
        targets: Callable[[], Sequence[Target]],
        states: Sequence[str],
        desired_states: Sequence[str],
        registry: CollectorRegistry,
        connect: Connect,
        clock: Clock,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._targets = targets
        self._states = states
        self._desired_states = desired_states
        self._registry = registry
        self._scraper = Scraper(connect, timeout_seconds=timeout_seconds)
        self._clock = clock
        self._failing: set[str] = set()
        self._read: dict[tuple[str, str | None], _Read] = {}

    async def render(self) -> bytes:
        """The page, to be sent as `exposition.CONTENT_TYPE`."""
        targets = tuple(self._targets())
        pages = await self._scraper.scrape(targets)
        # A large fleet's pages are some 100 ms of CPU: in a thread they hold up no request.
        page, failures = await asyncio.to_thread(self._merged, targets, pages)
        self._report(failures)
        return page

    def _merged(
        self, targets: Sequence[Target], pages: Sequence[bytes | ScrapeError]
    ) -> tuple[bytes, dict[str, Exception]]:
        read: dict[tuple[str, str | None], _Read] = {}
        failures: dict[str, Exception] = {}
        found: list[tuple[Target, Sequence[Section]]] = []
        for target, page in zip(targets, pages, strict=True):
            try:
                one = self._read_page(target, page)
            except (ScrapeError, ExpositionError) as error:
                if target.service_url is not None:
                    failures[target.agent_id] = error
            else:
                read[_key(target)] = one
                found.append((target, one.sections))
        self._read = read
        return self._page(targets, found), failures

    def _read_page(self, target: Target, page: bytes | ScrapeError) -> _Read:
        """An idle agent's page stays as it is, byte for byte; reading one takes longer than all else about it."""
        if isinstance(page, ScrapeError):
            raise page
        known = self._read.get(_key(target))
        return known if known is not None and known.page == page else _Read(page, _sections(target, page))

    def _page(self, targets: Sequence[Target], found: Sequence[tuple[Target, Sequence[Section]]]) -> bytes:
        dropped = Family(
            "agent_scrape_dropped_series",
            "gauge",
            "Series of the agent left out because they contradict what another agent or the manager says.",
        )
        about_agents = agent_families(
            targets,
            up={target.agent_id for target, _ in found},
            states=self._states,
            desired_states=self._desired_states,
            now=self._clock.now(),
        )
        own = [*about_agents, dropped, *parse(generate_latest(self._registry).decode())]
        families, counts = merge(own, [sections for _, sections in found], exclusive=_exclusive(own))
        for (target, _), count in zip(found, counts, strict=True):
            dropped.add(count, agent_id=target.agent_id, instance_id=target.instance_id or "")
        return render(families)

    def _report(self, failures: dict[str, Exception]) -> None:
        """Once when it begins, not with every scrape."""
        for agent_id in failures.keys() - self._failing:
            tell = log.debug if isinstance(failures[agent_id], NoMetrics) else log.warning
            tell("Agent's metrics cannot be read", agent_id=agent_id, reason=str(failures[agent_id]))
        self._failing = set(failures)


def _key(target: Target) -> tuple[str, str | None]:
    return target.agent_id, target.instance_id


def _sections(target: Target, page: bytes) -> tuple[Section, ...]:
    try:
        text = page.decode()
    except UnicodeDecodeError:
        raise ExpositionError("its page is not UTF-8") from None
    families = parse(text, {"agent_id": target.agent_id, "instance_id": target.instance_id or ""})
    return tuple(family.section() for family in families)


def _exclusive(own: Sequence[Family]) -> set[str]:
    """What only the manager says. `process_…` it shares: an agent's series differ by their `agent_id`."""
    return {family.name for family in own if family.name.startswith(("agent_", "manager_"))}
