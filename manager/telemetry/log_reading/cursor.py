"""Where reading stopped, as a text that survives the manager: per agent, the offset in its newest files.

A file is named by its number, which stays when it is rotated: the one that is written has the next number to be given.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import dataclass, field
from typing import Literal

from manager.errors import BadRequest

Direction = Literal["older", "newer"]
Offsets = dict[int, int]
"""By file number. Going on to newer lines, a file with a greater number has not been read at all, any other is done
with; going on to older ones there is one number, and the files below it have not been read at all."""

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Cursor:
    """An agent that is not in it has not been read at all."""

    direction: Direction
    agents: dict[str, Offsets] = field(default_factory=dict)

    def encode(self) -> str:
        """As text for a URL or an event's id."""
        value = [self.direction[0], {agent: sorted(offsets.items()) for agent, offsets in self.agents.items()}]
        packed = zlib.compress(json.dumps(value, separators=(",", ":")).encode())
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Raises `BadRequest` for what is no cursor."""
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            direction, agents = json.loads(_unpacked(packed))
            offsets = {str(agent): {int(number): int(at) for number, at in pairs} for agent, pairs in agents.items()}
            return cls({"o": "older", "n": "newer"}[direction], offsets)  # type: ignore[arg-type]
        except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, zlib.error):
            raise BadRequest(
                f"cursor is {text[:40]!r}; give the `older` or `newer` of a page, or leave it out."
            ) from None


def _unpacked(data: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(data, _MAX_BYTES)
    if unpacking.unconsumed_tail:
        raise ValueError("too large")
    return found
