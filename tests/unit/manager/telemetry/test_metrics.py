from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Collection, Iterator

import httpx
import pytest
import structlog

from agent_service.http.client.answer import BrokenExchange
from manager.telemetry import metrics as metrics_module
from manager.telemetry.exposition import Family, parse
from manager.telemetry.scraper import MAX_PAGE_BYTES
from tests.unit.manager.telemetry.fleet import fleet_metrics, target

PAGE = b"# HELP x Help.\n# TYPE x gauge\nx 1\n"


def lines(page: bytes) -> set[str]:
    return set(page.decode().splitlines())


def test_every_agents_series_carry_agent_and_instance() -> None:
    page = asyncio.run(fleet_metrics([target("a"), target("b")], {"a-1": PAGE, "b-1": PAGE}).render())
    assert {
        'x{agent_id="a",instance_id="a-1"} 1',
        'x{agent_id="b",instance_id="b-1"} 1',
        'agent_up{agent_id="a"} 1',
        'agent_up{agent_id="b"} 1',
    } <= lines(page)


def test_what_the_manager_knows_of_an_agent() -> None:
    page = asyncio.run(fleet_metrics([target("a", state="paused")], {"a-1": PAGE}).render())
    assert {
        'agent_state{agent_id="a",state="running"} 0',
        'agent_state{agent_id="a",state="paused"} 1',
        'agent_desired_state{agent_id="a",state="running"} 1',
        'agent_ready{agent_id="a"} 1',
        'agent_restarts_total{agent_id="a"} 2',
        'agent_in_flight{agent_id="a"} 1',
        'agent_queue_length{agent_id="a"} 0',
        'agent_circuit_open{agent_id="a"} 0',
        'agent_cpu_ratio{agent_id="a"} 1.5',
        'agent_resident_memory_bytes{agent_id="a"} 1024',
        'agent_last_heartbeat_age_seconds{agent_id="a"} 1.5',
        'agent_scrape_dropped_series{agent_id="a",instance_id="a-1"} 0',
        'manager_build_info{version="1.2.3"} 1.0',
    } <= lines(page)


def test_what_is_not_known_is_not_there_rather_than_zero() -> None:
    idle = target("a", pages=(), usage=(), cpu_percent=None, rss_bytes=None, last_heartbeat_at=None, ready=False)
    page = asyncio.run(fleet_metrics([idle], {}).render()).decode()
    assert 'agent_up{agent_id="a"} 0' in page and 'agent_ready{agent_id="a"} 0' in page
    for name in ("cpu_ratio", "cpu_seconds_total", "resident_memory_bytes", "open_fds", "last_heartbeat_age_seconds"):
        assert f"agent_{name}" not in page


def test_two_instances_of_an_agent_are_one_agent_whose_pages_stay_apart() -> None:
    both = [target("a", "a-1", "a-2", ready_instances=2), target("b")]
    page = asyncio.run(fleet_metrics(both, {"a-1": PAGE, "a-2": PAGE, "b-1": PAGE}).render())
    assert {
        'agent_up{agent_id="a"} 1',
        'agent_instances_ready{agent_id="a"} 2',
        'agent_open_fds{agent_id="a"} 14',
        'agent_cpu_seconds_total{agent_id="a",instance_id="a-1"} 2.5',
        'agent_cpu_seconds_total{agent_id="a",instance_id="a-2"} 2.5',
        'x{agent_id="a",instance_id="a-1"} 1',
        'x{agent_id="a",instance_id="a-2"} 1',
    } <= lines(page)


def test_an_agent_is_up_while_the_page_of_one_of_its_processes_can_be_read() -> None:
    page = asyncio.run(fleet_metrics([target("a", "a-1", "a-2")], {"a-2": PAGE}).render())
    assert {'agent_up{agent_id="a"} 1', 'x{agent_id="a",instance_id="a-2"} 1'} <= lines(page)
    assert b'x{agent_id="a",instance_id="a-1"}' not in page


def test_a_process_that_has_gone_leaves_nothing_behind_and_its_successor_is_counted_for_itself() -> None:
    targets = [target("a", "old")]
    metrics = fleet_metrics(targets, {"old": PAGE.replace(b"x 1", b"x 9"), "new": PAGE})

    async def scenario() -> tuple[bytes, bytes]:
        before = await metrics.render()
        targets[0] = target("a", "new")
        return before, await metrics.render()

    before, after = asyncio.run(scenario())
    assert 'x{agent_id="a",instance_id="old"} 9' in lines(before)
    assert 'x{agent_id="a",instance_id="new"} 1' in lines(after)
    assert b'instance_id="old"' not in after


def test_a_sidecar_has_no_page_to_be_up() -> None:
    page = asyncio.run(fleet_metrics([target("tool", is_sidecar=True, pages=())], {}).render())
    assert 'agent_ready{agent_id="tool"} 1' in lines(page)
    assert b"agent_up{" not in page


def test_what_others_count_of_the_agents_stands_on_the_page_too() -> None:
    def counted(agent_ids: Collection[str]) -> list[Family]:
        family = Family("agent_exits_total", "counter", "Ends.")
        for agent_id in agent_ids:
            family.add(3, agent_id=agent_id)
        return [family]

    lies = PAGE + b"# TYPE agent_exits_total counter\nagent_exits_total 99\n"
    page = asyncio.run(fleet_metrics([target("a"), target("b")], {"a-1": lies}, sources=[counted]).render())
    assert {'agent_exits_total{agent_id="a"} 3', 'agent_exits_total{agent_id="b"} 3'} <= lines(page)
    assert b'agent_exits_total{agent_id="a",instance_id' not in page


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, content=PAGE),
        httpx.Response(302, headers={"Location": "http://good:1/metrics"}),
        httpx.Response(200, content=b"<html>\n"),
        httpx.Response(200, content=b"x \xff\n"),
        httpx.Response(200, content=b"#" * (MAX_PAGE_BYTES + 1)),
        httpx.Response(200, content=gzip.compress(PAGE), headers={"Content-Encoding": "gzip"}),
        None,
    ],
    ids=["500", "redirect", "html", "not UTF-8", "over a megabyte", "compressed", "broken off"],
)
def test_a_page_that_cannot_be_read_costs_its_agent_up_and_nothing_else(answer: httpx.Response | None) -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.host == "good-1":
            return httpx.Response(200, content=PAGE)
        if answer is None:
            raise BrokenExchange("it closed the connection before it answered")
        return answer

    metrics = fleet_metrics([target("bad"), target("good")], answers)
    with structlog.testing.capture_logs() as logged:
        page = asyncio.run(metrics.render())
    assert {'agent_up{agent_id="bad"} 0', 'agent_up{agent_id="good"} 1'} <= lines(page)
    assert 'x{agent_id="good",instance_id="good-1"} 1' in lines(page)
    assert parse(page.decode())
    assert [entry["agent_id"] for entry in logged] == ["bad"]


class Dripping(httpx.AsyncByteStream):
    """Sends a line, and then never another one."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x 1\n"
        await asyncio.Event().wait()


def test_a_page_that_does_not_end_is_given_up() -> None:
    def answers(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Dripping())

    page = asyncio.run(fleet_metrics([target("a")], answers, timeout_seconds=0.01).render())
    assert 'agent_up{agent_id="a"} 0' in lines(page)


def test_an_endless_page_is_read_to_the_limit_only() -> None:
    sent = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 65_536
                yield b"\n" * 65_536

    def answers(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless())

    page = asyncio.run(fleet_metrics([target("a")], answers).render())
    assert 'agent_up{agent_id="a"} 0' in lines(page)
    assert sent <= MAX_PAGE_BYTES + 65_536


def test_all_agents_are_asked_at_once() -> None:
    async def rendered() -> bytes:
        everybody_asked = asyncio.Barrier(20)

        class Waiting(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                await everybody_asked.wait()
                yield PAGE

        targets = [target(f"a{number}") for number in range(20)]
        return await fleet_metrics(targets, lambda _: httpx.Response(200, stream=Waiting())).render()

    page = asyncio.run(rendered()).decode()
    assert page.count('agent_up{agent_id="a') == 20 and "} 0" not in page.split("# HELP agent_ready")[0]


def test_an_unreadable_page_is_logged_once_until_it_has_been_read_again() -> None:
    pages: Iterator[bytes] = iter([b"?", b"?", PAGE, b"?"])
    metrics = fleet_metrics([target("a")], lambda _: httpx.Response(200, content=next(pages)))

    async def logged_lines() -> list[int]:
        counts = []
        for _ in range(4):
            with structlog.testing.capture_logs() as logged:
                await metrics.render()
            counts.append(len(logged))
        return counts

    assert asyncio.run(logged_lines()) == [1, 0, 0, 1]


def test_an_agent_cannot_speak_for_the_manager_or_for_another_agent() -> None:
    lies = (
        b'agent_up{agent_id="good"} 0\n'
        b'manager_build_info{version="9"} 1\n'
        b'# TYPE x gauge\nx{agent_id="good",instance_id="good-1"} 99\n'
    )
    page = asyncio.run(fleet_metrics([target("bad"), target("good")], {"bad-1": lies, "good-1": PAGE}).render())
    assert {
        'agent_up{agent_id="good"} 1',
        'x{agent_id="good",instance_id="good-1"} 1',
        'x{agent_id="bad",instance_id="bad-1",exported_agent_id="good",exported_instance_id="good-1"} 99',
        'agent_scrape_dropped_series{agent_id="bad",instance_id="bad-1"} 2',
    } <= lines(page)
    assert b'version="9"' not in page


def test_a_page_that_stays_as_it_is_is_not_read_again_and_one_that_changes_is(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(page: str, labels: dict[str, str] | None = None) -> list[Family]:
        read.extend((labels or {}).values())
        return parse(page, labels)

    monkeypatch.setattr(metrics_module, "parse", noted)
    pages = {"a-1": PAGE, "b-1": PAGE, "b-2": PAGE}
    targets = [target("a"), target("b")]
    metrics = fleet_metrics(targets, pages)

    async def rendered() -> set[str]:
        read.clear()
        return lines(await metrics.render())

    async def scenario() -> None:
        await rendered()
        assert read == ["a", "a-1", "b", "b-1"]
        assert 'x{agent_id="a",instance_id="a-1"} 1' in await rendered()
        assert read == []
        pages["a-1"] = PAGE.replace(b"x 1", b"x 2")
        assert 'x{agent_id="a",instance_id="a-1"} 2' in await rendered()
        assert read == ["a", "a-1"]
        targets[1] = target("b", "b-2")
        assert 'x{agent_id="b",instance_id="b-2"} 1' in await rendered()
        assert read == ["b", "b-2"]

    asyncio.run(scenario())


def test_no_targets_is_a_page_too() -> None:
    assert b"manager_build_info" in asyncio.run(fleet_metrics([], {}).render())


def test_a_fleet_of_200_costs_little_cpu() -> None:
    buckets = "".join(f'd_seconds_bucket{{le="{number}"}} 1\n' for number in range(40))
    body = f"# HELP d_seconds Help.\n# TYPE d_seconds histogram\n{buckets}d_seconds_count 1\nd_seconds_sum 1\n"
    targets = [target(f"a{number:03}") for number in range(200)]
    metrics = fleet_metrics(targets, {f"{one.agent_id}-1": body.encode() for one in targets})

    async def cheapest_of_three() -> float:
        costs = []
        for _ in range(3):
            started = time.process_time()
            await metrics.render()
            costs.append(time.process_time() - started)
        return min(costs)

    # Measured: 0.02 s where no page has changed. The bound is wide, for slow machines.
    assert asyncio.run(cheapest_of_three()) < 0.5
