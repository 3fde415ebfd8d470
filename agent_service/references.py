"""Values kept elsewhere: `env:NAME` in an environment, `file:PATH` below a directory.

The manager looks up what an agent's process is started with, the adapter what its definition refers to: by the same
rules. Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent_service.errors import AdapterError
from agent_service.redaction import is_reference

MAX_REFERENCED_BYTES = 64 * 1024


class UnresolvedReference(AdapterError):
    """A reference leads nowhere: `found` says how, `remedy` what to do. Neither shows a resolved value."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found}; {remedy}")
        self.found = found
        self.remedy = remedy


def resolve(value: str, environ: Mapping[str, str], base: Path, *, whose: str) -> str:
    """What `value` stands for; a value that is no reference stands for itself. Raises `UnresolvedReference`.

    A relative `file:` path begins at `base`; one newline at the file's end does not belong to the value. `whose`
    environment and user these are: "the manager's".
    """
    if not is_reference(value):
        return value
    scheme, _, target = value.partition(":")
    return _from_environment(target, environ, whose) if scheme == "env" else _from_file(target, base, whose)


def _from_environment(name: str, environ: Mapping[str, str], whose: str) -> str:
    if not name:
        raise UnresolvedReference("'env:' without a name", "write env:NAME")
    if name not in environ:
        raise UnresolvedReference(f"'env:{name}', which is not set", f"set {name} in {whose} environment")
    return environ[name]


def _from_file(target: str, base: Path, whose: str) -> str:
    reference = f"'file:{target}'"
    if not target or "\0" in target:
        raise UnresolvedReference(f"{reference} without a path", "write file:PATH")
    path = base / target
    try:
        # A pipe or a device would keep the reader waiting.
        if not path.is_file():
            raise UnresolvedReference(f"{reference}, which is no file", f"create {path}")
        with path.open("rb") as file:
            data = file.read(MAX_REFERENCED_BYTES + 1)
    except OSError as error:
        raise UnresolvedReference(
            f"{reference}, which cannot be read ({error.strerror})", f"make {path} readable for {whose} user"
        ) from None
    return _text(reference, data)


def _text(reference: str, data: bytes) -> str:
    if len(data) > MAX_REFERENCED_BYTES:
        raise UnresolvedReference(f"{reference} with more than 64 KiB", "an environment variable takes less")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UnresolvedReference(f"{reference}, which is not UTF-8", "save the file as UTF-8") from None
    if "\0" in text:
        raise UnresolvedReference(f"{reference} with a NUL character", "take it out of the file")
    return text.removesuffix("\n").removesuffix("\r")
