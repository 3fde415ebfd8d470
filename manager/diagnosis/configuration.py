"""The config, the tokens, and the extras that agents need."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from agent_service.contract import ENV_TOKEN
from agent_service.plurals import count_text
from manager.diagnosis.finding import Finding, error, warning, well
from manager.diagnosis.surroundings import Surroundings
from manager.errors import ConfigError
from manager.settings import read_secrets
from manager.specs.extras import how_to_install, is_installed

_SHORTEST_TOKEN = 16


def check_config(around: Surroundings) -> Iterator[Finding]:
    """Everything that is wrong with it."""
    for issue in around.issues:
        yield error("config", f"{around.config_path}, {issue.path}: found {issue.found}", issue.allowed)
    if around.config is not None:
        yield well("config", f"{around.config_path} is right: {count_text(len(around.config.agents), 'agent')}")


def check_tokens(around: Surroundings) -> Iterator[Finding]:
    """Whether they can be sent, and guessed; never what they are."""
    try:
        tokens = read_secrets(around.environ).tokens()
    except ConfigError as refusal:
        for issue in refusal.issues:
            yield error("tokens", f"{issue.path} is {issue.found}", issue.allowed)
        return
    if any(len(token) < _SHORTEST_TOKEN for token in tokens):
        yield warning("tokens", "A token is so short that it can be guessed", f"make {ENV_TOKEN} a long random text")
    elif tokens:
        yield well("tokens", f"Tokens are on ({len(tokens)} accepted)")
    elif around.config is not None and not _is_loopback(around.config.runtime.manager_host):
        message = f"{around.config.runtime.manager_url} can be reached by others, and no token protects it"
        yield error("tokens", message, f"set {ENV_TOKEN} to a long random text")
    else:
        yield well("tokens", "Tokens are off: every process of this machine may command the manager")


def check_extras(around: Surroundings) -> Iterator[Finding]:
    """Whether what agents require is installed."""
    needed = (
        {
            extra: [agent.id for agent in around.config.agents if agent.requires_extra == extra]
            for extra in {agent.requires_extra for agent in around.config.agents}
            if extra is not None
        }
        if around.config
        else {}
    )
    missing = sorted(extra for extra in needed if not is_installed(extra))
    for extra in missing:
        message = f"The extra {extra!r} is not installed, so {', '.join(needed[extra])} will not start"
        yield warning("extras", message, how_to_install(extra))
    if needed and not missing:
        yield well("extras", f"Installed: {', '.join(sorted(needed))}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
