"""Secrets kept elsewhere: `env:NAME` in this process's environment, `file:PATH` below its working directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent_service.errors import EntryPointError

MAX_BYTES = 64 * 1024


class References:
    """Looks references up in `environ` and below `base`."""

    def __init__(self, environ: Mapping[str, str], base: Path) -> None:
        self._environ = environ
        self._base = base

    def resolve(self, text: str) -> str:
        """What a reference stands for; any other text stands for itself.

        One newline at a file's end does not belong to the value. Raises `EntryPointError`, which names the reference
        and never a value.
        """
        scheme, _, target = text.partition(":")
        match scheme:
            case "env":
                return self._variable(target)
            case "file":
                return self._file(target)
        return text

    def _variable(self, name: str) -> str:
        try:
            return self._environ[name]
        except KeyError:
            raise EntryPointError(
                f"The definition refers to env:{name}, which is not set; set {name} in the agent's environment."
            ) from None

    def _file(self, target: str) -> str:
        path = self._base / target
        try:
            # A pipe or a device would keep the agent waiting.
            if not path.is_file():
                raise EntryPointError(f"The definition refers to file:{target}, which is no file; create {path}.")
            if path.stat().st_size > MAX_BYTES:
                raise EntryPointError(f"The definition refers to file:{target}, which has more than 64 KiB.")
            return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise EntryPointError(
                f"The definition refers to file:{target}, which cannot be read as UTF-8 text; correct {path}."
            ) from error
