from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from agent_service.http.prompt_writing import PromptWriter

pytestmark = pytest.mark.skipif(not hasattr(socket, "socketpair"), reason="no pair of sockets here")


class Transport:
    """Over one end of a pair; notes what it is given to write."""

    def __init__(self, own: socket.socket | None, *, ssl_object: object = None) -> None:
        self.info = {"socket": own, "ssl_object": ssl_object}
        self.written: list[bytes] = []
        self.is_closed = False
        self.waiting = 0

    def get_extra_info(self, name: str) -> object:
        return self.info[name]

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.is_closed

    def write(self, data: bytes) -> None:
        self.written.append(data)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def test_what_the_socket_takes_is_sent_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(pair[0])
    writer = PromptWriter(transport)  # type: ignore[arg-type]
    writer.write(b"one ")
    writer.write(b"two")
    assert pair[1].recv(100) == b"one two" and transport.written == []


def test_the_rest_is_the_transports(pair: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(pair[0])
    writer = PromptWriter(transport)  # type: ignore[arg-type]
    data = bytes(range(256)) * 40_000
    writer.write(data)
    (rest,) = transport.written
    received = b""
    while len(received) < len(data) - len(rest):
        received += pair[1].recv(1 << 20)
    assert received + rest == data
    transport.waiting = len(rest)
    writer.write(b"later")
    assert transport.written == [rest, b"later"], "nothing overtakes what waits"


def test_a_full_socket_takes_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(BlockingIOError):
        while True:
            pair[0].send(bytes(1 << 16))
    transport = Transport(pair[0])
    PromptWriter(transport).write(b"all of it")  # type: ignore[arg-type]
    assert transport.written == [b"all of it"]


def test_what_is_wrong_is_left_to_the_transport(pair: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(pair[0])
    writer = PromptWriter(transport)  # type: ignore[arg-type]
    pair[1].close()
    writer.write(b"to nobody")
    transport.is_closed = True
    writer.write(b"too late")
    assert transport.written == [b"to nobody", b"too late"]


def test_a_transport_that_encrypts_or_has_no_socket_writes_itself(pair: tuple[socket.socket, socket.socket]) -> None:
    for transport in (Transport(pair[0], ssl_object=object()), Transport(None)):
        PromptWriter(transport).write(b"x")  # type: ignore[arg-type]
        assert transport.written == [b"x"]
