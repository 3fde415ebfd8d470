"""An adapter on plain sockets, registered from outside, that keeps or breaks every rule of HTTP as the test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import h11

from tests.integration.manager_process import ManagerProcess, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
_SECONDS = 30.0


class Peer:
    """One connection from the manager. h11, which is strict, reads what comes by it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(_SECONDS)
        self._h11 = h11.Connection(h11.SERVER)

    def head(self) -> h11.Request:
        """The next request's head."""
        event = self._next()
        assert isinstance(event, h11.Request), event
        return event

    def piece(self) -> bytes | None:
        """The next piece of its body; None at its end."""
        event = self._next()
        if isinstance(event, h11.EndOfMessage):
            return None
        assert isinstance(event, h11.Data), event
        return bytes(event.data)

    def end(self) -> list[tuple[bytes, bytes]]:
        """The end of the request: its trailers."""
        event = self._next()
        assert isinstance(event, h11.EndOfMessage), event
        return list(event.headers)

    def body(self) -> bytes:
        """All of its body."""
        return b"".join(iter(self.piece, None))

    def request(self) -> tuple[h11.Request, bytes]:
        """The next request as a whole."""
        return self.head(), self.body()

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.socket.sendall(data)

    def asked_again(self) -> bool:
        """Whether another request comes by this connection; false once the manager has closed it."""
        return bool(self.socket.recv(1, socket.MSG_PEEK))

    def next_exchange(self) -> None:
        """Be ready for another request on this connection; what was sent went past h11."""
        self._h11 = h11.Connection(h11.SERVER)

    def until_hung_up(self) -> None:
        """Return when the manager has hung up."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass

    def hang_up(self) -> None:
        """End the connection, whoever is using it."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _next(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(self.socket.recv(65536))
        return event


Behaviour = Callable[[Peer], None]


class RawAdapter:
    """Serves each connection by `behave`, on a thread of its own, until it returns."""

    def __init__(self, manager: ManagerProcess, agent_id: str) -> None:
        self.manager = manager
        self.agent_id = agent_id
        self.behave: Behaviour = lambda peer: None
        self.connections = 0
        self.failures: list[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def path(self) -> str:
        return f"/api/agent-services/{self.agent_id}/execute"

    def register(self) -> None:
        body = {
            "id": self.agent_id,
            "serviceUrl": f"http://127.0.0.1:{self.port}",
            "metadata": {},
            "instanceId": f"{self.agent_id}.raw",
        }
        assert self.manager.http.post("/api/agent-services/register", json=body).status_code == 200
        until(lambda: self.manager.agent(self.agent_id)["ready"], f"{self.agent_id} is ready")

    def until_all_closed(self) -> None:
        """Return when it has closed every connection that it had."""
        for thread in self._threads:
            thread.join(_SECONDS)
            assert not thread.is_alive()

    def close(self) -> None:
        self._listener.close()
        for peer in self._peers:
            peer.hang_up()
        self.until_all_closed()
        body = {"id": self.agent_id, "instanceId": f"{self.agent_id}.raw"}
        self.manager.http.post("/api/agent-services/unregister", json=body)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._peers.append(Peer(connection))
            thread = threading.Thread(target=self._serve, args=(self._peers[-1],), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            self.behave(peer)
        except (OSError, h11.RemoteProtocolError, AssertionError) as error:
            self.failures.append(error)
        finally:
            peer.socket.close()


@contextmanager
def raw_adapter(manager: ManagerProcess, agent_id: str) -> Iterator[RawAdapter]:
    """Registered while inside."""
    adapter = RawAdapter(manager, agent_id)
    try:
        adapter.register()
        yield adapter
    finally:
        adapter.close()


def answering(data: bytes) -> Behaviour:
    """Reads each request and answers with these bytes, as long as the manager asks on the same connection."""

    def behave(peer: Peer) -> None:
        while peer.asked_again():
            peer.request()
            peer.send(data)
            peer.next_exchange()

    return behave


def answering_once(data: bytes) -> Behaviour:
    """Answers one request and closes the connection."""

    def behave(peer: Peer) -> None:
        peer.request()
        peer.send(data)

    return behave
