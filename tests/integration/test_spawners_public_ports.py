"""Ports that outlive the processes which serve them, with every spawner."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import httpx
import pytest

from manager.errors import SpawnFailed
from manager.supervision.free_port import free_port
from manager.supervision.process import Exit
from tests.fixtures.adapter import fake_manager
from tests.fixtures.gate import Gate
from tests.integration.spawning import Workshop, ended, http, kinds, registered, scenario, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")


@kinds
def test_a_public_port_is_served_and_keeps_connections_waiting_while_nobody_is_there(kind: str, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")

    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            first = shop.adapter(manager, public_port=port)
            process = await shop.start(first)
            own_url = await registered(manager, first)
            async with http(f"http://127.0.0.1:{port}") as public, http(own_url) as own:
                info = (await public.get("/info")).json()
                assert info == (await own.get("/info")).json()
                assert info["instance_id"] == first.instance_id
            process.kill()
            await ended(process)
            async with http(f"http://127.0.0.1:{port}") as public:
                waiting = asyncio.create_task(public.get("/info"))
                await until(lambda: _is_connected(port), "the connection")
                second = shop.adapter(manager, public_port=port)
                await shop.start(second)
                assert (await waiting).json()["instance_id"] == second.instance_id

    scenario(kind, tmp_path, run)


def _is_connected(port: int) -> bool:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(int(line.split()[2].split(":")[1], 16) == port and line.split()[3] == "01" for line in lines)


@kinds
def test_released_a_public_port_is_closed(kind: str, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")

    async def run(shop: Workshop) -> None:
        process = await shop.start(shop.adapter(public_port=port))
        await shop.says("Agent ready")
        process.kill()
        await ended(process)
        await shop.spawner.release("agent")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
        await shop.spawner.release("agent")
        await shop.start(shop.adapter(public_port=port))

    scenario(kind, tmp_path, run)


@kinds
def test_a_public_port_that_is_taken_refuses_the_start_and_names_it(kind: str, tmp_path: Path) -> None:
    async def run(shop: Workshop) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(SpawnFailed, match=f"Port {port} on 127.0.0.1 is in use"):
                await shop.start(shop.adapter(public_port=port))
        await shop.start(shop.adapter(public_port=port))

    scenario(kind, tmp_path, run)


@kinds
def test_a_successor_takes_the_public_port_over_without_a_failed_request(kind: str, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    answers: list[tuple[int, str]] = []

    async def ask(client: httpx.AsyncClient, done: asyncio.Event, headers: dict[str, str]) -> None:
        while not done.is_set():
            answer = await client.post("/execute", json={"parameters": {"sleep_ms": 5}}, headers=headers)
            answers.append((answer.status_code, answer.text))

    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            old = shop.adapter(manager, public_port=port)
            old_process = await shop.start(old)
            old_url = await registered(manager, old)
            done = asyncio.Event()
            async with http(f"http://127.0.0.1:{port}") as public, http(old_url) as own:
                kinds = ({}, {"Connection": "close"})
                asking = [asyncio.create_task(ask(public, done, kinds[n % 2])) for n in range(6)]
                await until(lambda: len(answers) > 20, "the first answers")
                new = shop.adapter(manager, public_port=port)
                await shop.start(new)
                await registered(manager, new)
                assert (await own.post("/action", json={"action": "restart"})).status_code == 202
                assert await ended(old_process) == Exit(code=0)
                seen = len(answers)
                await until(lambda: len(answers) > seen + 20, "answers of the successor")
                done.set()
                await asyncio.gather(*asking)
                assert (await public.get("/info")).json()["instance_id"] == new.instance_id
        assert {status for status, _ in answers} == {200}, answers

    scenario(kind, tmp_path, run)


@kinds
def test_a_restart_closes_public_connections_idle_ones_now_and_busy_ones_after_their_answer(
    kind: str, tmp_path: Path
) -> None:
    port = free_port("127.0.0.1")

    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            launch = shop.adapter(manager, public_port=port)
            process = await shop.start(launch)
            own_url = await registered(manager, launch)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b'"ok"}')
            async with http(f"http://127.0.0.1:{port}") as public, http(own_url) as own:
                gate = Gate()
                busy = asyncio.create_task(public.post("/execute", json={"parameters": gate.parameters}))
                while not (await own.get("/status")).json()["in_flight"]:
                    await asyncio.sleep(0.01)
                await own.post("/action", json={"action": "restart"})
                assert await reader.read() == b""
                writer.close()
                gate.open()
                answer = await busy
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            assert await ended(process) == Exit(code=0)

    scenario(kind, tmp_path, run)


@kinds
def test_a_stopping_agent_says_so_at_its_public_port(kind: str, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")

    async def run(shop: Workshop) -> None:
        with fake_manager() as manager:
            launch = shop.adapter(manager, public_port=port)
            process = await shop.start(launch)
            async with http(await registered(manager, launch)) as own, http(f"http://127.0.0.1:{port}") as public:
                gate = Gate()
                busy = asyncio.create_task(public.post("/execute", json={"parameters": gate.parameters}))
                while not (await own.get("/status")).json()["in_flight"]:
                    await asyncio.sleep(0.01)
                await own.post("/action", json={"action": "stop"})
                refused = await public.post("/execute", json={"parameters": {}})
                assert (refused.status_code, refused.json()["state"]) == (409, "stopping")
                gate.open()
                assert (await busy).status_code == 200
            assert await ended(process) == Exit(code=0)

    scenario(kind, tmp_path, run)
