"""What an agent definition refers to: secrets kept elsewhere, and the addresses of sidecars (`{sidecar:ID}`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from agent_service.definition import AgentDefinition, McpServer
from agent_service.issues import json_path
from agent_service.redaction import HIDDEN, is_reference, shown

_SIDECAR = re.compile(r"\{sidecar:([^{}]*)\}")


def references_in(definition: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where the written `definition` may refer to secrets: a path in it, and the values there by key."""
    parameters = _object(definition, "behavior", "model_parameters")
    yield "behavior.model_parameters", {key: parameters[key] for key in ("api_key",) if key in parameters}
    for path, server in _servers(definition):
        yield f"{path}.headers", _object(server, "headers")
        yield f"{path}.env", _object(server, "env")


def sidecars_in(definition: object) -> Iterator[tuple[str, str]]:
    """The addresses of sidecars that the written `definition` asks for: a path in it, and the sidecar's id."""
    places = [("behavior.model_parameters.base_url", _object(definition, "behavior", "model_parameters"), "base_url")]
    places += [(f"{path}.url", server, "url") for path, server in _servers(definition)]
    for path, holder, key in places:
        if isinstance(holder.get(key), str):
            yield from ((path, found) for found in _SIDECAR.findall(holder[key]))


def with_addresses(definition: AgentDefinition, address_of: Callable[[str], str]) -> AgentDefinition:
    """The definition with `HOST:PORT` of each sidecar, as `address_of` its id tells, in place of `{sidecar:ID}`."""

    def filled(url: str | None) -> str | None:
        return _SIDECAR.sub(lambda found: address_of(found[1]), url) if url is not None else None

    def at_its_address(server: McpServer) -> McpServer:
        return server.model_copy(update={"url": filled(server.url)})

    behavior, capabilities = definition.behavior, definition.capabilities
    parameters = behavior.model_parameters
    parameters = parameters.model_copy(update={"base_url": filled(parameters.base_url)})
    servers = [at_its_address(server) for server in capabilities.mcp_servers]
    return definition.model_copy(
        update={
            "behavior": behavior.model_copy(update={"model_parameters": parameters}),
            "capabilities": capabilities.model_copy(update={"mcp_servers": servers}),
        }
    )


def public_definition(definition: AgentDefinition) -> dict[str, Any]:
    """As in the file, defaults filled in: references as such, what was written in their place hidden."""
    public = definition.model_dump(mode="json")
    for server in public["capabilities"]["mcp_servers"]:
        # Of a header nobody can tell by its name whether it is a secret.
        server["headers"] = {name: _reference(value) for name, value in server["headers"].items()}
        server["env"] = {name: shown(name, value) for name, value in server["env"].items()}
        server["url"] = shown("url", server["url"]) if server["url"] is not None else None
    return public


def _reference(value: str) -> str:
    return value if is_reference(value) else HIDDEN


def _servers(definition: object) -> Iterator[tuple[str, dict[str, Any]]]:
    servers = _object(definition, "capabilities").get("mcp_servers")
    for index, server in enumerate(servers if isinstance(servers, list) else ()):
        yield json_path("capabilities.mcp_servers", index), _object(server)


def _object(value: object, *keys: str) -> dict[str, Any]:
    """The object at the end of `keys`; an empty one where something else is written, which the model refuses."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
