"""Ports that nobody uses."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from scripts.benchmarks.options import CannotMeasure

# Below Linux's ephemeral ports: nobody's outgoing connection takes one between the choice and its use.
_RANGE = range(10_000, 32_000)


def free_ports(count: int, *, besides: Collection[int] = ()) -> list[int]:
    """So many different ones at 127.0.0.1, none of `besides`, which are chosen already. Raises `CannotMeasure`."""
    found = [port for port in random.sample(_RANGE, 10 * count + 100) if port not in besides and _is_free(port)]
    if len(found) < count:
        raise CannotMeasure(f"Of the ports {_RANGE.start} to {_RANGE.stop - 1} fewer than {count} are free.")
    return found[:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
