"""An agent that writes to stdout as fast as the system takes it."""

from __future__ import annotations

import os
import sys
from time import perf_counter
from typing import Any

_LINE = b"x" * 199 + b"\n"
_BLOCK = _LINE * 320
_TEXT = _BLOCK.decode()


def flood(parameters: dict[str, Any]) -> float:
    """Write `bytes` in lines of 200, 64 kB at once, to stdout's descriptor or, where `printed`, by `sys.stdout`.

    How many seconds that took.
    """
    left, began = int(parameters["bytes"]), perf_counter()
    while left > 0:
        left -= sys.stdout.write(_TEXT) if parameters.get("printed") else os.write(1, _BLOCK)
    return perf_counter() - began
