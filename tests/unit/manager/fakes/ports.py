"""The ports of a machine."""

from __future__ import annotations


class FakePorts:
    """Of a machine where somebody listens at those that are `taken` only; picks 9001, 9002 and so on."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self._picked = 9000

    def pick(self, _host: str) -> int:
        self._picked += 1
        return self._picked

    def is_free(self, _host: str, port: int) -> bool:
        return port not in self.taken
