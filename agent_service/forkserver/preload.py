"""What a fork server imports, so that its children need not: never an agent's own code."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from agent_service.forkserver.profiles import Profile

_LIGHT = (
    # What an adapter imports when it starts, and what its libraries import only when they are first used.
    "agent_service.__main__",
    "anyio._backends._asyncio",
    "encodings.idna",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
_LANGGRAPH = (
    *_LIGHT,
    # What agents that are written with LangGraph import, and what LangGraph imports in their first task.
    "langchain_core.language_models",
    "langchain_core.messages",
    "langchain_core.output_parsers",
    "langchain_core.prompts",
    "langchain_core.runnables",
    "langchain_core.tools",
    "langchain_core.tracers.context",
    "langchain_core.tracers.run_collector",
    "langchain_core.tracers.stdout",
    "langgraph.checkpoint.memory",
    "langgraph.graph",
    "langgraph.graph.message",
    "langgraph.prebuilt",
    "langgraph.types",
    # What runs an agent from data: LangChain's agent loop, the MCP client, the threads' SQLite.
    "agent_service.runtimes.react.references",
    "agent_service.runtimes.react.runtime",
    "agent_service.runtimes.tools.toolbox",
    "httpcore._async.http11",
)
_MODULES: dict[Profile, tuple[str, ...]] = {"light": _LIGHT, "langgraph": _LANGGRAPH}


def preload(profile: Profile) -> None:
    """Import the profile's modules."""
    # Nothing of it is garbage.
    gc.disable()
    for module in _MODULES[profile]:
        importlib.import_module(module)


def freeze() -> None:
    """Put all that there is beyond the garbage collector's reach.

    A collection in a child would write to every object that it visits, and each page written to is copied.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


class Snapshot:
    """What is on disk of that which was imported, at one moment: packages by directory, our own code by file."""

    def __init__(self) -> None:
        self._paths = tuple(_watched())
        self._seen = self._look()

    @property
    def is_stale(self) -> bool:
        """A package was installed or removed, or our own code was changed: a new interpreter would run other code."""
        return self._look() != self._seen

    def _look(self) -> list[int | None]:
        return [_changed_at(path) for path in self._paths]


def _watched() -> Iterator[Path]:
    yield from Path(__file__).parents[1].rglob("*.py")
    yield from (Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages"))


def _changed_at(path: Path) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
