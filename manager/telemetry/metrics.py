"""The manager's `/metrics`: its own metrics, what it knows of each agent, and every process's own page, as one page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from manager.clock import Clock
from manager.telemetry.exposition import ExpositionError, Family, Section, merge, parse, render
from manager.telemetry.scraper import Connect, NoMetrics, ScrapeError, Scraper
from manager.telemetry.target import Page, Target, agent_families

log = structlog.get_logger(__name__)

Source = Callable[[Collection[str]], Iterable[Family]]
"""Families about the agents of these ids. Called in a thread."""


class _Read(NamedTuple):
    """What stood on a page."""

    text: bytes
    sections: tuple[Section, ...]


class FleetMetrics:
    """Scrapes every page at each call of `render`, all at once, each for `timeout_seconds` at most.

    `states` and `desired_states` are all the values that a target's may have. A page that cannot be had, or is not
    in the text format, costs its agent's `agent_up`; what is rendered is always whole and valid.
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
        sources: Sequence[Source] = (),
        timeout_seconds: float = 2.0,
    ) -> None:
        self._targets = targets
        self._states = states
        self._desired_states = desired_states
        self._registry = registry
        self._scraper = Scraper(connect, timeout_seconds=timeout_seconds)
        self._clock = clock
        self._sources = sources
        self._failing: set[Page] = set()
        self._read: dict[Page, _Read] = {}

    async def render(self) -> bytes:
        """The page, to be sent as `exposition.CONTENT_TYPE`."""
        targets = tuple(self._targets())
        pages = [page for target in targets for page in target.pages]
        texts = await self._scraper.scrape(pages)
        # A large fleet's pages are some 100 ms of CPU: in a thread they hold up no request.
        rendered, failures = await asyncio.to_thread(self._merged, targets, pages, texts)
        self._report(failures)
        return rendered

    def _merged(
        self, targets: Sequence[Target], pages: Sequence[Page], texts: Sequence[bytes | ScrapeError]
    ) -> tuple[bytes, dict[Page, Exception]]:
        read: dict[Page, _Read] = {}
        failures: dict[Page, Exception] = {}
        for page, text in zip(pages, texts, strict=True):
            try:
                read[page] = self._read_page(page, text)
            except (ScrapeError, ExpositionError) as error:
                failures[page] = error
        self._read = read
        return self._render(targets, {page: one.sections for page, one in read.items()}), failures

    def _read_page(self, page: Page, text: bytes | ScrapeError) -> _Read:
        """An idle agent's page stays as it is, byte for byte; reading one takes longer than all else about it."""
        if isinstance(text, ScrapeError):
            raise text
        known = self._read.get(page)
        return known if known is not None and known.text == text else _Read(text, _sections(page, text))

    def _render(self, targets: Sequence[Target], found: dict[Page, tuple[Section, ...]]) -> bytes:
        dropped = Family(
            "agent_scrape_dropped_series",
            "gauge",
            "Series of the agent left out because they contradict what another agent or the manager says.",
        )
        about_agents = agent_families(
            targets,
            up={page.agent_id for page in found},
            states=self._states,
            desired_states=self._desired_states,
            now=self._clock.now(),
        )
        agent_ids = [target.agent_id for target in targets]
        own = [*about_agents, dropped, *parse(generate_latest(self._registry).decode())]
        own += [family for source in self._sources for family in source(agent_ids)]
        families, counts = merge(own, list(found.values()), exclusive=_exclusive(own))
        for page, count in zip(found, counts, strict=True):
            dropped.add(count, agent_id=page.agent_id, instance_id=page.instance_id)
        return render(families)

    def _report(self, failures: dict[Page, Exception]) -> None:
        """Once when it begins, not with every scrape."""
        for page in failures.keys() - self._failing:
            tell = log.debug if isinstance(failures[page], NoMetrics) else log.warning
            tell(
                "Agent's metrics cannot be read",
                agent_id=page.agent_id,
                instance_id=page.instance_id,
                reason=str(failures[page]),
            )
        self._failing = set(failures)


def _sections(page: Page, text: bytes) -> tuple[Section, ...]:
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        raise ExpositionError("its page is not UTF-8") from None
    families = parse(decoded, {"agent_id": page.agent_id, "instance_id": page.instance_id})
    return tuple(family.section() for family in families)


def _exclusive(own: Sequence[Family]) -> set[str]:
    """What only the manager says. `process_…` it shares: an agent's series differ by their `agent_id`."""
    return {family.name for family in own if family.name.startswith(("agent_", "manager_"))}
