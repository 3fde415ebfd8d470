"""Interim answers and trailers, through a real manager. h11, which is strict, reads them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import h11
import httpx
import pytest

from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config
from tests.integration.raw_adapter import OK, Peer, RawAdapter, answering, raw_adapter
from tests.integration.raw_client import BODY, Client

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum, Content-Length\r\n\r\n"
TRAILED = HEAD + b"2\r\nhi\r\n0\r\nX-Checksum: 1\r\nSet-Cookie: a=b\r\nX-Request-ID: x\r\n\r\n"
_SECONDS = 30.0


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    directory: Path = tmp_path_factory.mktemp("interim")
    config = write_config(directory, [{"id": "echo"}], heartbeatTtlSeconds=600, queueWhileRestartingSeconds=1)
    with running_manager(config) as running:
        running.wait_for("echo", "running")
        yield running


@pytest.fixture
def adapter(manager: ManagerProcess, request: pytest.FixtureRequest) -> Iterator[RawAdapter]:
    with raw_adapter(manager, f"raw-{abs(hash(request.node.name)) % 10**9}") as found:
        yield found


class Strict(Client):
    """Sends requests and reads their answers by h11, one after the other on one connection."""

    def __init__(self, manager: ManagerProcess) -> None:
        super().__init__(manager)
        self._h11 = h11.Connection(h11.CLIENT)

    def post(self, path: str, *headers: tuple[str, str]) -> None:
        own = [("Host", self.host), ("Content-Length", str(len(BODY)))]
        request = h11.Request(method="POST", target=path, headers=[*own, *headers])
        for event in (request, h11.Data(BODY), h11.EndOfMessage()):
            self.socket.sendall(self._h11.send(event) or b"")

    def next(self) -> h11.Event:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(self.socket.recv(65536))
        assert isinstance(event, h11.Event), event
        return event

    def answer(self) -> tuple[list[int], h11.Response, bytes, list[tuple[bytes, bytes]]]:
        """The statuses before it, its head, its body and its trailers."""
        interim, data = [], b""
        while isinstance(head := self.next(), h11.InformationalResponse):
            interim.append(head.status_code)
        assert isinstance(head, h11.Response)
        while not isinstance(event := self.next(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            data += bytes(event.data)
        self._h11.start_next_cycle()
        return interim, head, data, list(event.headers)


def test_an_interim_answer_arrives_before_the_answer_is_made(manager: ManagerProcess, adapter: RawAdapter) -> None:
    may_go_on = threading.Event()

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(HINTS)
        assert may_go_on.wait(_SECONDS)
        peer.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 What\r\n\r\n" + OK)

    adapter.behave = behave
    with Strict(manager) as client:
        client.post(adapter.path)
        hints = client.next()
        assert isinstance(hints, h11.InformationalResponse)
        assert (hints.status_code, list(hints.headers)) == (103, [(b"link", b"</a>")])
        may_go_on.set()
        interim, head, data, _ = client.answer()
        assert (interim, head.status_code, data) == ([102, 199], 200, b"hi")
    assert adapter.failures == []


def test_connections_on_both_sides_serve_on_after_interim_answers_and_trailers(
    manager: ManagerProcess, adapter: RawAdapter
) -> None:
    adapter.behave = answering(HINTS + TRAILED)
    with Strict(manager) as client:
        for asks in (True, False, True):
            client.post(adapter.path, *([("TE", "trailers"), ("Connection", "TE")] if asks else []))
            interim, head, data, trailers = client.answer()
            assert (interim, head.status_code, data) == ([103], 200, b"hi")
            assert trailers == ([(b"x-checksum", b"1")] if asks else [])
            announced = [value for name, value in head.headers if name == b"trailer"]
            assert announced == ([b"x-checksum"] if asks else [])
            # Neither is ever a header of the answer.
            assert not {b"link", b"x-checksum", b"x-hop"} & {name for name, _ in head.headers}
    assert adapter.connections == 1


def test_the_adapter_learns_that_trailers_are_wanted(manager: ManagerProcess, adapter: RawAdapter) -> None:
    asked: list[list[bytes]] = []

    def behave(peer: Peer) -> None:
        for _ in range(2):
            head, _ = peer.request()
            asked.append([value for name, value in head.headers if name in (b"te", b"connection")])
            peer.send(OK)
            peer.next_exchange()

    adapter.behave = behave
    with Strict(manager) as client:
        client.post(adapter.path, ("TE", "gzip, trailers"))
        assert client.answer()[2] == b"hi"
        client.post(adapter.path, ("TE", "gzip"))
        assert client.answer()[2] == b"hi"
    assert asked == [[b"trailers", b"te"], []]


def test_a_client_of_http_1_0_gets_neither(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering(HINTS + TRAILED)
    with Client(manager) as client:
        head = client.head(adapter.path, f"Content-Length: {len(BODY)}", "TE: trailers")
        client.socket.sendall(head.replace(b"HTTP/1.1", b"HTTP/1.0") + BODY)
        answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Early Hints" not in answer and b"checksum" not in answer.lower()
    # Nor chunks.
    assert answer.endswith(b"\r\n\r\nhi") and b"Transfer-Encoding" not in answer.title()


def test_trailers_of_a_request_are_left_out(manager: ManagerProcess, adapter: RawAdapter) -> None:
    def behave(peer: Peer) -> None:
        assert not [value for name, value in peer.head().headers if name == b"trailer"]
        assert peer.piece() == b"hello"
        assert peer.end() == []
        peer.send(OK)

    adapter.behave = behave
    with Client(manager) as client:
        head = client.head(adapter.path, "Transfer-Encoding: chunked", "Trailer: X-Checksum")
        client.socket.sendall(head + b"5\r\nhello\r\n0\r\nX-Checksum: 1\r\nX-Manager-Token: stolen\r\n\r\n")
        assert client.until(b"hi").startswith(b"HTTP/1.1 200 OK\r\n")
    assert adapter.failures == []


FLOODS = {
    "many": b"HTTP/1.1 102 \r\n\r\n" * 100,
    "long": b"HTTP/1.1 103 \r\nLink: " + b"a" * 10_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS)
def test_interim_answers_without_end_are_a_502(manager: ManagerProcess, adapter: RawAdapter, data: bytes) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        try:
            while True:
                peer.send(data)
        except OSError:
            pass

    adapter.behave = behave
    with Strict(manager) as client:
        client.post(adapter.path)
        interim, head, _, _ = client.answer()
        assert head.status_code == 502 and 0 < len(interim) <= 1000


@pytest.mark.parametrize(
    "data",
    [
        HINTS.replace(b"</a>", b"a\x1bb"),
        HINTS.replace(b"HTTP/1.1", b"HTTP/7.7"),
        HINTS.replace(b"Link: ", b"Li nk: "),
        HINTS.replace(b"X-Hop", b"Content-Length"),
        HINTS[:-4],
        HINTS,
    ],
    ids=["a control character", "another version", "a bad name", "a length", "half of one", "nothing after it"],
)
def test_a_malformed_interim_answer_is_a_502(manager: ManagerProcess, adapter: RawAdapter, data: bytes) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(data)

    adapter.behave = behave
    with Strict(manager) as client:
        client.post(adapter.path)
        assert client.answer()[1].status_code == 502


def test_a_malformed_trailer_cuts_the_answer_off(manager: ManagerProcess, adapter: RawAdapter) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(TRAILED.replace(b"X-Checksum: 1", b"X-Checksum: \x1b"))

    adapter.behave = behave
    with pytest.raises(httpx.RemoteProtocolError):
        manager.http.post(adapter.path, content=BODY, headers={"TE": "trailers"})


def test_an_event_stream_with_trailers_that_breaks_off_ends_as_one(
    manager: ManagerProcess, adapter: RawAdapter
) -> None:
    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD.replace(b"Trailer", b"Content-Type: text/event-stream\r\nTrailer") + b"3\r\n: 1\r\n")

    adapter.behave = behave
    with Strict(manager) as client:
        client.post(adapter.path, ("TE", "trailers"))
        _, head, data, trailers = client.answer()
        assert head.status_code == 200 and b"event: error" in data and trailers == []


def test_an_interim_answer_is_no_line_of_the_access_log(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering(HINTS + TRAILED)
    with Strict(manager) as client:
        client.post(adapter.path, ("TE", "trailers"), ("X-Request-ID", "once"))
        client.answer()
    log = manager.directory / "logs" / "access.log"
    until(lambda: log.exists() and '"once"' in log.read_text(), "the line is written")
    (line,) = [line for line in log.read_text().splitlines() if '"once"' in line]
    assert json.loads(line)["status"] == 200
    page = manager.http.get("/metrics").text
    assert f'manager_forward_requests_total{{agent_id="{adapter.agent_id}",outcome="2xx"}} 1' in page


def test_a_call_with_a_key_has_interim_answers_and_no_trailers(manager: ManagerProcess, adapter: RawAdapter) -> None:
    adapter.behave = answering(HINTS + TRAILED)
    with Strict(manager) as client:
        for told in ([103], []):
            client.post(adapter.path, ("TE", "trailers"), ("Idempotency-Key", "k"))
            interim, head, data, trailers = client.answer()
            assert (interim, head.status_code, data, trailers) == (told, 200, b"hi", [])
