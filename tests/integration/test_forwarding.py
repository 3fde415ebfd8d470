"""The forward path of a real manager, between raw sockets on both sides."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config
from tests.integration.raw_adapter import OK, Peer, RawAdapter, answering, answering_once, raw_adapter
from tests.integration.raw_client import BODY, Client

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = CHUNKED.replace(b"text/plain", b"text/event-stream")
_SECONDS = 30.0


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    directory: Path = tmp_path_factory.mktemp("forwarding")
    config = write_config(
        directory,
        [{"id": "echo"}, {"id": "keen", "cancelOnDisconnect": False}, {"id": "brief", "executeTimeoutSeconds": 0.5}],
        heartbeatTtlSeconds=600,
        maxBodyBytes=20_000_000,
        executeTimeoutSeconds=20,
        queueWhileRestartingSeconds=1,
    )
    with running_manager(config) as running:
        for agent_id in ("echo", "keen", "brief"):
            running.wait_for(agent_id, "running")
        yield running


@pytest.fixture
def adapter(manager: ManagerProcess, request: pytest.FixtureRequest) -> Iterator[RawAdapter]:
    """One of its own for each test: a circuit that one test opens is not another's."""
    with raw_adapter(manager, f"raw-{abs(hash(request.node.name)) % 10**9}") as found:
        yield found


MALFORMED = {
    "no HTTP": b"garbage\r\n\r\n",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an oversized head": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 60_000,
    "a switch of protocols": b"HTTP/1.1 101 No\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_a_502(manager: ManagerProcess, adapter: RawAdapter, data: bytes) -> None:
    adapter.behave = answering_once(data)
    answer = manager.http.post(adapter.path, content=BODY)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert "look at its log before you send it again" in answer.json()["detail"]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi",
        CHUNKED + b"2\r\nhi\r\n",
        CHUNKED + b"2\r\nhi\r\nzz\r\n",
    ],
    ids=["short body", "chunks without end", "a bad chunk"],
)
def test_an_answer_that_breaks_off_never_ends_as_if_it_were_whole(
    manager: ManagerProcess, adapter: RawAdapter, data: bytes
) -> None:
    adapter.behave = answering_once(data)
    with pytest.raises(httpx.RemoteProtocolError):
        manager.http.post(adapter.path, content=BODY)


def test_an_event_stream_that_breaks_off_says_so(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering_once(EVENTS + b"d\r\nevent: chunk\n\n\r\n")
    answer = manager.http.post(adapter.path, content=BODY)
    assert answer.text.startswith("event: chunk\n\n")
    last = answer.text.strip().rpartition("data: ")[2]
    assert json.loads(last)["status"] == 502


def test_the_answer_may_break_off_at_every_byte(manager: ManagerProcess, adapter: RawAdapter) -> None:
    for end in range(len(OK)):
        adapter.behave = answering_once(OK[:end])
        try:
            answer = manager.http.post(adapter.path, content=BODY)
        except httpx.RemoteProtocolError:
            pass
        else:
            assert answer.status_code == 502, OK[:end]
        # Between the failures an answer, lest the circuit opens.
        adapter.behave = answering_once(OK)
        assert manager.http.post(adapter.path, content=BODY).text == "hi"


def test_the_request_may_break_off_at_every_byte(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering(OK)
    with Client(manager) as sizing:
        request = sizing.whole(adapter.path)
    for end in range(0, len(request)):
        with Client(manager) as client:
            client.socket.sendall(request[:end])
    # A body of declared length is read before an instance is chosen: nothing of these reached the adapter.
    assert adapter.connections == 0
    assert manager.http.post(adapter.path, content=BODY).text == "hi"


def test_a_connection_is_used_for_one_request_after_the_other(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering(OK)
    for _ in range(5):
        assert manager.http.post(adapter.path, content=BODY).text == "hi"
    assert adapter.connections == 1


def test_an_adapter_that_closes_after_each_answer_costs_no_request(
    manager: ManagerProcess, adapter: RawAdapter
) -> None:
    adapter.behave = answering_once(OK)
    for _ in range(50):
        assert manager.http.post(adapter.path, content=BODY).text == "hi"
        # A request that meets the close on its way may have been read or not: no proxy can tell.
        adapter.until_all_closed()
    assert adapter.connections == 50


@pytest.mark.parametrize(("status", "headers"), [(204, b""), (304, b"Content-Length: 7\r\n")])
def test_answers_without_body_leave_the_connections_in_order(
    manager: ManagerProcess, adapter: RawAdapter, status: int, headers: bytes
) -> None:
    adapter.behave = answering(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, headers))
    for _ in range(2):
        answer = manager.http.post(adapter.path, content=BODY)
        assert (answer.status_code, answer.content) == (status, b"")
    assert adapter.connections == 1


def test_a_body_without_length_ends_with_its_connection(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering_once(b"HTTP/1.0 200 OK\r\n\r\nold style")
    assert manager.http.post(adapter.path, content=BODY).text == "old style"


def test_lengths_stay_lengths_and_chunks_stay_chunks(manager: ManagerProcess, adapter: RawAdapter) -> None:
    framing: list[dict[bytes, bytes]] = []

    def behave(peer: Peer) -> None:
        while peer.asked_again():
            head, body = peer.request()
            assert body == BODY
            framing.append(dict(head.headers))
            peer.send(OK if b"content-length" in framing[-1] else CHUNKED + b"2\r\nhi\r\n0\r\n\r\n")
            peer.next_exchange()

    adapter.behave = behave
    told = manager.http.post(adapter.path, content=BODY)
    assert (told.headers["content-length"], told.text) == ("2", "hi")
    chunks = manager.http.post(adapter.path, content=iter([BODY[:5], BODY[5:]]))
    assert (chunks.headers["transfer-encoding"], chunks.text) == ("chunked", "hi")
    assert framing[0][b"content-length"] == b"%d" % len(BODY)
    assert framing[1][b"transfer-encoding"] == b"chunked"
    assert adapter.failures == []


def test_a_chunk_of_the_answer_arrives_before_the_next_is_made(manager: ManagerProcess, adapter: RawAdapter) -> None:
    may_go_on = threading.Event()

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(EVENTS + b"3\r\n: 1\r\n")
        assert may_go_on.wait(_SECONDS)
        peer.send(b"3\r\n: 2\r\n0\r\n\r\n")

    adapter.behave = behave
    with manager.http.stream("POST", adapter.path, content=BODY) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b": 1"
        may_go_on.set()
        assert b"".join(pieces) == b": 2"


def test_a_piece_of_the_request_arrives_before_the_next_is_sent(manager: ManagerProcess, adapter: RawAdapter) -> None:
    arrived = threading.Event()

    def behave(peer: Peer) -> None:
        peer.head()
        assert peer.piece() == b"first"
        arrived.set()
        assert peer.body() == b"second"
        peer.send(OK)

    def pieces() -> Iterator[bytes]:
        yield b"first"
        assert arrived.wait(_SECONDS)
        yield b"second"

    adapter.behave = behave
    assert manager.http.post(adapter.path, content=pieces()).text == "hi"
    assert adapter.failures == []


def test_the_adapter_is_asked_whether_it_wants_the_body(manager: ManagerProcess, adapter: RawAdapter) -> None:
    def behave(peer: Peer) -> None:
        assert (b"expect", b"100-continue") in peer.head().headers
        asked.set()
        assert may_go_on.wait(_SECONDS)
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.body() == BODY
        peer.send(OK)

    asked, may_go_on = threading.Event(), threading.Event()
    adapter.behave = behave
    with Client(manager) as client:
        client.socket.sendall(client.head(adapter.path, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert asked.wait(_SECONDS)
        may_go_on.set()
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.socket.sendall(BODY)
        assert client.until(b"hi").startswith(b"HTTP/1.1 200 OK\r\n")
    assert adapter.failures == []


def test_an_answer_before_the_end_of_the_request_passes(manager: ManagerProcess, adapter: RawAdapter) -> None:
    def behave(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        peer.until_hung_up()

    adapter.behave = behave
    with Client(manager) as client:
        client.socket.sendall(client.head(adapter.path, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        answer = client.until(b"no")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close\r\n" not in answer.lower()


@pytest.mark.parametrize("declared", [True, False], ids=["by its length", "by counting"])
def test_a_body_over_the_limit_is_refused(manager: ManagerProcess, adapter: RawAdapter, declared: bool) -> None:
    adapter.behave = lambda peer: peer.until_hung_up()
    size = 20_000_001
    content: bytes | Iterator[bytes] = b"x" * size if declared else iter([b"x" * (size // 4)] * 5)
    with Client(manager) as client:
        if declared:
            client.socket.sendall(client.head(adapter.path, f"Content-Length: {size}"))
        else:
            client.socket.sendall(client.head(adapter.path, "Transfer-Encoding: chunked"))
            for piece in content:
                assert isinstance(piece, bytes)
                client.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert client.until(b"\r\n").startswith(b"HTTP/1.1 413 ")
    assert adapter.connections == (0 if declared else 1)


def test_a_client_that_hangs_up_hangs_up_on_the_adapter_within_a_tenth_of_a_second(
    manager: ManagerProcess, adapter: RawAdapter
) -> None:
    taken, gone = threading.Event(), threading.Event()

    def behave(peer: Peer) -> None:
        peer.request()
        taken.set()
        peer.until_hung_up()
        gone.set()

    adapter.behave = behave
    waited = []
    for _ in range(5):
        with Client(manager) as client:
            client.socket.sendall(client.whole(adapter.path))
            assert taken.wait(_SECONDS)
        before = time.monotonic()
        assert gone.wait(_SECONDS)
        waited.append(time.monotonic() - before)
        taken.clear()
        gone.clear()
    assert min(waited) < 0.1


def test_a_client_that_leaves_during_a_stream_hangs_up_on_the_adapter(
    manager: ManagerProcess, adapter: RawAdapter
) -> None:
    gone = threading.Event()

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(EVENTS + b"3\r\n: 1\r\n")
        peer.until_hung_up()
        gone.set()

    adapter.behave = behave
    with Client(manager) as client:
        client.socket.sendall(client.whole(adapter.path))
        client.until(b": 1\r\n")
    assert gone.wait(_SECONDS)


@pytest.mark.parametrize(
    ("agent_id", "sleep_ms", "outcome"), [("echo", 600_000, "cancelled"), ("keen", 1500, "succeeded")]
)
def test_a_task_whose_client_has_gone_is_cancelled_unless_the_agent_wants_it_done(
    manager: ManagerProcess, agent_id: str, sleep_ms: int, outcome: str
) -> None:
    def count() -> float:
        page = manager.http.get("/metrics").text.splitlines()
        lines = [line for line in page if line.startswith("agent_tasks_total") and f'agent_id="{agent_id}"' in line]
        return sum(float(line.split()[-1]) for line in lines if f'outcome="{outcome}"' in line)

    before = count()
    status = f"/api/agent-services/{agent_id}/status"
    body = b'{"parameters": {"sleep_ms": %d}}' % sleep_ms
    with Client(manager) as client:
        client.socket.sendall(client.head(status.replace("status", "execute"), f"Content-Length: {len(body)}") + body)
        until(lambda: manager.http.get(status).json()["in_flight"] == 1, "the task is in flight")
    until(lambda: count() == before + 1, f"the task is {outcome}")


def test_a_task_over_its_time_is_a_504_and_is_cancelled(manager: ManagerProcess) -> None:
    answer = manager.execute("brief", sleep_ms=60_000)
    assert answer.status_code == 504
    status = "/api/agent-services/brief/status"
    until(lambda: manager.http.get(status).json()["in_flight"] == 0, "the task is cancelled")


def test_each_answer_says_where_the_time_went(manager: ManagerProcess) -> None:
    answer = manager.execute("echo", sleep_ms=100)
    times = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(times) == ["queue", "connect", "agent", "total"]
    # uvloop's timers are set from the time at which the loop last woke, and so may fire early.
    assert 50 <= float(times["agent"]) <= float(times["total"])
    refused = manager.http.post("/api/agent-services/echo/execute", content=b"x" * 20_000_001)
    assert refused.status_code == 413
    assert refused.headers["server-timing"].startswith("total;dur=")


def test_the_ids_of_a_request_are_on_both_sides_and_in_the_access_log(
    manager: ManagerProcess, adapter: RawAdapter
) -> None:
    heads = []

    def behave(peer: Peer) -> None:
        heads.append(dict(peer.request()[0].headers))
        peer.send(OK)

    adapter.behave = behave
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Request-ID": "find-me", "traceparent": trace}
    answer = manager.http.post(adapter.path, content=BODY, headers=headers)
    assert answer.headers["x-request-id"] == "find-me"
    assert (heads[0][b"x-request-id"], heads[0][b"traceparent"]) == (b"find-me", trace.encode())
    log = manager.directory / "logs" / "access.log"
    until(lambda: log.exists() and "find-me" in log.read_text(), "the line is written")
    line = next(json.loads(line) for line in log.read_text().splitlines() if "find-me" in line)
    assert (line["status"], line["agent_id"], line["outcome"], line["bytes"]) == (200, adapter.agent_id, "2xx", 2)
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["agent_ms"] <= line["duration_ms"]


def test_forwarded_requests_are_counted_by_agent_and_outcome(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering_once(OK)
    manager.http.post(adapter.path, content=BODY)
    adapter.behave = answering_once(b"garbage\r\n\r\n")
    manager.http.post(adapter.path, content=BODY)
    page = manager.http.get("/metrics").text
    for outcome in ("2xx", "5xx"):
        assert f'manager_forward_requests_total{{agent_id="{adapter.agent_id}",outcome="{outcome}"}} 1' in page
    assert f'manager_forward_duration_seconds_count{{agent_id="{adapter.agent_id}"}} 2' in page


def test_a_slow_reader_holds_up_the_adapter_and_nobody_else(manager: ManagerProcess, adapter: RawAdapter) -> None:
    sent = 0

    def behave(peer: Peer) -> None:
        nonlocal sent
        peer.request()
        peer.send(CHUNKED)
        peer.socket.settimeout(2)
        try:
            for _ in range(1000):
                peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        except TimeoutError:
            stuck.set()

    stuck = threading.Event()
    adapter.behave = behave
    with Client(manager) as client:
        client.socket.sendall(client.whole(adapter.path))
        assert stuck.wait(_SECONDS), "the adapter could send everything"
        assert manager.execute("echo", a=1).status_code == 200
    # What the kernel's and the manager's buffers hold, and not all.
    assert sent < 1000 * 65536


def test_a_client_that_sends_half_a_stream_and_stops_does_not_hang_the_adapter_up_early(
    manager: ManagerProcess, adapter: RawAdapter
) -> None:
    got = threading.Event()

    def behave(peer: Peer) -> None:
        peer.head()
        assert peer.piece() == b"hello"
        got.set()
        peer.until_hung_up()

    adapter.behave = behave
    with Client(manager) as client:
        client.socket.sendall(client.head(adapter.path, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n")
        assert got.wait(_SECONDS)
        assert manager.execute("echo", a=1).status_code == 200
    adapter.behave = answering_once(OK)
    assert manager.http.post(adapter.path, content=BODY).text == "hi"
    assert adapter.failures == []
