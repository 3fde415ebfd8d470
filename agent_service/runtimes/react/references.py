"""What a definition refers to, looked up in this process: its environment and its working directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent_service.errors import EntryPointError
from agent_service.references import UnresolvedReference, resolve


class References:
    """Looks references up in `environ` and below `base`."""

    def __init__(self, environ: Mapping[str, str], base: Path) -> None:
        self._environ = environ
        self._base = base

    def resolve(self, text: str) -> str:
        """What a reference stands for; any other text stands for itself.

        Raises `EntryPointError`, which names the reference and never a value.
        """
        try:
            return resolve(text, self._environ, self._base, whose="the agent's")
        except UnresolvedReference as error:
            raise EntryPointError(f"The definition refers to {error}.") from error
