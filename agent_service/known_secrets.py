"""Which values no log line of an adapter may show: tokens, whatever references stand for, and what the names of the
environment's variables call a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent_service.contract import ENV_SECRETS
from agent_service.definition import AgentDefinition
from agent_service.redaction import is_reference
from agent_service.references import UnresolvedReference, resolve

# A shorter value is no secret, and its letters are everywhere.
SHORTEST = 4
# Of one that only its variable's name tells from an ordinary word, such as `required`.
SHORTEST_BY_NAME = 12
_SECRET_VARIABLE = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|(?:API|SECRET|ACCESS|PRIVATE)_?KEY|CREDENTIALS?)$", re.IGNORECASE
)


def known_secrets(
    environ: Mapping[str, str], definition: AgentDefinition | None, tokens: tuple[str | None, ...]
) -> list[str]:
    """The tokens, the variables that `AGENT_SECRETS` or their own names call so, and what the definition refers to.

    A reference that leads nowhere is left to whoever resolves it in earnest.
    """
    named = (environ.get(name.strip(), "") for name in environ.get(ENV_SECRETS, "").split(","))
    referred = _referred(definition, environ) if definition is not None else ()
    found = dict.fromkeys(value for value in (*tokens, *named, *referred) if value and len(value) >= SHORTEST)
    return [*(found | dict.fromkeys(_by_name(environ)))]


def _by_name(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        # Where a secret is kept is none.
        is_path = value.startswith(("/", "~", "."))
        if _SECRET_VARIABLE.search(name) and len(value) >= SHORTEST_BY_NAME and not is_path:
            yield value


def _referred(definition: AgentDefinition, environ: Mapping[str, str]) -> Iterator[str]:
    for text in _texts(definition.model_dump()):
        if is_reference(text):
            try:
                yield resolve(text, environ, Path(), whose="the agent's")
            except UnresolvedReference:
                continue


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for member in value.values():
                yield from _texts(member)
        case list() | tuple():
            for item in value:
                yield from _texts(item)
