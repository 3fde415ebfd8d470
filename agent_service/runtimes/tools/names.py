"""The names under which a model knows tools: such as every provider takes, and no two alike."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

# What the strictest providers allow.
_LONGEST = 64
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


def unique_names(tools: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each (server, tool): the tool's own where no other has it, else with the server's in front.

    Depends on nothing but the tools, so that a conversation finds its tools again after a restart.
    """
    plain = Counter(_usable(tool) for _, tool in tools)
    names: list[str] = []
    taken: set[str] = set()
    for server, tool in tools:
        name = _usable(tool)
        if plain[name] > 1 or name in taken:
            name = _usable(f"{server}_{tool}")
        if name in taken or (name != _usable(tool) and name in plain):
            name = _shortened(name, f"{server}/{tool}")
        taken.add(name)
        names.append(name)
    return names


def _usable(name: str) -> str:
    clean = _FOREIGN.sub("_", name) or "_"
    return clean if len(clean) <= _LONGEST else _shortened(clean, name)


def _shortened(name: str, distinction: str) -> str:
    """Cut, and told apart by a digest of what it stands for."""
    digest = hashlib.sha256(distinction.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - len(digest) - 1]}_{digest}"
