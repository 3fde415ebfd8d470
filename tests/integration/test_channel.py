"""Lines and descriptors over a real pair of Unix sockets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from agent_service.forkserver import channel as module
from agent_service.forkserver.channel import Channel, ChannelClosed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="for fork servers, which are for Linux")


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    one, other = (Channel(end) for end in socket.socketpair(socket.AF_UNIX))
    yield one, other
    one.close()
    other.close()


def received(channel: Channel, count: int, sender: Channel) -> list[bytes]:
    lines: list[bytes] = []
    while len(lines) < count:
        sender.flush()
        lines += channel.receive()
    return lines


def test_lines_arrive_whole_and_in_order_whatever_their_size(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    lines = [b"short", b"", b"x" * 3_000_000, b"after"]
    for line in lines:
        one.send(line)
    assert one.has_unsent
    assert received(other, len(lines), one) == lines
    assert other.receive() == []
    assert not one.has_unsent


def test_each_descriptor_comes_with_its_line_and_is_not_inheritable(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    pipes = [os.pipe() for _ in range(3)]
    for number, (_, writing) in enumerate(pipes):
        one.send(b"x" * 200_000)
        one.send(str(number).encode(), writing)
        os.close(writing)
    assert [line for line in received(other, 6, one) if len(line) == 1] == [b"0", b"1", b"2"]
    for number, (reading, _) in enumerate(pipes):
        descriptor = other.take_descriptor()
        assert descriptor is not None and not os.get_inheritable(descriptor)
        os.write(descriptor, str(number).encode())
        os.close(descriptor)
        assert os.read(reading, 10) == str(number).encode()
        assert os.read(reading, 10) == b""  # every copy of the other end is closed
        os.close(reading)
    assert other.take_descriptor() is None


def test_what_nobody_took_or_sent_is_closed_with_the_channel() -> None:
    before = os.listdir("/proc/self/fd")
    one, other = (Channel(end) for end in socket.socketpair(socket.AF_UNIX))
    one.send(b"taken by nobody", 0)
    assert other.receive()
    while not one.has_unsent:
        one.send(b"x" * 500_000)
    one.send(b"never sent", 0)
    one.close()
    other.close()
    assert os.listdir("/proc/self/fd") == before


def test_the_end_of_the_peer_is_told(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    one.send(b"last words")
    one.close()
    assert other.receive() == [b"last words"]
    with pytest.raises(ChannelClosed):
        other.receive()
    with pytest.raises(ChannelClosed):
        other.send(b"nobody there")


def test_a_peer_that_never_ends_its_line_or_never_reads_is_cut_off(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    monkeypatch.setattr(module, "_MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(module, "_MAX_UNSENT_BYTES", 1_000_000)
    other._connection.send(b"x" * 2000)
    with pytest.raises(ChannelClosed, match="more than 1000 bytes"):
        one.receive()
    with pytest.raises(ChannelClosed, match="does not read"):
        for _ in range(10):
            one.send(b"x" * 400_000)


def test_descriptors_without_lines_for_them_are_refused(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    with pytest.raises(ChannelClosed, match="more descriptors"):
        for _ in range(100):
            one.send(b"", 0)
            other.receive()
