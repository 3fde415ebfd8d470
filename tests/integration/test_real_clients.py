"""The forward path under clients that others wrote, and under a gigabyte."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest

from tests.integration.manager_process import ManagerProcess, running_manager, write_config
from tests.integration.raw_adapter import Peer, raw_adapter

GIGABYTE = 1024**3
PIECE = b"x" * (1024 * 1024)
# What the manager may grow by while a gigabyte passes: buffers of both sides, and pages of the allocator.
MAX_GROWTH_BYTES = 40 * 1024 * 1024
TOKEN = "real-clients"
EVENTS = {"Accept": "text/event-stream"}

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    directory: Path = tmp_path_factory.mktemp("clients")
    config = write_config(directory, [{"id": "echo"}], maxBodyBytes=GIGABYTE, heartbeatTtlSeconds=600)
    with running_manager(config, environment={"MANAGER_TOKEN": TOKEN}) as running:
        running.wait_for("echo", "running")
        yield running


def url(manager: ManagerProcess, agent_id: str = "echo") -> str:
    return f"{manager.url}/api/agent-services/{agent_id}/execute"


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"install {name}: scripts/install-full does"
    return found


def test_httpx_sends_many_at_once_and_reads_streams(manager: ManagerProcess) -> None:
    async def scenario() -> None:
        limits = httpx.Limits(max_connections=50)
        headers = {"X-Manager-Token": TOKEN}
        async with httpx.AsyncClient(limits=limits, headers=headers, timeout=30, trust_env=False) as client:
            bodies = [{"parameters": {"number": number, "filler": "x" * number * 100}} for number in range(300)]
            answers = await asyncio.gather(*(client.post(url(manager), json=body) for body in bodies))
            assert [answer.json()["result"]["echo"]["number"] for answer in answers] == list(range(300))
            body = {"parameters": {"stream": 20}}
            async with client.stream("POST", url(manager), json=body, headers=EVENTS) as answer:
                text = "".join([piece async for piece in answer.aiter_text()])
            assert text.count("event: chunk") == 20
            assert text.count("event: result") == 1

    asyncio.run(scenario())


def test_aiohttp_sends_in_chunks_asks_first_and_reads_streams(manager: ManagerProcess) -> None:
    async def pieces() -> object:
        for piece in (b'{"parameters": ', b'{"a": ', b"1}}"):
            yield piece
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        async with aiohttp.ClientSession(headers={"X-Manager-Token": TOKEN}) as session:
            for _ in range(20):
                async with session.post(url(manager), data=pieces()) as answer:
                    assert (await answer.json())["result"] == {"echo": {"a": 1}}
            async with session.post(url(manager), json={"parameters": {"b": 2}}, expect100=True) as answer:
                assert (await answer.json())["result"] == {"echo": {"b": 2}}
            async with session.post(url(manager), json={"parameters": {"stream": 20}}, headers=EVENTS) as answer:
                assert (await answer.text()).count("event: chunk") == 20

    asyncio.run(scenario())


def test_curl_uploads_a_file_and_follows_a_stream(manager: ManagerProcess, tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"parameters": {"text": "x" * 3_000_000}}))
    common = [tool("curl"), "-sS", "--fail-with-body", "-H", f"X-Manager-Token: {TOKEN}", url(manager)]
    # Over a megabyte curl asks first, by itself.
    for options in (["--data-binary", f"@{task}"], ["-H", "Transfer-Encoding: chunked", "--data-binary", f"@{task}"]):
        done = subprocess.run([*common, *options], check=True, capture_output=True, timeout=60)
        assert len(json.loads(done.stdout)["result"]["echo"]["text"]) == 3_000_000
    stream = ["-N", "-H", "Accept: text/event-stream", "-d", '{"parameters": {"stream": 5}}']
    done = subprocess.run([*common, *stream], check=True, capture_output=True, timeout=60)
    assert done.stdout.count(b"event: chunk") == 5


def test_curl_shows_early_hints_and_trailers(manager: ManagerProcess, tmp_path: Path) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n")
        peer.send(b"2\r\nhi\r\n0\r\nX-Checksum: 1\r\n\r\n")

    heads = tmp_path / "heads"
    with raw_adapter(manager, "hints") as adapter:
        adapter.behave = behave
        headers = ["-H", f"X-Manager-Token: {TOKEN}", "-H", "TE: trailers", "-H", "Connection: TE"]
        command = [tool("curl"), "-sS", "--raw", "-D", heads, "-d", "{}", *headers, url(manager, "hints")]
        done = subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert adapter.failures == []
    hints, answer = heads.read_text().split("\n\n")[:2]
    assert hints.split("\n") == ["HTTP/1.1 103 Early Hints", "link: </a>"]
    assert answer.startswith("HTTP/1.1 200 OK\n") and "\ntrailer: x-checksum" in answer
    assert done.stdout == b"2\r\nhi\r\n0\r\nx-checksum: 1\r\n\r\n"


def test_wrk_loads_it_without_one_failure(manager: ManagerProcess, tmp_path: Path) -> None:
    script = tmp_path / "post.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.body = \'{"parameters": {}}\'\n'
        f'wrk.headers["X-Manager-Token"] = "{TOKEN}"\n'
        "done = function(summary) local e = summary.errors\n"
        "io.write(e.connect + e.read + e.write + e.status + e.timeout) end\n"
    )
    command = [tool("wrk"), "-t1", "-c64", "-d5", "--timeout", "20", "-s", script, url(manager)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("\n0"), done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_gigabyte_passes_through_memory_that_does_not_grow(
    manager: ManagerProcess, direction: str, framing: str
) -> None:
    def behave(peer: Peer) -> None:
        peer.head()
        while (piece := peer.piece()) is not None:
            counted.append(len(piece))
        size = 0 if direction == "up" else GIGABYTE
        send_body(peer.socket, f"HTTP/1.1 200 OK\r\n{head_of(framing, size)}\r\n".encode(), framing, size)

    counted: list[int] = []
    size = GIGABYTE if direction == "up" else 0
    process = psutil.Process(manager.process.pid)
    before = process.memory_info().rss
    with raw_adapter(manager, f"{direction}-{framing}") as adapter:
        adapter.behave = behave
        target = httpx.URL(url(manager, adapter.agent_id))
        with socket.create_connection((target.host, target.port or 80), 120) as client:
            head = (
                f"POST {target.path} HTTP/1.1\r\nHost: {target.host}\r\nX-Manager-Token: {TOKEN}\r\n"
                f"Connection: close\r\n{head_of(framing, size)}\r\n"
            )
            sending = threading.Thread(target=send_body, args=(client, head.encode(), framing, size))
            sending.start()
            received, highest = 0, before
            while piece := client.recv(len(PIECE)):
                received += len(piece)
                highest = max(highest, process.memory_info().rss)
            sending.join()
        assert adapter.failures == []
    highest = max(highest, process.memory_info().rss)
    assert sum(counted) == size
    assert received > (GIGABYTE if direction == "down" else 0)
    assert highest - before < MAX_GROWTH_BYTES


def head_of(framing: str, size: int) -> str:
    return f"Content-Length: {size}\r\n" if framing == "length" else "Transfer-Encoding: chunked\r\n"


def send_body(connection: socket.socket, head: bytes, framing: str, size: int) -> None:
    connection.sendall(head)
    piece = PIECE if framing == "length" else b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    for _ in range(size // len(PIECE)):
        connection.sendall(piece)
    if framing == "chunks":
        connection.sendall(b"0\r\n\r\n")


@pytest.mark.timeout(240)
def test_a_short_soak_finds_no_leak() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [root / "scripts" / "soak", "1"], cwd=root, capture_output=True, text=True, timeout=220, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
