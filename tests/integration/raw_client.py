"""A client on plain sockets, which sends what and when the test wants."""

from __future__ import annotations

import socket

import httpx

from tests.integration.manager_process import ManagerProcess

BODY = b'{"parameters": {}}'
_SECONDS = 30.0


class Client:
    """A connection to the manager, by hand."""

    def __init__(self, manager: ManagerProcess) -> None:
        url = httpx.URL(manager.url)
        self.host = f"{url.host}:{url.port}"
        self.socket = socket.create_connection((url.host, url.port), _SECONDS)

    def head(self, path: str, *headers: str) -> bytes:
        return "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {self.host}", *headers, "", ""]).encode()

    def whole(self, path: str) -> bytes:
        return self.head(path, f"Content-Length: {len(BODY)}") + BODY

    def until(self, mark: bytes) -> bytes:
        """What comes, up to and with `mark`."""
        data = b""
        while not data.endswith(mark):
            piece = self.socket.recv(1)
            assert piece, data
            data += piece
        return data

    def rest(self) -> bytes:
        """What comes until the manager hangs up."""
        data = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
        return data

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
