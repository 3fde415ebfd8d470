"""The environment variables that a fork obeys no more, because the interpreter or an import has read them already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

# Read by the interpreter and the dynamic linker before any code of ours runs.
_PREFIXES = ("PYTHON", "LD_", "MALLOC_")

FixedVariables = Mapping[str, str | None]
"""Values by name, None for those that were looked for in vain."""


def fixed_variables(names: Iterable[str], environment: Mapping[str, str]) -> FixedVariables:
    """What of `environment` is fixed for a process in which `names` were read."""
    early = (name for name in environment if name.startswith(_PREFIXES))
    return {name: environment.get(name) for name in {*names, *early}}


def differing(fixed: FixedVariables, environment: Mapping[str, str]) -> list[str]:
    """The names of those that a process with that environment would have read otherwise."""
    wanted = fixed_variables(fixed, environment)
    return sorted(name for name in {*fixed, *wanted} if wanted.get(name) != fixed.get(name))


@contextmanager
def names_read() -> Iterator[set[str]]:
    """The names of the variables that code inside asks `os.environ` for, one by one; looking at all is not asking."""
    names: set[str] = set()
    plain: type[os._Environ[str]] = type(os.environ)

    class Recording(plain):  # type: ignore[misc,valid-type]
        def __getitem__(self, name: str) -> str:
            names.add(name)
            return str(super().__getitem__(name))

        def items(self) -> object:
            return {name: super(Recording, self).__getitem__(name) for name in self}.items()

    os.environ.__class__ = Recording
    try:
        yield names
    finally:
        os.environ.__class__ = plain
